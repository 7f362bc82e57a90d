/**
 * Watches a trainer: follows its events, heartbeats while it makes progress, uploads and commits its
 * checkpoints while it goes on, and takes over its result. It stops the trainer only when a person
 * cancelled; in every other case it lets go, and the next generation adopts.
 */
import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApplicationFailure, Context } from '@temporalio/activity';
import type { BlobRef } from '../config/digest.ts';
import { FailureType } from '../config/failures.ts';
import { modelManifestSchema, type ModelManifest } from '../config/manifests.ts';
import type { TrainerEvent, TrainerResult, TrainingProgress } from '../config/trainer.ts';
import { putBlobFile, readBlob } from '../registry/blobs.ts';
import { renewHost } from '../registry/leases.ts';
import { recordStage } from '../registry/stages.ts';
import { commitFinished, putEvents } from '../registry/training.ts';
import { CheckpointUploads } from './checkpoint-uploads.ts';
import type { Deps } from './deps.ts';
import { hostPool, leaseTtlMs, summariseModel } from './training-job.ts';
import type { Generation, TrainedModel } from './training-job.ts';
import { EventTail, readResult, touchControl, writeControl } from './trainer-files.ts';
import { createSight, endTrainer } from './trainer-process.ts';
import { requireHead, runDirOf, type TrainerStart } from './trainer-start.ts';

const tickMs = 500;
/** Importing the libraries and loading a checkpoint has no events: its own, longer limit. */
const startLimitMs = 180_000;
const saveLimitMs = 120_000;

export async function watchTrainer(
  deps: Deps,
  generation: Generation & { start: TrainerStart },
): Promise<TrainedModel> {
  const { job, fence, start } = generation;
  const head = await requireHead(deps, generation);
  const runDir = runDirOf(deps, job.trial);
  if (head.finished !== null) {
    const bytes = await readBlob(deps.store, head.finished);
    return await record(
      deps,
      generation,
      modelManifestSchema.parse(JSON.parse(bytes.toString('utf8'))),
    );
  }
  const context = Context.current();
  const tail = new EventTail(runDir);
  const pace = new Pace();
  const isGone = createSight(runDir);
  const uploads = new CheckpointUploads(deps, generation, head);
  const unsent: TrainerEvent[] = [];
  const progress: TrainingProgress = {
    kind: 'training',
    phase: job.trial.phase,
    step: start.resumedFrom ?? 0,
    numSteps: job.recipe.numSteps,
    loss: null,
    tokensPerSecond: null,
    durableStep: uploads.durableStep,
    resumedFrom: start.resumedFrom,
    adopted: start.adopted,
  };
  let acknowledged = uploads.committed.length;
  let batch = head.chain.length;
  const flushEvents = async () => {
    if (unsent.length > 0) await putEvents(deps.store, job.trial, fence, batch++, unsent.splice(0));
  };

  for (let tick = 0; ; tick += 1) {
    if (context.cancellationSignal.aborted) await letGo(context, runDir);
    // The result is read before the events, so that no event of a trainer that has ended is missed.
    const result = await readResult(runDir);
    const gone = result === null && tick % 2 === 0 && (await isGone());
    for (const event of await tail.read()) {
      unsent.push(event);
      pace.see(event);
      if (event.event === 'step') {
        progress.step = event.step;
        progress.loss = event.loss;
        progress.tokensPerSecond = event.tokens_per_second;
      } else if (event.event === 'checkpoint') {
        uploads.offer(event.step, path.resolve(runDir, event.path));
      }
    }
    uploads.throwIfFatal();
    progress.durableStep = uploads.durableStep;
    if (uploads.committed.length > acknowledged) {
      acknowledged = uploads.committed.length;
      await writeControl(runDir, {
        schemaVersion: 1,
        fence,
        paused: false,
        stop: false,
        saveNow: 0,
        learningRates: [],
        acknowledged: uploads.committed,
      });
      await flushEvents().catch(() => undefined);
    }
    if (result !== null) return await finish(result);
    if (gone && (await readResult(runDir)) === null) {
      await uploads.settle();
      throw new Error(`the trainer of ${job.trial.phase} died at step ${progress.step}`);
    }
    if (pace.hungForMs() > 0) {
      await endTrainer(runDir, 0);
      throw new Error(
        `the trainer of ${job.trial.phase} hung at step ${progress.step}: no event for ${Math.round(pace.limitMs() / 1000)} s`,
      );
    }
    context.heartbeat(progress);
    await touchControl(runDir);
    if (tick % 20 === 0) await renewLease();
    await sleep(tickMs, undefined, { signal: context.cancellationSignal }).catch(() => undefined);
  }

  async function renewLease(): Promise<void> {
    const { runId: _, workflowId } = context.info.workflowExecution ?? {
      runId: '',
      workflowId: '',
    };
    try {
      await renewHost(deps.store, hostPool, deps.host, {
        holder: workflowId,
        now: deps.now(),
        ttlMs: leaseTtlMs(job.recipe.unwatchedExitS),
      });
    } catch (error) {
      // S3 is away: training goes on, and the lease outlives its absence by design.
      context.log.warn('lease not renewed', { error });
    }
  }

  async function finish(result: TrainerResult): Promise<TrainedModel> {
    if (!result.ok) {
      await uploads.settle();
      throw trainerFailure(result);
    }
    const keepAlive = setInterval(() => context.heartbeat(progress), 2000);
    try {
      await uploads.settle();
      const folder = path.resolve(runDir, result.model);
      const files: Record<string, BlobRef> = {};
      for (const name of (await readdir(folder)).toSorted()) {
        files[name] = await putBlobFile(deps.store, path.join(folder, name));
      }
      const model: ModelManifest = {
        schemaVersion: 1,
        phase: job.trial.phase,
        files,
        shape: job.shape,
        machine: job.machine,
        numSteps: result.step,
        numTokens: result.numTokens,
        finalLoss: result.finalLoss,
        exact: true,
      };
      await commitFinished(deps.store, job.trial, generation, model);
      await flushEvents();
      return await record(deps, generation, model);
    } finally {
      clearInterval(keepAlive);
    }
  }
}

