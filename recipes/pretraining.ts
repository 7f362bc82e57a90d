/** How all weights of a model learn from documents: optimizer, rates, passes, and what a step takes. */
import type { GivenShape, Machine, ModelShape, PretrainRecipe, Reason } from '../config/recipe.ts';
import { trainingFlopsPerToken } from './shapes.ts';
import { bestPrecision, muonMs, threadsOf, trainingSpeed } from './speed.ts';
import { checkpointsReason } from './step.ts';

/** What a step costs beyond its arithmetic; measured. */
const stepOverheadMs = 5;
/** Over the same text, where there is enough of it for the model. */
const maxEpochs = 16;
/**
 * Where there is so little that the model learns it by heart: half as often ended lower with a tenth of a token a
 * parameter, and higher with four tenths (docs/log.md).
 */
const little = { tokensPerParameter: 0.2, maxEpochs: 8 };

/** How often a text of so many distinct tokens is read at most. */
export function mostEpochs(numTokens: number, numParameters: number): number {
  return numTokens < little.tokensPerParameter * numParameters ? little.maxEpochs : maxEpochs;
}

/** Why no more often. */
export function epochsBecause(most: number): string {
  return most === maxEpochs
    ? 'tokens repeated more often teach little'
    : `a model with more than ${1 / little.tokensPerParameter} parameters for each token learns the text by heart`;
}

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

/** What every phase has in common, on one host. */
export function onOneHost(machine: Machine, seed: number) {
  return {
    seed,
    weightDecay: 0,
    gradClip: 1,
    precision: bestPrecision(machine),
    worldSize: 1,
    threads: threadsOf(machine),
    unwatchedExitS: 600,
  };
}

/** The reasons for the course of a pretraining: its schedule, its precision, its checkpoints. */
export function courseReasons(pretrain: PretrainRecipe, lostMs: number): Reason[] {
  return [
    {
      choice: 'schedule',
      value: `${pretrain.warmupSteps} steps up, ${pretrain.decaySteps} down`,
      reason: 'a constant rate, then a linear fall to zero over the last two thirds',
      source: 'Hägele et al. 2024',
    },
    {
      choice: 'precision',
      value: pretrain.precision,
      reason:
        pretrain.precision === 'bf16'
          ? 'the machine multiplies bf16 faster'
          : 'the machine has no fast bf16',
      source: 'measured in docs/log.md',
    },
    checkpointsReason(pretrain, lostMs),
  ];
}
