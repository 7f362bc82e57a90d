/**
 * What a person would search instead of asking the planner: four sizes, each with four settings of batch, rates and
 * schedule. The same sixteen on every corpus, each with as many steps as the same computing time affords.
 */
import type { Machine, PlainShape, PretrainRecipe } from '../../config/recipe.ts';
import { pretrainingStepMs } from '../../recipes/pretraining.ts';
import { ladder } from '../../recipes/shapes.ts';

/** Widths of the ladder of shapes. */
const widths = [64, 128, 192, 256];
/** Sequences a step, peak rates of the matrices and of the rest, share of the steps over which they fall. */
const settings = [
  { batchSize: 16, learningRate: 0.02, adamLearningRate: 0.006, decay: 2 / 3 },
  { batchSize: 16, learningRate: 0.04, adamLearningRate: 0.012, decay: 0.9 },
  { batchSize: 8, learningRate: 0.02, adamLearningRate: 0.006, decay: 0.9 },
  { batchSize: 4, learningRate: 0.01, adamLearningRate: 0.006, decay: 2 / 3 },
];

export interface Searched {
  name: string;
  shape: PlainShape;
  recipe: PretrainRecipe;
}

/** The grid for a vocabulary; `like` gives what is not searched. */
export function searchGrid({
  machine,
  vocabSize,
  like,
  computeMs,
}: {
  machine: Machine;
  vocabSize: number;
  like: PretrainRecipe;
  /** Of each recipe, by what a step costs in the planner. */
  computeMs: number;
}): Searched[] {
  const { contextLength } = like;
  const shapes = ladder(vocabSize, contextLength).filter(({ hiddenSize }) =>
    widths.includes(hiddenSize),
  );
  return shapes.flatMap((shape) =>
    settings.map(({ batchSize, decay, ...rates }) => {
      const stepMs = pretrainingStepMs(machine, shape, { batchSize, contextLength });
      const numSteps = Math.max(2, Math.floor(computeMs / stepMs));
      const warmupSteps = Math.min(20, Math.ceil(numSteps / 10));
      const decaySteps = Math.min(Math.floor(numSteps * decay), numSteps - warmupSteps);
      const recipe = { ...like, ...rates, batchSize, numSteps, warmupSteps, decaySteps };
      const { hiddenSize, numLayers } = shape;
      const { learningRate } = rates;
      const name = `${hiddenSize} × ${numLayers}, ${batchSize} rows at ${learningRate}, falling over ${Math.round(100 * decay)} %`;
      return { name, shape, recipe };
    }),
  );
}
