/**
 * Watches a trainer: follows its events, heartbeats while it makes progress, uploads and commits its
 * checkpoints while it goes on, and takes over its result. Nothing that it does from second to second waits for
 * the store. It stops the trainer only when a person cancelled, when it hangs, when the host leaves, or when that
 * belongs to another training; in every other case it lets go, and the next generation adopts.
 */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApplicationFailure, Context, log } from '@temporalio/activity';
import { FailureType, PassingFailure } from '../config/failures.ts';
import { modelManifestSchema } from '../config/manifests.ts';
import type { TrainerResult, TrainingProgress } from '../config/trainer.ts';
import { putBlobFolder, readBlob } from '../registry/blobs.ts';
import { commitFinished, endingOf } from '../registry/training.ts';
import {
  CheckpointUploads,
  microBatchesUsed,
  ratesUsed,
  rollbacksUsed,
} from './checkpoint-uploads.ts';
import type { Deps } from './deps.ts';
import { FenceWatch } from './fence-watch.ts';
import { withSigns } from './heartbeats.ts';
import { handedOver, inTimeLeft, timeLeftMs } from './leaving.ts';
import type { Generation, RungEnd, TrainedModel } from './training-job.ts';
import { tellDiskFull } from './trainer-disk.ts';
import { TrainerControl } from './trainer-control.ts';
import { Figures } from './trainer-figures.ts';
import { EventTail, readResult, touchControl } from './trainer-files.ts';
import { LeaseKeeper } from './trainer-lease.ts';
import { Metrics } from './trainer-metrics.ts';
import { Pace } from './trainer-pace.ts';
import { createSight, endTrainer } from './trainer-process.ts';
import { isCancelled, throwIfEnded } from './trainer-signs.ts';
import { requireHead, runDirOf, type TrainerStart } from './trainer-start.ts';
import { endInHaste } from './trainer-stop.ts';
import { manifestOf, recordModel } from './trained-model.ts';
import { failureOf } from './trainer-failures.ts';
import { budgetSpent, endTraining, TrainingBudget } from './training-budget.ts';

const tickMs = 500;
/** For a trainer that is to end: it saves first. */
const graceMs = 30_000;
/** A trainer that ends by its own clock may do so a little before it would have been told to. */
const clockMs = 10_000;
/** How long a watcher that is told to end may wait for the store. */
const patienceMs = 20_000;
/** How long such a one waits for the shards of other hosts. */
const othersPatienceMs = 30_000;
/** As the former, for a trainer that had ended before: what was left on other hosts was brought when they were seen. */
const broughtMs = 5000;

type Watched = Generation & { start: TrainerStart };
type Failed = Extract<TrainerResult, { ok: false }>;

/** Watches a training to its end. */
export async function watchTrainer(deps: Deps, watched: Watched): Promise<TrainedModel> {
  const ended = await watchToEnd(deps, watched);
  if ('weights' in ended) return ended;
  throw new Error(`found a rung that ended at step ${ended.step}, expected a whole training`);
}

/** Watches a trial to the end of its rung. */
export async function watchTrial(deps: Deps, watched: Watched): Promise<RungEnd> {
  const ended = await watchToEnd(deps, watched);
  if (!('weights' in ended)) return ended;
  throw ApplicationFailure.nonRetryable(
    `the trainer trained ${ended.numSteps} steps, expected ${watched.until}: it does not know untilStep. ` +
      'Teach it that field of run.json, or remove sweep from the pipeline file.',
    FailureType.InvalidConfig,
  );
}

