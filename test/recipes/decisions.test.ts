/** Stored decisions: what is planned for corpora, goals, budgets and machines that are unlike, so that none changes unseen. */
import { expect, test } from 'vitest';
import { knownBases } from '../../config/base-models.ts';
import type { Machine, PhaseRecipe } from '../../config/recipe.ts';
import { planAlternatives } from '../../recipes/alternatives.ts';
import { planRecipe, type PlanInputs } from '../../recipes/plan.ts';

const small: Machine = {
  device: 'cpu',
  cores: 2,
  memoryBytes: 24e9,
  instructionSet: 'avx512_bf16',
};
const large: Machine = { device: 'cpu', cores: 32, memoryBytes: 128e9, instructionSet: 'amx' };
const laptop: Machine = { device: 'cpu', cores: 8, memoryBytes: 8e9, instructionSet: 'neon' };
const addresses: PlanInputs = {
  statistics: { numTokens: 2_437_128, bytes: 10_600_000 },
  goal: 'assistant',
  budgetMs: 160_000,
  machine: small,
  seed: 1789,
  vocabSize: 4096,
  numChats: 5496,
  numPreferences: 5496,
};
const { title, shape } = knownBases['smollm2']!;
const minutes = 60_000;
const base: Partial<PlanInputs> = { goal: 'base', numChats: 0, numPreferences: 0 };
const adapt: Partial<PlanInputs> = {
  ...base,
  goal: 'adapt',
  base: { title, shape },
  vocabSize: shape.vocabSize,
  statistics: { numTokens: 58_600, bytes: 300_000 },
};
const cases: Record<string, Partial<PlanInputs>> = {
  'the quickstart': {},
  'the quickstart for an hour': { budgetMs: 60 * minutes },
  'a page of text': { ...base, statistics: { numTokens: 700, bytes: 2500 }, vocabSize: 512 },
  'a gigabyte on a large machine': {
    ...base,
    statistics: { numTokens: 190_000_000, bytes: 1e9 },
    vocabSize: 32_768,
    budgetMs: 7 * 1440 * minutes,
    machine: large,
  },
  'the same on a laptop': {
    ...base,
    statistics: { numTokens: 190_000_000, bytes: 1e9 },
    vocabSize: 32_768,
    budgetMs: 7 * 1440 * minutes,
    machine: laptop,
  },
  'size first': { ...base, budgetMs: 60 * minutes, prefer: 'size' },
  'a base adapted': { ...adapt, budgetMs: 6 * minutes },
  'a base adapted, its held-out text scored': {
    ...adapt,
    budgetMs: 6 * minutes,
    heldOutTokens: 11_700,
  },
  'a base adapted on a laptop': { ...adapt, budgetMs: 6 * minutes, machine: laptop },
  'an assistant of a base': {
    ...adapt,
    goal: 'assistant',
    budgetMs: 40 * minutes,
    numChats: 352,
    numPreferences: 352,
  },
};

function decisions(inputs: PlanInputs) {
  const recipe = planRecipe(inputs);
  const { model, numParameters, estimate, reasons } = recipe;
  const phase = (of: PhaseRecipe | null) =>
    of && {
      steps: of.numSteps,
      batch: `${of.batchSize} of ${of.contextLength} tokens`,
      atOnce: of.microBatchSize ?? 'all',
      rate: Number(of.learningRate.toPrecision(3)),
      warmup: of.warmupSteps,
      decay: of.decaySteps,
      precision: of.precision,
      threads: of.threads,
      savedEvery: of.saveEverySteps,
      lora: of.lora?.rank ?? 'none',
    };
  return {
    model: `${model.family} ${model.numLayers} layers of ${model.hiddenSize}`,
    numParameters,
    pretrain: phase(recipe.pretrain),
    sft: phase(recipe.sft),
    dpo: phase(recipe.dpo),
    estimate,
    reasons: reasons.map(({ choice, value }) => `${choice}: ${value}`),
    instead: planAlternatives(inputs, recipe).map(({ title: other, how }) => `${other} (${how})`),
  };
}

test('what was decided for unlike corpora, goals, budgets and machines is decided again', async () => {
  const found = Object.fromEntries(
    Object.entries(cases).map(([name, changes]) => [name, decisions({ ...addresses, ...changes })]),
  );
  // Where a plan is meant to change: `npx vitest run test/recipes -u`, and say why in docs/log.md.
  await expect(`${JSON.stringify(found, null, 2)}\n`).toMatchFileSnapshot('decisions.json');
});
