/** The model of a training that finished: its manifest, and its record. */
import { rm } from 'node:fs/promises';
import {
  modelManifestSchema,
  type Ending,
  type Head,
  type ModelManifest,
} from '../config/manifests.ts';
import type { TrainerResult } from '../config/trainer.ts';
import { microBatchesOf } from '../registry/micro-batches.ts';
import { rollbacksOf } from '../registry/rollbacks.ts';
import { recordStage, stageDigest } from '../registry/stages.ts';
import { endingOf, ratesOf, readHead } from '../registry/training.ts';
import type { Deps } from './deps.ts';
import { summariseModel } from './training-job.ts';
import type { Generation, TrainedModel } from './training-job.ts';
import { endTrainer } from './trainer-process.ts';
import { runDirOf } from './trainer-start.ts';

type Finished = Extract<TrainerResult, { ok: true }>;

/** What a training that finished has made, as its head says. */
export function manifestOf(
  job: Generation['job'],
  result: Finished,
  files: ModelManifest['files'],
  head: Head,
): ModelManifest {
  const changes = ratesOf(head.learningRates);
  const rollbacks = rollbacksOf(head.rollbacks);
  const ending = endingOf(head);
  const microBatches = microBatchesOf(head.microBatches ?? []);
  return {
    schemaVersion: 1,
    phase: job.trial.phase,
    files,
    shape: job.shape,
    machine: job.machine,
    numSteps: result.step,
    numTokens: result.numTokens,
    finalLoss: result.finalLoss,
    exact: head.worlds === undefined && head.codes === undefined,
    ...adaptedOf(result),
    ...(changes.length > 0 && { learningRates: changes }),
    ...(rollbacks.length > 0 && { rollbacks }),
    ...(microBatches.length > 0 && { microBatches }),
    ...(result.plateau && { plateau: result.plateau }),
    ...(head.worlds && { worlds: head.worlds }),
    ...(head.codes && { codes: head.codes }),
    ...(ending &&
      isEarly(ending, job) && { ended: { step: ending.step, numSteps: job.recipe.numSteps } }),
  };
}

/** How the base did on the held-out text and how the adapted model does; nothing where none was adapted. */
function adaptedOf({ valBpb, valBpbBefore }: Finished): Pick<ModelManifest, 'adapted'> {
  return valBpb === null || valBpbBefore === undefined ? {} : { adapted: { valBpbBefore, valBpb } };
}

/**
 * A second recorder adopts what the first one wrote; the run directory has served its purpose. A model whose rate
 * was changed on the way, that was taken back, or that the budget ended, is not what the job names, so that no other run
 * may take it for that.
 */
export async function recordModel(
  deps: Deps,
  { job, stage: planned, execution, fence }: Generation,
  model: ModelManifest,
  head: Head,
): Promise<TrainedModel> {
  const { learningRates: decided, rollbacks: returns, microBatches: halvings = [] } = head;
  const ending = endingOf(head);
  const learningRates = ratesOf(decided);
  const rollbacks = rollbacksOf(returns);
  const microBatches = microBatchesOf(halvings);
  const changes = {
    ...(learningRates.length > 0 && { learningRates }),
    ...(rollbacks.length > 0 && { rollbacks }),
    ...(head.worlds && { worlds: head.worlds }),
    ...(head.codes && { codes: head.codes }),
    ...(ending && isEarly(ending, job) && { endedAt: ending.step }),
    ...(microBatches.length > 0 && { microBatches }),
  };
  const stage =
    Object.keys(changes).length === 0 ? planned : stageDigest({ stage: planned, ...changes });
  const recorded = await recordStage(
    deps.store,
    job.trial.phase,
    stage,
    modelManifestSchema,
    model,
  );
  // Who was long about it must not clear away what a newer generation, of a budget that grew, trains there.
  if ((await readHead(deps.store, job.trial))?.value.fence === fence) {
    await endTrainer(runDirOf(deps, job.trial), 10_000);
    await rm(runDirOf(deps, job.trial), { recursive: true, force: true });
  }
  return {
    ...summariseModel(stage, recorded, false),
    ...(decided.length > 0 && {
      learningRates: decided.map(({ order, step, scale, execution: whose }) => ({
        order: whose === execution ? order : null,
        step,
        scale,
      })),
    }),
    ...(rollbacks.length > 0 && { rollbacks }),
    ...(microBatches.length > 0 && { microBatches }),
  };
}

/** A budget that was spent at the last planned step has changed nothing. */
function isEarly({ step }: Ending, { recipe }: Generation['job']): boolean {
  return step < recipe.numSteps;
}