async function watchToEnd(deps: Deps, watched: Watched): Promise<TrainedModel | RungEnd> {
  const context = Context.current();
  const runDir = runDirOf(deps, watched.job.trial);
  return await tellDiskFull(deps, watched.job, async () => {
    const finished = await withSigns(
      () => context.heartbeat({ kind: 'watch' }),
      async () => {
        const head = await requireHead(deps, watched);
        if (head.finished === null || watched.until !== undefined) {
          const control = await TrainerControl.open(deps, watched, runDir, head);
          const budget = await TrainingBudget.open(deps, watched, runDir);
          return { head, control, budget, model: null };
        }
        const bytes = await readBlob(deps.store, head.finished);
        const model = modelManifestSchema.parse(JSON.parse(bytes.toString('utf8')));
        return { model: await recordModel(deps, watched, model, head) };
      },
    );
    if (finished.model !== null) return finished.model;
    const { head, control, budget } = finished;
    const metrics = new Metrics(deps, watched, Date.now());
    const uploads = new CheckpointUploads(deps, watched, head, () => metrics.flush());
    const { workflowExecution, activityId } = context.info;
    const lease = new LeaseKeeper(deps, watched, workflowExecution?.workflowId ?? activityId);
    try {
      // One that only makes the model of where the training ended is let be.
      const isEnding = endingOf(head) !== undefined;
      const watching = { context, runDir, uploads, metrics, lease, control, budget, isEnding };
      return await watch(deps, watched, watching);
    } finally {
      uploads.close();
      const closing = () => lease.close();
      // A watcher that only lets go must not keep its worker from ending.
      if (context.cancellationSignal.aborted && !isCancelled(context)) void closing();
      else await withSigns(() => context.heartbeat({ kind: 'watch' }), closing);
    }
  });
}

