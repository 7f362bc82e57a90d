/** A model that exists becomes an assistant by adapters: what is planned, and what a missed gate changes. */
import { describe, expect, test } from 'vitest';
import { recipeSchema } from '../../config/recipe.ts';
import { planRecipe, replanRecipe } from '../../recipes/plan.ts';
import { chatSizes, parseChats, usualChats } from '../../recipes/tuning.ts';
import { adaptedInputs as inputs, parentOf } from '../support/recipes.ts';

const { base } = inputs;

describe('an assistant from a base model', () => {
  test('is adapted, then tuned by adapters in both phases, all of them of the base shape', () => {
    const recipe = recipeSchema.parse(planRecipe(inputs));
    expect(recipe.model).toEqual(base.shape);
    expect(recipe.pretrain).toMatchObject({ lora: { mergeShare: 0.8 }, rehearsal: {} });
    for (const phase of [recipe.sft!, recipe.dpo!]) {
      expect(phase.lora).toMatchObject({ rank: 16, mergeShare: 1 });
      expect(phase.warmupSteps + phase.decaySteps).toBeLessThanOrEqual(phase.numSteps);
      expect(phase.saveEverySteps).toBeLessThanOrEqual(phase.numSteps);
    }
    const choices = recipe.reasons.map(({ choice }) => choice);
    expect(new Set(choices).size).toBe(choices.length);
    expect(choices).toEqual(expect.arrayContaining(['rehearsal', 'fine-tuning', 'tuning rate']));
  });

  test.each([60_000, 300_000, 720_000, 3_600_000])(
    'all phases fit a budget of %d ms when there is time to train at all',
    (budgetMs) => {
      const { sft, dpo, estimate } = recipeSchema.parse(planRecipe({ ...inputs, budgetMs }));
      expect(Math.min(sft!.numSteps, dpo!.numSteps)).toBeGreaterThanOrEqual(10);
      if (budgetMs >= 300_000) expect(estimate.trainingMs).toBeLessThan(budgetMs * 1.05);
      expect(estimate.trainingMsLow).toBeLessThan(estimate.trainingMs);
      expect(estimate.trainingMsHigh).toBeGreaterThan(estimate.trainingMs);
    },
  );

  test('more chats are read in more steps, up to what the budget affords', () => {
    const stepsOf = (numChats: number) => planRecipe({ ...inputs, numChats }).sft!.numSteps;
    expect(stepsOf(150)).toBeLessThan(stepsOf(300));
    expect(stepsOf(1e6)).toBe(stepsOf(1e7));
  });

  test('a row holds the longest chat, as far as the base holds it', () => {
    const lengthFor = (longestBytes: number) =>
      planRecipe({ ...inputs, chats: { meanBytes: 60, longestBytes } }).sft!.contextLength;
    expect(lengthFor(20)).toBe(64);
    expect(lengthFor(110)).toBe(128);
    expect(lengthFor(500)).toBe(512);
    expect(lengthFor(90_000)).toBe(base.shape.contextLength);
  });

  test('without chats only the documents are learnt', () => {
    expect(planRecipe({ ...inputs, numChats: 0 })).toMatchObject({ sft: null, dpo: null });
  });
});

test('a registered version that was adapted is tuned by adapters, one that was not by all weights', () => {
  const { base: _, ...rest } = inputs;
  const parent = parentOf('policy', 3);
  const plan = (adapted: boolean) =>
    planRecipe({ ...rest, parent: adapted ? { ...parent, adapted } : parent });
  expect(plan(true).sft!.lora).toBeDefined();
  expect(plan(true).pretrain.lora).toBeDefined();
  expect(plan(true).reasons[0]).toMatchObject({ choice: 'start', value: 'policy@3' });
  expect(plan(false).sft!.lora).toBeUndefined();
  expect(plan(false).pretrain.lora).toBeUndefined();
});

describe('a missed gate', () => {
  const first = planRecipe(inputs);

  test('on answers keeps the adapted model, and reads the chats longer at a lower rate', () => {
    const next = replanRecipe(inputs, first, [{ metric: 'questions.accuracy', value: 0.1 }]);
    expect(next.round).toBe(1);
    expect(next.pretrain).toEqual(first.pretrain);
    expect(next.sft!.numSteps).toBeGreaterThan(first.sft!.numSteps);
    expect(next.sft!.learningRate).toBeLessThan(first.sft!.learningRate);
  });

  test('on the held-out text reads the documents once more, and tunes as before', () => {
    const small = { ...inputs, statistics: { numTokens: 10_000, bytes: 40_000 } };
    const before = planRecipe(small);
    const next = replanRecipe(small, before, [{ metric: 'valBpb', value: 2 }]);
    expect(next.round).toBe(1);
    expect(next.pretrain.numSteps).toBeGreaterThan(before.pretrain.numSteps);
    expect(next.sft).toEqual(before.sft);
  });
});

test('chats are measured in bytes; a wrong answer may be longer than the right one', () => {
  const line = (question: string, answer: string) =>
    JSON.stringify({ messages: [{ content: question }, { content: answer }] });
  const chats = parseChats(`${line('Who?', '李')}\n${line('Who was it?', 'x'.repeat(9))}\n`);
  expect(chatSizes(chats)).toEqual({
    meanBytes: (4 + 3 + 11 + 9) / 2,
    longestBytes: 11 + 9,
    paddedBytes: expect.closeTo(20, 2),
  });
  expect(chatSizes([])).toEqual(usualChats);
});
