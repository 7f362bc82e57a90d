/** The plan of goal embeddings: a ModernBERT on hidden words, within the budget, with a reason for each choice. */
import { describe, expect, test } from 'vitest';
import { recipeSchema, type MaskedShape } from '../../config/recipe.ts';
import { planAlternatives } from '../../recipes/alternatives.ts';
import { maskedFlopsPerToken, maskedLadder } from '../../recipes/masked-shapes.ts';
import { planPhases, replanPhases } from '../../recipes/phases.ts';
import { type PlanInputs } from '../../recipes/plan.ts';
import { pretrainingStepMs } from '../../recipes/pretraining.ts';
import { countParameters } from '../../recipes/shapes.ts';
import { planInputs } from '../support/recipes.ts';

const inputs: PlanInputs = {
  ...planInputs,
  goal: 'embeddings',
  statistics: { numTokens: 2_400_000, bytes: 10_000_000 },
  budgetMs: 600_000,
  vocabSize: 4096,
};

test('a ModernBERT has as many parameters as transformers counts', () => {
  const [, second, , fourth] = maskedLadder(4096, 512);
  expect([countParameters(second!), countParameters(fourth!)]).toEqual([1_103_362, 5_022_210]);
});

test('words that are not hidden cost no head', () => {
  const shape = maskedLadder(4096, 512)[1]!;
  const wider = { ...shape, vocabSize: shape.vocabSize + 1000 };
  const more = maskedFlopsPerToken(wider) - maskedFlopsPerToken(shape);
  expect(more).toBeCloseTo(6 * 0.3 * 1000 * (shape.hiddenSize + 1), 3);
});

describe('the plan of goal embeddings', () => {
  const recipe = planPhases(inputs);
  const { pretrain, model, estimate } = recipe;

  test('pretrains a ModernBERT on hidden words, and nothing else', () => {
    expect(recipeSchema.parse(recipe)).toEqual(recipe);
    expect([recipe.sft, recipe.dpo, recipe.orpo]).toEqual([null, null, undefined]);
    expect(model).toMatchObject({ family: 'modernbert', vocabSize: 4098, globalEvery: 3 });
    expect(pretrain).toMatchObject({
      mask: { rate: 0.3, replaced: 0.8, redrawn: 0.1 },
      batchSize: 8,
      contextLength: 512,
    });
    expect(recipe.numParameters).toBe(countParameters(model));
  });

  test('keeps its budget, and takes all of it', () => {
    const stepMs = pretrainingStepMs(inputs.machine, model, pretrain!);
    expect(estimate.trainingMs).toBeLessThanOrEqual(inputs.budgetMs * 1.01);
    expect(estimate.trainingMs + 2 * stepMs).toBeGreaterThan(inputs.budgetMs);
    expect(estimate.finalLoss).toBeLessThan(Math.log(4098));
    expect(estimate.valBpbLow).toBeLessThan(estimate.valBpbHigh);
  });

  test('gives a reason and a source for each choice', () => {
    const choices = recipe.reasons.map(({ choice }) => choice);
    for (const choice of ['architecture', 'size', 'attention', 'hidden words', 'rows', 'tokens']) {
      expect(choices).toContain(choice);
    }
    const hidden = recipe.reasons.find(({ choice }) => choice === 'hidden words')!;
    expect(hidden).toMatchObject({ value: '30 %' });
    expect(hidden.source).toContain('2202.08005');
    for (const { reason, source } of recipe.reasons) expect(reason && source).not.toBe('');
  });

  test('grows with the budget, and is the same for the same inputs', () => {
    const longer = planPhases({ ...inputs, budgetMs: 100 * inputs.budgetMs });
    expect(longer.numParameters).toBeGreaterThan(recipe.numParameters);
    expect(longer.estimate.finalLoss).toBeLessThan(estimate.finalLoss);
    expect(planPhases(inputs)).toEqual(recipe);
  });

  test('reads a text at most forty times, each time with other words hidden', () => {
    const statistics = { numTokens: 20_000, bytes: 80_000 };
    const { pretrain: few } = planPhases({ ...inputs, statistics });
    const numTokens = few!.numSteps * few!.batchSize * few!.contextLength;
    expect(numTokens / statistics.numTokens).toBeLessThanOrEqual(40);
  });

  test('reads shorter rows where there is little text', () => {
    const statistics = { numTokens: 1000, bytes: 4000 };
    expect(planPhases({ ...inputs, statistics }).pretrain).toMatchObject({
      batchSize: 32,
      contextLength: 128,
    });
  });

  test('trains longer at a lower rate where a gate was missed', () => {
    const missed = [{ metric: 'masked.accuracy' as const, value: 0.01 }];
    const again = replanPhases(inputs, undefined, { previous: recipe, missed });
    expect(again.round).toBe(1);
    expect(again.pretrain!.learningRate).toBeLessThan(pretrain!.learningRate);
    expect(again.estimate.trainingMs).toBeGreaterThan(1.3 * estimate.trainingMs);
  });

  test('searches for its rate, and ends early, as a causal one', () => {
    const sweep = { learningRate: [0.5, 1], halving: 2, heldOutTokens: 50_000 };
    const searched = planPhases({ ...inputs, sweep, stopOnPlateau: true });
    expect(searched.sweep).toBeDefined();
    expect(searched.pretrain!.plateau).toBeDefined();
    expect(searched.model.family).toBe('modernbert');
  });

  test('says what another plan would gain in the words of texts', () => {
    const told = planAlternatives(inputs, recipe, undefined, (asked) => planPhases(asked));
    const [first, second] = told.map(({ gain }) => gain);
    expect(first).toMatch(/expected loss/);
    expect(second).not.toMatch(/answer/);
  });

  test('computes its batches in parts where the machine has little memory', () => {
    const machine = { ...inputs.machine, memoryBytes: 2.6e9 };
    const small = planPhases({ ...inputs, machine });
    const shape = small.model as MaskedShape;
    expect(shape.family).toBe('modernbert');
    expect(small.pretrain!.microBatchSize ?? 8).toBeLessThanOrEqual(8);
  });
});
