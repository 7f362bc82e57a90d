/** How all weights of a model learn from documents: optimizer, rates, passes, and what a step takes. */
import type { GivenShape, Machine, ModelShape, PretrainRecipe } from '../config/recipe.ts';
import { trainingFlopsPerToken } from './shapes.ts';
import { muonMs, trainingSpeed } from './speed.ts';

/** What a step costs beyond its arithmetic; measured. */
const stepOverheadMs = 5;
/** Over the same text. */
export const maxEpochs = 16;

/** The batch whose rates were measured first, in tokens (docs/log.md). */
export const usualBatch = 4096;

/** Muon is measured on the shapes of the planner; another architecture gets AdamW, at a rate that falls with its width. */
export function ratesOf(given: GivenShape | null, rate: number, tokensPerStep: number) {
  if (given === null) {
    return {
      optimizer: 'muon',
      learningRate: 0.02 * rate * batchRate(tokensPerStep),
      adamLearningRate: 0.006 * rate,
    } as const;
  }
  const peak = Number(Math.min(3e-3, 0.5 / given.hiddenSize).toPrecision(2)) * rate;
  return { optimizer: 'adamw', learningRate: peak, adamLearningRate: peak } as const;
}

/** What a token costs where all weights learn. */
export function msPerPretrainedToken(machine: Machine, shape: ModelShape): number {
  return (trainingFlopsPerToken(shape) / trainingSpeed(machine, shape.hiddenSize)) * 1000;
}

/** The estimate for a step of pretraining on all weights, in milliseconds. */
export function pretrainingStepMs(
  machine: Machine,
  shape: ModelShape,
  { batchSize, contextLength }: Pick<PretrainRecipe, 'batchSize' | 'contextLength'>,
): number {
  const tokens = batchSize * contextLength;
  // The time of a token was measured in steps of the usual size, with their share of the optimizer.
  const optimizer = (1 - tokens / usualBatch) * muonMs(machine, shape);
  return tokens * msPerPretrainedToken(machine, shape) + stepOverheadMs + optimizer;
}

/**
 * The rate of the matrices grows with the square root of the batch, for the noise of a step falls with it
 * (Malladi et al. 2022). Measured: a quarter of the batch ended lower at half the rate than at the whole.
 */
function batchRate(tokensPerStep: number): number {
  return Math.sqrt(tokensPerStep / usualBatch);
}

/** Steps over which the rate rises. */
export function warmup(numSteps: number): number {
  return Math.min(20, Math.ceil(numSteps / 10));
}
