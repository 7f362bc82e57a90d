/** Decides how a training goes on that ran out of memory: with half as many sequences at once, in the same batch. */
import type { DecidedMicroBatch } from '../config/manifests.ts';
import type { PhaseRecipe } from '../config/recipe.ts';

/**
 * Half of what is in force, of a rank; null where one at a time was too much. `rows`: what the trainer had at once, which
 * may be fewer than a batch has sequences, where they are packed.
 */
export function halvedMicroBatch(
  recipe: Pick<PhaseRecipe, 'batchSize' | 'worldSize' | 'microBatchSize'>,
  before: readonly DecidedMicroBatch[],
  rows = Infinity,
): number | null {
  const planned = recipe.microBatchSize ?? recipe.batchSize / recipe.worldSize;
  const size = Math.min(before.at(-1)?.size ?? planned, rows);
  return size <= 1 ? null : Math.floor(size / 2);
}