async function watch(
  deps: Deps,
  generation: Watched,
  {
    context,
    runDir,
    uploads,
    metrics,
    lease,
    control,
    budget,
    isEnding,
  }: {
    context: Context;
    runDir: string;
    uploads: CheckpointUploads;
    metrics: Metrics;
    lease: LeaseKeeper;
    control: TrainerControl;
    budget: TrainingBudget | null;
    isEnding: boolean;
  },
): Promise<TrainedModel | RungEnd> {
  const { job, start } = generation;
  const { phase } = job.trial;
  const signal = context.cancellationSignal;
  const tail = new EventTail(runDir);
  const pace = new Pace(performance.now());
  const isGone = createSight(runDir);
  const figures = new Figures();
  const progress: TrainingProgress = {
    kind: 'training',
    phase,
    step: start.resumedFrom ?? 0,
    numSteps: generation.until ?? job.recipe.numSteps,
    loss: null,
    tokensPerSecond: null,
    durableStep: uploads.durableStep,
    resumedFrom: start.resumedFrom,
    adopted: start.adopted,
    ...(generation.until !== undefined && { trial: job.trial.trial }),
  };
  /** Tells the server, the trainer and the other trainings that this one is watched. */
  const sign = () => {
    progress.durableStep = uploads.durableStep;
    progress.paused = control.isPaused;
    if (budget !== null) progress.budget = budget.totals(deps.now());
    const scale = control.scaleAt(progress.step);
    if (scale !== undefined) progress.learningRateScale = scale;
    context.heartbeat({ ...progress, ...figures.of(progress.numSteps) });
    lease.renew();
    touchControl(runDir).catch((error: unknown) => log.warn('control.json not touched', { error }));
  };
  const follow = async () => {
    pace.look(performance.now());
    for (const event of await tail.read()) {
      metrics.see(event);
      pace.see(event, performance.now());
      figures.see(event);
      control.see(event);
      budget?.see(event);
      if (event.event === 'step') {
        progress.step = event.step;
      } else if (event.event === 'checkpoint') {
        uploads.offer(event.step, path.resolve(runDir, event.path));
      } else if (event.event === 'plateau') {
        progress.numSteps = event.end;
      }
    }
  };
  const keep = async (othersMs: number) => {
    await follow();
    await uploads.settle(othersMs);
    await metrics
      .flush()
      .catch((error: unknown) => log.warn('the last metrics are not stored', { error }));
  };
  /**
   * Brings to the store what the trainer left behind, and waits for what other hosts bring, however long that takes:
   * unless this attempt is told to end, or a host is lost, so that a newer generation takes over.
   */
  const keepAll = async (othersMs = Infinity) => {
    const kept = Promise.race([keep(othersMs), context.cancelled]);
    await (fence?.during(kept) ?? kept).catch((error: unknown) => {
      throwIfEnded(context);
      throw error;
    });
    // What goes on in the background once it was handed over decides nothing more.
    if (isHandedOver) throw new Error('the time of this host is over');
  };
  /** As `keepAll`, for whoever has no time to wait for a store that is away. */
  const keepMost = async () => {
    await Promise.race([
      keep(othersPatienceMs),
      sleep(patienceMs, undefined, { ref: false }),
    ]).catch((error: unknown) => log.warn('not everything was kept', { error }));
  };

  // A host that trains alone learns of a newer generation when it commits; a gang must not wait for that.
  const fence = generation.gang === undefined ? null : new FenceWatch(deps, generation);
  let stoppingSince = Infinity;
  let isBudgetDue = false;
  let isHandedOver = false;
  for (let tick = 0; ; tick += 1) {
    if (signal.aborted) return await withSigns(sign, letGo);
    // The result is read before the events, so that no event of a trainer that has ended is missed.
    const result = await readResult(runDir);
    const gone = result === null && tick % 2 === 0 && (await isGone());
    await follow();
    if (uploads.refused !== null) return await withSigns(sign, discard);
    uploads.throwIfFatal();
    control.throwIfLost();
    fence?.look();
    fence?.throwIfOver();
    const { acknowledged } = uploads;
    if (budget !== null && !isEnding) keepWithin(budget);
    if (deps.leaving?.notice != null) control.stopping = true;
    await control.obey(acknowledged);
    if (control.isPaused) pace.rest(performance.now());
    if (metrics.isDue(Date.now())) {
      metrics.flush().catch((error: unknown) => log.warn('metrics not stored yet', { error }));
    }
    if (result !== null) {
      if (!result.ok && isSpent(result))
        return await withSigns(sign, () => inTime(result.step, end));
      if (result.ok) {
        const hadEnded = tick === 0 && start.adopted;
        const othersMs = hadEnded ? broughtMs : Infinity;
        return await withSigns(sign, () => inTime(result.step, () => finish(result, othersMs)));
      }
      const { heldOut, type, step } = result;
      const hasLeft = type === 'Stopped' || type === 'Unwatched';
      if (hasLeft && deps.leaving?.notice != null)
        return await withSigns(sign, () => handOver(step));
      const ending = () => (heldOut === undefined ? fail(result) : endRung(step, heldOut));
      return await withSigns(sign, () => inTime(step, ending));
    }
    if (timeLeftMs(deps) === 0) return await withSigns(sign, () => handOver(progress.step));
    if (control.stopping && isOutOfPatience()) await withSigns(sign, endObstinate);
    if (gone && (await readResult(runDir)) === null)
      return await withSigns(sign, () => inTime(progress.step, mourn));
    if (pace.isHung(performance.now())) return await withSigns(sign, endHung);
    if (lease.takenBy !== null) return await withSigns(sign, leaveHost);
    sign();
    await sleep(tickMs, undefined, { signal }).catch(() => undefined);
  }

  /** Tells the trainer in time that the budget is spent; and when it must know by itself. */
  function keepWithin(held: TrainingBudget): void {
    const now = deps.now();
    held.update(lease.cost);
    control.stopAt = held.stopAt(now, uploads.slowestMs);
    if (control.stopping || !held.isDue(now, uploads.slowestMs)) return;
    isBudgetDue = true;
    control.stopping = true;
    stoppingSince = performance.now();
  }

  /** A step that was under way may end before it hears of it; so may an evaluation or a save, however long. */
  function isOutOfPatience(): boolean {
    const now = performance.now();
    if (pace.isOccupied) stoppingSince = now;
    return now - stoppingSince > graceMs + pace.slowestMs();
  }

  /** Of one that does not do what it was told, as far as it has not hung. */
  async function endObstinate(): Promise<void> {
    await requireHead(deps, generation);
    await endTrainer(runDir, graceMs, async () => {
      await follow();
      return pace.isOccupied && !pace.isHung(performance.now());
    });
  }

  /** Whether it has saved and left because of the budget: we told it to, or its own clock did. */
  function isSpent({ type }: Failed): boolean {
    if (type !== 'Stopped' || budget === null || isEnding) return false;
    const soon = new Date(deps.now().getTime() + clockMs);
    return isBudgetDue || budget.isDue(soon, uploads.slowestMs);
  }

  async function end(): Promise<never> {
    await keepAll();
    throw budgetSpent((await endTraining(deps, generation, budget!)).text);
  }

  /** Ends so, unless the host's time is over before: then what counts by then is handed over. */
  async function inTime<Ended>(step: number, ending: () => Promise<Ended>): Promise<Ended> {
    const ended = await inTimeLeft(deps, ending());
    if (ended !== null) return ended.result;
    isHandedOver = true;
    return await handOver(step);
  }

  /** Brings to the store what there is time for, so that another host goes on from this very step. */
  async function handOver(step: number): Promise<never> {
    const keepMs = timeLeftMs(deps);
    if (keepMs > 0) await inTimeLeft(deps, keepAll(keepMs));
    else await endInHaste(deps, generation);
    const { durableStep } = uploads;
    throw handedOver(deps.host, deps.leaving!.notice!, { step, durableStep });
  }

  async function mourn(): Promise<never> {
    if (deps.leaving?.notice != null) await handOver(progress.step);
    await keepAll();
    throw new Error(`the trainer of ${phase} died at step ${progress.step}`);
  }

  /** What it computes at another rate than was decided never counts, so it need not save. */
  async function discard(): Promise<never> {
    await requireHead(deps, generation);
    await endTrainer(runDir, 0);
    throw uploads.refused!;
  }

  async function endHung(): Promise<never> {
    // A stale watcher, which sees no events because it was stopped itself, must not end another's trainer.
    await requireHead(deps, generation);
    await endTrainer(runDir, 0);
    await keepAll();
    throw new Error(
      `the trainer of ${phase} hung at step ${progress.step}: no event for ${Math.round(pace.limitMs() / 1000)} s`,
    );
  }

  /** Our lease had run out, and two trainings on one host would each take twice as long. */
  async function leaveHost(): Promise<never> {
    await requireHead(deps, generation);
    await endTrainer(runDir, graceMs);
    await keepMost();
    throw ApplicationFailure.create({
      message: `host ${deps.host} was leased by ${lease.takenBy} while our lease had run out`,
      type: PassingFailure.HostTaken,
    });
  }

  /** A person's cancellation stops the trainer, which saves first; anything else leaves it to the next generation. */
  async function letGo(): Promise<never> {
    if (isCancelled(context)) {
      await endTrainer(runDir, graceMs);
      await keepMost();
    }
    throwIfEnded(context);
    throw new Error('the watcher ended without a reason');
  }

  /** Leaves nothing on this host: the next rung may train on another, from what is stored. */
  async function endRung(
    step: number,
    { loss, bpb }: NonNullable<Failed['heldOut']>,
  ): Promise<RungEnd> {
    await keepAll();
    if (uploads.durableStep < step) {
      throw new Error(`the checkpoint of step ${step}, where the rung ended, is not stored`);
    }
    await metrics.flush();
    await requireHead(deps, generation);
    await endTrainer(runDir, 10_000);
    await rm(runDir, { recursive: true, force: true });
    return { step, loss, valBpb: bpb };
  }

  async function fail(result: Failed): Promise<never> {
    await keepAll();
    throw await failureOf(deps, generation, result);
  }

  async function finish(
    result: Extract<TrainerResult, { ok: true }>,
    othersMs: number,
  ): Promise<TrainedModel> {
    await keepAll(othersMs);
    if (result.model === null) throw new Error('result.json: found no model, expected its folder');
    const files = await putBlobFolder(deps.store, path.resolve(runDir, result.model));
    const head = await requireHead(deps, generation);
    const model = manifestOf(job, result, files, head);
    await metrics.flush();
    const used = {
      learningRates: ratesUsed(result.learningRates ?? []),
      rollbacks: rollbacksUsed(result.rollbacks ?? []),
      microBatches: microBatchesUsed(result.microBatches ?? []),
    };
    await commitFinished(deps.store, job.trial, generation, model, used);
    return await recordModel(deps, generation, model, head);
  }
}
