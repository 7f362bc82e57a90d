/**
 * Training on several hosts: they are leased together; one of them leads, by the activities of a host that trains
 * alone; each other one prepares and watches its own trainer by these. They commit nothing but that memory ran out; what
 * their ranks save, where each saves a part, they bring to the store for the leading host to commit.
 */
import { mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApplicationFailure, Context, log } from '@temporalio/activity';
import { FailureType, PassingFailure } from '../config/failures.ts';
import { computesAs, type InstructionSet } from '../config/instruction-set.ts';
import type { Head, HostReport } from '../config/manifests.ts';
import type { Gpu } from '../config/recipe.ts';
import type { FollowerProgress, TrainerResult } from '../config/trainer.ts';
import { putBlobFolder } from '../registry/blobs.ts';
import { hasGpus, livingHosts } from '../registry/hosts.ts';
import { acquireHosts } from '../registry/leases.ts';
import { demandedSet } from './demanded-set.ts';
import type { Deps } from './deps.ts';
import { FenceWatch } from './fence-watch.ts';
import { placeInGang } from './gang-meeting.ts';
import { withSigns } from './heartbeats.ts';
import { handedOver, inTimeLeft, refuseIfLeaving, timeLeftMs } from './leaving.ts';
import { ShardUploads } from './shard-uploads.ts';
import { halved } from './trainer-failures.ts';
import {
  EventTail,
  readControl,
  readResult,
  readRun,
  touchControl,
  writeCodes,
  writeControl,
  writeRun,
  type Commands,
} from './trainer-files.ts';
import { LeaseKeeper } from './trainer-lease.ts';
import { createSight, endTrainer, startTrainer, trainerIsGone } from './trainer-process.ts';
import { isCancelled, throwIfEnded } from './trainer-signs.ts';
import { endInHaste } from './trainer-stop.ts';
import {
  control,
  inRunDir,
  keepOnly,
  preparing,
  requireCurrent,
  requireHead,
  restoreCheckpoint,
  runDirOf,
  trainerRun,
} from './trainer-start.ts';
import { requireSameCode } from './training-code.ts';
import {
  hostPool,
  incurable,
  leaseTtlMs,
  type Generation,
  type TrainingJob,
} from './training-job.ts';

const tickMs = 500;
const graceMs = 30_000;
/** How long a watcher that is told to end may wait for the store. */
const patienceMs = 20_000;
/** How long it waits for the leading host to commit where all ranks stopped, before another generation may begin. */
const commitMs = 120_000;

type Failed = Extract<TrainerResult, { ok: false }>;

export type GangActivities = ReturnType<typeof createGangActivities>;

interface SeeInput {
  trial: TrainingJob['trial'];
  /** Each host has a part of a checkpoint. */
  parted?: boolean;
}

export interface TrainerSeen {
  /** Of the trainer that lives on the host; null: none does, or it trains alone. */
  meeting: string | null;
  /** It has ended well. */
  finished: boolean;
}

