/** What is decided step by step: how often to save, and why a step is as large, and computed by as many processes, as it is. */
import type { PhaseRecipe, Reason } from '../config/recipe.ts';

/** Between checkpoints: what a kill costs at most, beside a restart. */
export const saveEveryMs = 20_000;

/** Steps between checkpoints. */
export function saveEvery(stepMs: number, numSteps: number): number {
  return Math.max(1, Math.min(numSteps, Math.round(saveEveryMs / stepMs)));
}

/** The reasons for the batch of a phase and for its ranks. */
export function stepReasons(recipe: PhaseRecipe): Reason[] {
  const { batchSize, contextLength, worldSize, threads, lora } = recipe;
  return [
    {
      choice: 'batch',
      value: `${batchSize} sequences of ${contextLength} tokens`,
      reason:
        lora === undefined
          ? 'small models learn from small batches: a larger one buys fewer steps for the same time'
          : 'few documents make few steps: a larger batch would leave too few to learn from',
      source: 'McCandlish et al. 2018; measured in docs/log.md',
    },
    {
      choice: 'parallelism',
      value:
        worldSize === 1
          ? `none, ${threads} threads`
          : `${worldSize} ranks of ${threads} threads, each with all weights`,
      reason:
        worldSize === 1
          ? 'one process uses every core of one machine; ranks would hold the weights once more each'
          : 'the weights fit into each rank, so only gradients are exchanged',
      source: 'Li et al. 2020; docs/scale.md for what needs more',
    },
  ];
}
