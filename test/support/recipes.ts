/** A tiny recipe and training job that tests share. */
import { knownBases } from '../../config/base-models.ts';
import { planRecipe, type PlanInputs } from '../../recipes/plan.ts';
import type { Machine, ReadingRecipe } from '../../config/recipe.ts';
import type { ParentModel } from '../../registry/parents.ts';
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

/** Of an assistant that a base model is made into. */
export const adaptedInputs = {
  statistics: { numTokens: 150_000, bytes: 600_000 },
  goal: 'assistant',
  budgetMs: 720_000,
  machine: { ...machine, instructionSet: 'avx512_bf16' },
  seed: 7,
  vocabSize: knownBases['smollm2']!.shape.vocabSize,
  numChats: 300,
  numPreferences: 300,
  chats: { meanBytes: 70, longestBytes: 110 },
  base: { title: 'SmolLM2', shape: knownBases['smollm2']!.shape },
} satisfies PlanInputs;

export const recipe: ReadingRecipe = planRecipe(planInputs);

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

/** A version that a recipe like that made, to go on from. */
export function parentOf(name: string, version: number): ParentModel {
  return {
    name,
    version,
    pretrain: '7'.repeat(64),
    shape: recipe.model,
    numTokens: 400_000,
    tokenizer: { file: { sha256: '9'.repeat(64), bytes: 5 }, vocabSize: 512 },
    dataset: { name, version: 1, digest: 'd'.repeat(64) },
  };
}