export function createGangActivities(deps: Deps) {
  return {
    /** Leases as many hosts as one of the sizes says, the best first, or none; those that were had before come first. */
    async leaseHosts(input: {
      sizes: number[];
      preferred: string[];
      holder: string;
      unwatchedExitS: number;
      /** What the plan counts on in each; left out: no GPUs, or by older versions. */
      gpu?: Gpu;
      /** Whose bits the plan names; left out: on GPUs, or by older versions. */
      instructionSet?: InstructionSet;
      /** Left out by older versions. */
      trial?: TrainingJob['trial'];
      /** How long the asker has waited for hosts; left out by older versions. */
      waitedS?: number;
    }): Promise<{ hosts: string[]; living: string[] }> {
      const { preferred, sizes, holder } = input;
      const now = deps.now();
      const wanted = await demandedSet(deps, { ...input, numHosts: Math.min(...sizes) });
      const isOther = ({ instructionSet }: HostReport) =>
        Number(!computesAs(instructionSet, input.instructionSet));
      const said = await livingHosts(deps.store, hostPool, now);
      const reports = said.toSorted((a, b) => isOther(a) - isOther(b));
      const living = reports.flatMap(({ host, address, gpu, instructionSet }) =>
        address === undefined || !hasGpus(gpu, input.gpu) || !computesAs(instructionSet, wanted)
          ? []
          : host,
      );
      const candidates = [
        ...preferred.filter((host) => living.includes(host)),
        ...living.filter((host) => !preferred.includes(host)),
      ];
      const ttlMs = leaseTtlMs(input.unwatchedExitS);
      const request = { holder, now, ttlMs };
      const hosts = await acquireHosts(deps.store, hostPool, candidates, sizes, request);
      return { hosts, living };
    },

    /**
     * What is left on this host of the last generation's trainer. Shards that it saved while nobody watched are brought
     * to the store before the leading host decides from which step to go on, and what is older is removed.
     */
    async seeTrainer({ trial, parted = false }: SeeInput): Promise<TrainerSeen> {
      const runDir = runDirOf(deps, trial);
      const alive = !(await trainerIsGone(runDir));
      if (parted && !alive) {
        const context = Context.current();
        const bringing = bringShards(deps, runDir);
        await withSigns(
          () => context.heartbeat({ kind: 'see' }),
          () => Promise.race([bringing, context.cancelled]),
        );
      }
      const meeting = alive ? ((await readRun(runDir))?.gang?.meeting ?? null) : null;
      return { meeting, finished: (await readResult(runDir))?.ok === true };
    },

    async prepareFollower(generation: Generation): Promise<void> {
      await preparing(deps, generation, (runDir) => prepareFollower(deps, generation, runDir));
    },

    async watchFollower(generation: Generation): Promise<void> {
      await watchFollower(deps, generation);
    },
  };
}

async function prepareFollower(deps: Deps, generation: Generation, runDir: string): Promise<void> {
  const { fence, gang } = generation;
  const head = await requireCurrent(deps, generation);
  if (head.finished !== null) return;
  await mkdir(path.join(runDir, 'checkpoints'), { recursive: true });
  const commands = { paused: false, pause: 0 };
  if (gang!.adopt) {
    const its = (await readRun(runDir))?.gang?.meeting;
    const lives = its === head.gang?.meeting && !(await trainerIsGone(runDir));
    if (!lives && (await readResult(runDir))?.ok !== true) {
      throw new Error(`the trainer of host ${deps.host} ended while its gang was adopted`);
    }
    await control(runDir, fence, head, commands);
    return;
  }
  refuseIfLeaving(deps);
  const wanted = await trainerRun(deps, generation, head, runDir);
  await requireCurrent(deps, generation);
  await endTrainer(runDir, 0);
  requireSameCode(deps, generation, head);
  const resumeFrom = await bringCheckpoint(deps, runDir, head);
  await requireCurrent(deps, generation);
  await keepOnly(path.join(runDir, 'checkpoints'), resumeFrom ?? undefined);
  for (const file of ['result.json', 'events.jsonl'])
    await rm(path.join(runDir, file), { force: true });
  await control(runDir, fence, head, commands);
  await requireCurrent(deps, generation);
  await writeCodes(runDir, head.codes);
  await writeRun(runDir, { ...wanted, resumeFrom, ...placeInGang(deps, head, gang) });
  const { python, projectDir } = deps;
  await startTrainer({ python, projectDir, runDir });
}

/** The newest that a host has may be one that the leading host never finished: then the one before counts. */
async function bringShards({ store }: Deps, runDir: string): Promise<void> {
  const folder = path.join(runDir, 'checkpoints');
  const names = await readdir(folder).catch(() => []);
  const steps = names.filter((name) => /^\d+$/.test(name)).map(Number);
  for (const step of steps.toSorted((a, b) => b - a).slice(0, 2))
    await putBlobFolder(store, path.join(folder, String(step)));
}

