/** What comes of a trainer that failed: a return, half as many sequences at once, or a failure that says what to do. */
import { ApplicationFailure } from '@temporalio/activity';
import { FailureType, PassingFailure } from '../config/failures.ts';
import { loadOf } from '../config/measurements.ts';
import type { TrainerResult } from '../config/trainer.ts';
import { recordMicroBatch } from '../registry/measurements.ts';
import { describeRollback } from '../registry/rollbacks.ts';
import { commitMicroBatch, commitRollback } from '../registry/training.ts';
import type { Deps } from './deps.ts';
import { halvedMicroBatch } from './micro-batch.ts';
import { decideRollback } from './rollback.ts';
import { diskFull } from './trainer-disk.ts';
import { requireHead } from './trainer-start.ts';
import { incurable, type Generation } from './training-job.ts';

type Failed = Extract<TrainerResult, { ok: false }>;

/** A failure that the next generation makes good where one can, by a decision in the head. */
export async function failureOf(
  deps: Deps,
  generation: Generation,
  result: Failed,
): Promise<ApplicationFailure> {
  return (
    (await rolledBack(deps, generation, result)) ??
    (await halved(deps, generation, result)) ??
    (await trainerFailure(deps, generation, result))
  );
}

/**
 * Goes on with half as many sequences at once after a training ran out of memory, by a decision in the head that the
 * next generation reads, and records it for later plans of this machine; null when it did not, or with one at a time.
 * Of a gang, each host may find so: one of them decides for all.
 */
export async function halved(
  deps: Deps,
  generation: Generation,
  { type, message, step, rows }: Failed,
): Promise<ApplicationFailure | null> {
  if (type !== FailureType.OutOfMemory) return null;
  const { job } = generation;
  const { microBatches = [] } = await requireHead(deps, generation);
  const decided = microBatches.find(({ fence }) => fence === generation.fence);
  const size = decided?.size ?? halvedMicroBatch(job.recipe, microBatches, rows);
  if (size === null) return null;
  const reason = `out of memory at step ${step}: ${message}`;
  const decision = { size, reason, at: deps.now().toISOString() };
  const head = await commitMicroBatch(deps.store, job.trial, generation, decision);
  await recordMicroBatch(deps.store, job.machine, loadOf(job.recipe, job.shape), size);
  const from = head.microBatches?.at(-1)?.step ?? 0;
  return ApplicationFailure.create({
    message: `out of memory at step ${step}: from step ${from} on ${size} sequences at once, in the same batch`,
    type: PassingFailure.MicroBatchHalved,
  });
}

/**
 * Takes a training that diverged back, by a decision in the head that the next generation reads; null when it did not,
 * or when it was tried often enough.
 */
async function rolledBack(
  deps: Deps,
  generation: Generation,
  { fault }: Failed,
): Promise<ApplicationFailure | null> {
  if (fault === undefined) return null;
  const { job } = generation;
  const { rollbacks } = await requireHead(deps, generation);
  const decided = decideRollback(fault, job.recipe, rollbacks);
  if (decided === null) return null;
  const decision = { ...decided, at: deps.now().toISOString() };
  await commitRollback(deps.store, job.trial, generation, decision);
  return ApplicationFailure.create({
    message: describeRollback(decision),
    type: PassingFailure.RolledBack,
  });
}

async function trainerFailure(
  deps: Deps,
  generation: Generation,
  { type, message, step }: Failed,
): Promise<ApplicationFailure> {
  const { job } = generation;
  // With more at once it would have gone on with half of them.
  const alone = type === FailureType.OutOfMemory ? ', with one sequence at once' : '';
  const told = `the trainer ended at step ${step}: ${message}${alone}`;
  if (type === PassingFailure.DiskFull) return await diskFull(deps, job, told);
  const advice =
    type === FailureType.OutOfMemory
      ? '. Give the host more memory, or the pipeline file a smaller budget, which plans a smaller model'
      : type === FailureType.TrainingDiverged
        ? await triedBefore(deps, generation)
        : '';
  return ApplicationFailure.create({
    message: `${told}${advice}`,
    type,
    nonRetryable: incurable.includes(type),
  });
}

/** What was done about earlier faults of a training that fails by one. */
async function triedBefore(deps: Deps, generation: Generation): Promise<string> {
  const { rollbacks } = await requireHead(deps, generation);
  if (rollbacks.length === 0) return '';
  const told = rollbacks.map((rollback) => describeRollback(rollback)).join('; ');
  return `. It was taken back ${rollbacks.length} times before: ${told}. Look at the documents, or plan a lower rate`;
}
