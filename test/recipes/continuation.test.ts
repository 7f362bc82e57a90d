import { expect, test } from 'vitest';
import { recipeSchema } from '../../config/recipe.ts';
import { planRecipe, replanRecipe, type PlanInputs } from '../../recipes/plan.ts';
import { ladder } from '../../recipes/shapes.ts';
import { planInputs } from '../support/recipes.ts';

const inputs: PlanInputs = { ...planInputs, budgetMs: 600_000 };
const shape = ladder(512, 256)[0]!;
const parent = { name: 'policy', version: 3, shape, numTokens: 400_000 };

test('the size is the parent’s, whatever the budget would have chosen, or refused', () => {
  const first = planRecipe(inputs);
  expect(first.model.hiddenSize).toBeGreaterThan(shape.hiddenSize);
  for (const budgetMs of [20_000, 600_000, 36_000_000]) {
    expect(planRecipe({ ...inputs, budgetMs, parent }).model).toEqual(shape);
  }
  const tooLarge = { ...inputs, machine: { ...inputs.machine, memoryBytes: 1e6 }, parent };
  expect(() => planRecipe(tooLarge)).toThrow(/^pretraining policy@3 needs [\d.]+ GB/);
});

test('the rate rises again to 0.3 of the first peak, over 5 % of the steps', () => {
  const first = planRecipe(inputs).pretrain;
  const pretrain = recipeSchema.parse(planRecipe({ ...inputs, parent })).pretrain!;
  expect(pretrain.learningRate).toBeCloseTo(0.3 * first.learningRate);
  expect(pretrain.adamLearningRate).toBeCloseTo(0.3 * first.adamLearningRate);
  expect(pretrain.warmupSteps).toBe(Math.ceil(0.05 * pretrain.numSteps));
  expect(pretrain.warmupSteps + pretrain.decaySteps).toBeLessThanOrEqual(pretrain.numSteps);
});

test('the tokens that the parent has seen count in the expected loss', () => {
  const expected = (numTokens: number) =>
    planRecipe({ ...inputs, parent: { ...parent, numTokens } }).estimate.valBpbHigh;
  expect(expected(4_000_000)).toBeLessThan(expected(0));
});

test('each rule stands among the reasons, and none of a first choice of size', () => {
  const { reasons } = planRecipe({ ...inputs, parent });
  const reasonOf = Object.fromEntries(
    reasons.map(({ choice, value, reason }) => [choice, `${value}: ${reason}`]),
  );
  expect(reasonOf['size']).toContain('that of policy@3');
  expect(reasonOf['vocabulary']).toContain('the tokenizer of policy@3');
  expect(reasonOf['re-warming']).toContain('peak rate 0.3 of the first, 5 % warm-up');
  expect(reasonOf['replay']).toContain('the older documents in it are trained on again');
  expect(JSON.stringify(reasons)).not.toContain('lowest expected loss');
});

test('another round keeps the parent’s size, and trains longer at a lower rate', () => {
  const first = planRecipe({ ...inputs, parent });
  const next = replanRecipe({ ...inputs, parent }, first, [{ metric: 'valBpb', value: 2 }]);
  expect(next.model).toEqual(shape);
  expect(next.pretrain.learningRate).toBeLessThan(first.pretrain.learningRate);
});
