/** A plan at a size and on as much text as was fixed beforehand. */
import { describe, expect, test } from 'vitest';
import { recipeSchema } from '../../config/recipe.ts';
import { shapeWithin } from '../../recipes/limits.ts';
import { planRecipe, type PlanInputs } from '../../recipes/plan.ts';
import { countParameters } from '../../recipes/shapes.ts';

const inputs: PlanInputs = {
  statistics: { numTokens: 1_003_854, bytes: 1_003_854 },
  goal: 'base',
  budgetMs: 72_000,
  machine: { device: 'cpu', cores: 2, memoryBytes: 24e9, instructionSet: 'avx512_bf16' },
  seed: 1789,
  vocabSize: 69,
  numChats: 0,
  numPreferences: 0,
  limits: { numParameters: 800_000, numTokens: 1_536_000, contextLength: 64 },
};

describe('a plan within limits', () => {
  const recipe = recipeSchema.parse(planRecipe(inputs));
  const pretrain = recipe.pretrain!;

  test('is as large, trains on as much and sees as far as allowed, and not more', () => {
    const numTokens = pretrain.numSteps * pretrain.batchSize * pretrain.contextLength;
    expect(pretrain.contextLength).toBe(64);
    expect(numTokens).toBeLessThanOrEqual(1_536_000);
    expect(numTokens).toBeGreaterThan(1_500_000);
    expect(recipe.numParameters).toBeLessThanOrEqual(800_000);
    expect(recipe.numParameters).toBeGreaterThan(760_000);
  });

  test('takes the rate of the matrices by the square root of the batch, which a usual batch leaves as it is', () => {
    expect(pretrain.batchSize * pretrain.contextLength).toBe(1024);
    expect(pretrain).toMatchObject({ learningRate: 0.01, adamLearningRate: 0.006 });
    const wider = planRecipe({ ...inputs, limits: { ...inputs.limits, contextLength: 256 } });
    expect(wider.pretrain).toMatchObject({ learningRate: 0.02, adamLearningRate: 0.006 });
    const reasonOf = ({ reasons }: typeof recipe) =>
      reasons.find(({ choice }) => choice === 'optimizer')!.reason;
    expect(reasonOf(recipe)).toContain('square root of the batch');
    expect(reasonOf(wider)).not.toContain('square root');
  });

  test('is the shape whose loss was measured', () => {
    expect(recipe.model).toMatchObject({
      hiddenSize: 128,
      numLayers: 4,
      numHeads: 4,
      intermediateSize: 336,
    });
  });

  test('says what was fixed', () => {
    expect(recipe.reasons[0]).toMatchObject({ choice: 'limits' });
    expect(recipe.reasons[0]!.value).toBe('800000 parameters, 1536000 tokens, windows of 64');
  });

  test('without any is the same plan as before', () => {
    const { limits: _, ...free } = inputs;
    expect(planRecipe({ ...free, limits: {} }).pretrain).toEqual(planRecipe(free).pretrain);
    expect(planRecipe(free).reasons.map(({ choice }) => choice)).not.toContain('limits');
  });
});

describe('the shape within a number of parameters', () => {
  test.each([100_000, 800_000, 5_000_000, 30_000_000, 1_000_000_000])(
    'comes within a tenth of %d, in usual proportions',
    (wanted) => {
      const shape = shapeWithin(wanted, 69, 256);
      const found = countParameters(shape);
      expect(found).toBeLessThanOrEqual(wanted);
      expect(found).toBeGreaterThan(0.9 * wanted);
      expect(shape.hiddenSize % (16 * shape.numHeads)).toBe(0);
      expect(shape.intermediateSize / shape.hiddenSize).toBeGreaterThan(1.5);
      expect(shape.intermediateSize / shape.hiddenSize).toBeLessThan(4.5);
    },
  );

  test('is refused where not even the embedding fits', () => {
    expect(() => shapeWithin(10_000, 4096, 256)).toThrow('expected more for a vocabulary of 4096');
  });
});
