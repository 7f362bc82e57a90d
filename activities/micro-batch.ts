/** Decides how a training goes on that ran out of memory: with half as many sequences at once, in the same batch. */
import type { DecidedMicroBatch } from '../config/manifests.ts';
import type { PhaseRecipe } from '../config/recipe.ts';

/** Half of what is in force, of a rank; null where one at a time was too much. */
export function halvedMicroBatch(
  recipe: Pick<PhaseRecipe, 'batchSize' | 'worldSize' | 'microBatchSize'>,
  before: readonly DecidedMicroBatch[],
): number | null {
  const planned = recipe.microBatchSize ?? recipe.batchSize / recipe.worldSize;
  const size = before.at(-1)?.size ?? planned;
  return size <= 1 ? null : Math.floor(size / 2);
}
