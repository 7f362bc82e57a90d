/** Smaller micro-batches for want of memory: which of those that were decided are in force, and how they are told. */
import type { DecidedMicroBatch } from '../config/manifests.ts';
import type { MicroBatch } from '../config/trainer.ts';

/** As a trainer reads them: one that was decided later, at the same step or an earlier one, undoes the others from there on. */
export function microBatchesOf(decided: readonly DecidedMicroBatch[]): MicroBatch[] {
  return decided
    .filter(({ step }, index) => decided.slice(index + 1).every((later) => later.step > step))
    .map(({ step, size }) => ({ step, size }));
}

/** E.g. `8 sequences at once from step 20 on`. */
export function describeMicroBatches(decided: readonly MicroBatch[]): string {
  const told = decided.map(({ step, size }) => `${size} sequences at once from step ${step} on`);
  return told.length === 0 ? 'the planned micro-batch' : told.join(', ');
}
