/** A tiny recipe and training job that tests share. */
import { planRecipe, type PlanInputs } from '../../recipes/plan.ts';
import type { Machine, Recipe } from '../../config/recipe.ts';
import type { TrainingInput } from '../../workflows/training.ts';

export const machine: Machine = {
  device: 'cpu',
  cores: 2,
  memoryBytes: 8e9,
  instructionSet: 'avx2',
};

export const planInputs: PlanInputs = {
  statistics: { numTokens: 200_000, bytes: 700_000 },
  goal: 'assistant',
  budgetMs: 20_000,
  machine,
  seed: 7,
  vocabSize: 512,
  numChats: 100,
  numPreferences: 100,
};

export const recipe: Recipe = planRecipe(planInputs);

export const trainingInput: TrainingInput = {
  run: 'test',
  round: 0,
  trial: 0,
  recipe: recipe.pretrain,
  shape: recipe.model,
  machine,
  corpus: 'c'.repeat(64),
  init: null,
};