/** The checkpoint that the leading host has decided on. */
async function bringCheckpoint(deps: Deps, runDir: string, head: Head): Promise<string | null> {
  const step = head.gang!.step;
  if (step === 0) return null;
  const chain = head.chain.filter((entry) => entry.step === step);
  const found = await restoreCheckpoint(deps, runDir, { ...head, chain }).catch(
    (error: unknown) => {
      // The leading host could read it: what went wrong here may go well the next time.
      throw new Error(`host ${deps.host}: ${(error as Error).message}`, { cause: error });
    },
  );
  if (found !== null) return found.folder;
  throw new Error(`host ${deps.host}: the chain has no checkpoint of step ${step}`);
}

/** Nothing here waits for the store from tick to tick. That it makes progress is seen on the leading host: none trains without all. */
async function watchFollower(deps: Deps, generation: Generation): Promise<void> {
  const context = Context.current();
  const { trial } = generation.job;
  const runDir = runDirOf(deps, trial);
  const { workflowExecution, activityId } = context.info;
  const lease = new LeaseKeeper(deps, generation, workflowExecution?.workflowId ?? activityId);
  const fence = new FenceWatch(deps, generation);
  const isGone = createSight(runDir);
  const tail = new EventTail(runDir);
  const shards = new ShardUploads(deps.store);
  let numAcknowledged = 0;
  let telling = false;
  let isStopping = false;
  const progress: FollowerProgress = {
    kind: 'follower',
    phase: trial.phase,
    host: deps.host,
    step: 0,
  };
  const sign = () => {
    context.heartbeat(progress);
    lease.renew();
    touchControl(runDir).catch(() => undefined);
  };
  const signal = context.cancellationSignal;
  try {
    for (let tick = 0; ; tick += 1) {
      if (signal.aborted) {
        // As on a host that trains alone: a person's cancellation stops it, anything else lets it go on.
        if (isCancelled(context)) await withSigns(sign, stop);
        throwIfEnded(context);
      }
      fence.look();
      if (fence.isFinished) return await withSigns(sign, leave);
      fence.throwIfOver();
      const result = await readResult(runDir);
      await follow();
      tell();
      if (deps.leaving?.notice != null) {
        stopAll();
        if (result?.ok === false || timeLeftMs(deps) === 0)
          return await withSigns(sign, () => handOver(result?.step ?? progress.step));
      }
      if (result?.ok === false)
        return await withSigns(sign, () => inTime(result.step, () => fail(result)));
      if (
        result === null &&
        tick % 2 === 0 &&
        (await isGone()) &&
        (await readResult(runDir)) === null
      ) {
        await withSigns(sign, () => inTime(progress.step, keepAll));
        throw new Error(`the trainer on host ${deps.host} died at step ${progress.step}`);
      }
      if (lease.takenBy !== null) return await withSigns(sign, giveUp);
      sign();
      await sleep(tickMs, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    shards.close();
    await lease.close();
  }

  async function follow(): Promise<void> {
    for (const event of await tail.read()) {
      if (event.event === 'step' || event.event === 'start') progress.step = event.step;
      if (event.event === 'checkpoint') {
        shards.offer(event.step, path.resolve(runDir, event.path));
      }
    }
  }

  /** The leading host waits for what this one still has: however long that takes, while both of them count. */
  async function keepAll(): Promise<void> {
    await follow();
    const kept = Promise.race([shards.settle(), context.cancelled]);
    await fence.during(kept).catch((error: unknown) => {
      throwIfEnded(context);
      throw error;
    });
  }

  /** The leading host saves and waits as well, for so long. */
  async function stop(): Promise<void> {
    await endTrainer(runDir, graceMs);
    await follow();
    await Promise.race([shards.settle(), sleep(patienceMs, undefined, { ref: false })]);
  }

  /** In the background, as it asks the store whether it may. */
  function tell(): void {
    const { acknowledged } = shards;
    if (telling || acknowledged.length === numAcknowledged) return;
    telling = true;
    tellAcknowledged(deps, generation, acknowledged)
      .then(() => {
        numAcknowledged = acknowledged.length;
      })
      .catch((error: unknown) => log.warn('the trainer is not told yet', { error }))
      .finally(() => {
        telling = false;
      });
  }

  /** All ranks stop at the same step when one of them is told to. */
  function stopAll(): void {
    if (isStopping) return;
    isStopping = true;
    tellTrainer(deps, generation, { stop: true }).catch((error: unknown) => {
      isStopping = false;
      log.warn('the trainer is not told to stop yet', { error });
    });
  }

  /** Does so, unless the host's time is over before: then what counts by then is handed over. */
  async function inTime<Ended>(step: number, work: () => Promise<Ended>): Promise<Ended> {
    const ended = await inTimeLeft(deps, work());
    return ended === null ? await handOver(step) : ended.result;
  }

  /** Brings what this host has of the last checkpoint, and waits until the leading one has committed that. */
  async function handOver(step: number): Promise<never> {
    if (timeLeftMs(deps) > 0) await inTimeLeft(deps, committed(step, timeLeftMs(deps)));
    else await endInHaste(deps, generation);
    const { durableStep } = fence;
    throw handedOver(deps.host, deps.leaving!.notice!, { step, durableStep });
  }

  /** Keeps what there is, and waits for a commit of that step: who fails earlier lets the next generation begin. */
  async function committed(step: number, limitMs: number): Promise<void> {
    const ended = new AbortController();
    const work = async () => {
      await keepAll();
      while (!ended.signal.aborted && !fence.isFinished && fence.durableStep < step) {
        fence.look();
        fence.throwIfOver();
        await sleep(tickMs, undefined, { signal: ended.signal }).catch(() => undefined);
      }
    };
    await Promise.race([work(), sleep(limitMs, undefined, { ref: false })]);
    ended.abort();
  }

  async function leave(): Promise<void> {
    await requireHead(deps, generation);
    await endTrainer(runDir, graceMs);
    await rm(runDir, { recursive: true, force: true });
  }

  async function fail(result: Failed): Promise<never> {
    if (result.type === 'Stopped') await committed(result.step, commitMs);
    else await keepAll();
    throw (await halved(deps, generation, result)) ?? failureOf(deps, result);
  }

  async function giveUp(): Promise<never> {
    await requireHead(deps, generation);
    await endTrainer(runDir, graceMs);
    throw ApplicationFailure.create({
      message: `host ${deps.host} was leased by ${lease.takenBy} while our lease had run out`,
      type: PassingFailure.HostTaken,
    });
  }
}

/**
 * So that the trainer may delete what is in the store, or superseded; whose generation is over has nothing to say to
 * it. A store that is away cannot tell, and then its disk must not fill up: the fence that was written here counts.
 */
export async function tellAcknowledged(
  deps: Deps,
  generation: Generation,
  acknowledged: number[],
): Promise<void> {
  await requireHead(deps, generation).catch((error: unknown) => {
    if ((error as { type?: string }).type === FailureType.Fenced) throw error;
    log.warn('whether this generation still counts is not known', { error });
  });
  await tellTrainer(deps, generation, { acknowledged });
}

/** Adds to what the trainer of this generation was told. */
async function tellTrainer(
  deps: Deps,
  generation: Generation,
  commands: Partial<Commands>,
): Promise<void> {
  const runDir = runDirOf(deps, generation.job.trial);
  await inRunDir(runDir, async () => {
    const told = await readControl(runDir);
    if (told?.fence === generation.fence) await writeControl(runDir, { ...told, ...commands });
  });
}

function failureOf(deps: Deps, { type, message, step }: Failed): ApplicationFailure {
  return ApplicationFailure.create({
    message: `the trainer on host ${deps.host} ended at step ${step}: ${message}`,
    type,
    nonRetryable: incurable.includes(type),
  });
}