/** A second recorder adopts what the first one wrote; the run directory has served its purpose. */
async function record(
  deps: Deps,
  { job, stage }: Generation,
  model: ModelManifest,
): Promise<TrainedModel> {
  const recorded = await recordStage(
    deps.store,
    job.trial.phase,
    stage,
    modelManifestSchema,
    model,
  );
  await endTrainer(runDirOf(deps, job.trial), 10_000);
  await rm(runDirOf(deps, job.trial), { recursive: true, force: true });
  return summariseModel(stage, recorded, false);
}

/** A person's cancellation stops the trainer, which saves first; anything else leaves it to the next generation. */
async function letGo(context: Context, runDir: string): Promise<never> {
  const reason = context.cancellationSignal.reason as Error | undefined;
  if (reason?.message === 'CANCELLED') await endTrainer(runDir, 30_000);
  else
    throw new Error(
      `the watcher let go (${reason?.message ?? 'unknown reason'}); the trainer goes on`,
    );
  throw reason;
}

const incurable: readonly string[] = [
  FailureType.InvalidConfig,
  FailureType.InvalidCorpus,
  FailureType.CheckpointIncompatible,
  FailureType.TrainingDiverged,
  FailureType.OutOfMemory,
];

function trainerFailure(result: Extract<TrainerResult, { ok: false }>): ApplicationFailure {
  const message = `the trainer ended at step ${result.step}: ${result.message}`;
  return ApplicationFailure.create({
    message,
    type: result.type,
    nonRetryable: incurable.includes(result.type),
  });
}

/** Tells a hang from slowness: the limit follows the slowest recent step, and what the trainer said it is doing. */
class Pace {
  #last = Date.now();
  #doing: 'starting' | 'stepping' | 'saving' = 'starting';
  #stepAt: number | null = null;
  readonly #recentMs: number[] = [];

  see(event: TrainerEvent): void {
    this.#last = Date.now();
    if (event.event === 'save_started') this.#doing = 'saving';
    else this.#doing = 'stepping';
    if (event.event !== 'step') return;
    if (this.#stepAt !== null) this.#recentMs.push((event.at - this.#stepAt) * 1000);
    if (this.#recentMs.length > 100) this.#recentMs.shift();
    this.#stepAt = event.at;
  }

  limitMs(): number {
    if (this.#doing === 'starting') return startLimitMs;
    const limit = Math.max(60_000, 20 * Math.max(0, ...this.#recentMs));
    return this.#doing === 'saving' ? Math.max(saveLimitMs, limit) : limit;
  }

  hungForMs(): number {
    return Date.now() - this.#last - this.limitMs();
  }
}
