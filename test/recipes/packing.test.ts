/** Whether chats share rows: where padding would take a fifth and more, and as the pipeline file asks. */
import { describe, expect, test } from 'vitest';
import { recipeSchema } from '../../config/recipe.ts';
import { planPhases } from '../../recipes/phases.ts';
import { planRecipe } from '../../recipes/plan.ts';
import { packingOf } from '../../recipes/packing.ts';
import { chatSizes } from '../../recipes/tuning.ts';
import { adaptedInputs, planInputs } from '../support/recipes.ts';

const chatsOf = (...answers: number[]) =>
  chatSizes(
    answers.map((bytes) => ({ messages: [{ content: 'Who?' }, { content: 'x'.repeat(bytes) }] })),
  );
const unlike = chatsOf(...Array.from({ length: 90 }, () => 40), 900, 1200, 700, 1000, 800);
const alike = chatsOf(...Array.from({ length: 90 }, (_, number) => 60 + (number % 10)));
const packed = (recipe: { sft: { packing?: boolean | undefined } | null }) =>
  recipe.sft?.packing === true;
const saidOf = (recipe: { reasons: { choice: string; reason: string }[] }) =>
  recipe.reasons.filter(({ choice }) => choice === 'packing').map(({ reason }) => reason);

test('the longest of a batch is expected from all lengths', () => {
  expect(chatsOf(6, 6, 6).paddedBytes).toBeCloseTo(10);
  // Of two lengths, one in two: all 16 short once in 65,536 batches.
  expect(chatsOf(6, 16).paddedBytes).toBeCloseTo(20, 2);
  expect(unlike.paddedBytes).toBeGreaterThan(6 * unlike.meanBytes);
});

describe('where a model that exists is tuned', () => {
  test('unlike chats share rows, and as much time buys more steps of the same chats', () => {
    const inputs = { ...adaptedInputs, numChats: 5000, chats: unlike };
    const recipe = recipeSchema.parse(planRecipe(inputs));
    expect(packed(recipe)).toBe(true);
    expect(saidOf(recipe)).toEqual([
      expect.stringMatching(/^rows of their own would take \d+ % more arithmetic, for padding/),
    ]);
    const alone = planRecipe({ ...inputs, packing: false });
    expect(packed(alone)).toBe(false);
    expect(saidOf(alone)).toEqual([]);
    expect(recipe.sft!.batchSize).toBe(alone.sft!.batchSize);
    expect(recipe.sft!.numSteps).toBeGreaterThan(alone.sft!.numSteps);
    expect(recipe.dpo).toEqual(alone.dpo);
  });

  test('alike chats, and chats that were not counted, have rows of their own unless it is asked for', () => {
    const { paddedBytes: _, ...uncounted } = unlike;
    for (const chats of [alike, uncounted]) {
      expect(packed(planRecipe({ ...adaptedInputs, chats }))).toBe(false);
      const asked = planRecipe({ ...adaptedInputs, chats, packing: true });
      expect(packed(asked)).toBe(true);
      expect(saidOf(asked)).toHaveLength(1);
    }
  });

  test('as it is, by SFT alone, it is decided in the same way; an alignment alone has none', () => {
    const inputs = { ...adaptedInputs, chats: unlike };
    const tuned = planPhases(inputs, ['sft']);
    expect([packed(tuned), saidOf(tuned).length]).toEqual([true, 1]);
    const partly = planPhases(inputs, ['pretrain', 'sft', 'orpo']);
    expect([packed(partly), saidOf(partly).length]).toEqual([true, 1]);
    expect(saidOf(planPhases(inputs, ['orpo']))).toEqual([]);
    expect(saidOf(planPhases(inputs, ['pretrain', 'orpo']))).toEqual([]);
  });

  test('a shared row is no gain where it is so long that looking back takes more than padding', () => {
    const { shape } = adaptedInputs.base;
    const lengths = { meanTokens: 40, rowTokens: 52 };
    expect(packingOf(shape, 128, lengths).saved).toBeGreaterThan(0.15);
    expect(packingOf(shape, 2048, lengths).saved).toBeLessThan(0.05);
  });
});

test('a model from scratch keeps rows of their own, whatever its chats, unless it is asked for', () => {
  const inputs = { ...planInputs, chats: unlike };
  expect(planRecipe(inputs)).toEqual(planRecipe(planInputs));
  const asked = planRecipe({ ...inputs, packing: true });
  expect(asked.sft).toEqual({ ...planRecipe(inputs).sft!, packing: true });
  expect(saidOf(asked)).toEqual([expect.stringMatching(/^as the pipeline file asks/)]);
});
