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

test('older documents come at the share that is asked for, and neither kind more than 16 times', () => {
  const replay = { share: 0.25, numTokens: { unread: 30_000, older: 170_000 } };
  const read = { ...inputs, budgetMs: 36_000_000, parent };
  const { pretrain, reasons } = recipeSchema.parse(planRecipe({ ...read, replay }));
  expect(pretrain!.replay).toEqual({ share: 0.25 });
  const tokensOf = ({ numSteps, batchSize, contextLength }: NonNullable<typeof pretrain>) =>
    numSteps * batchSize * contextLength;
  expect(tokensOf(pretrain!)).toBeLessThanOrEqual((16 * 30_000) / 0.75);
  expect(tokensOf(pretrain!)).toBeGreaterThan((15.5 * 30_000) / 0.75);
  const much = { ...replay, share: 0.9, numTokens: { unread: 100_000, older: 100_000 } };
  const older = planRecipe({ ...read, replay: much }).pretrain;
  expect(tokensOf(older)).toBeLessThanOrEqual((16 * 100_000) / 0.9);
  const reason = reasons.find(({ choice }) => choice === 'replay')!;
  expect(reason.value).toBe('25 % of the windows');
  expect(reason.reason).toContain('30K tokens are new, 170K older');
  // Before they are parted it is planned as if all were one.
  const unparted = planRecipe({ ...read, replay: { share: 0.25, numTokens: null } });
  expect(unparted.pretrain.numSteps).toBe(planRecipe(read).pretrain.numSteps);
  expect(planRecipe(read).pretrain).not.toHaveProperty('replay');
});

test('a version that was adapted replays beside the text of its own that it rehearses', () => {
  const adapted = { ...parent, adapted: true as const };
  const replay = { share: 0.5, numTokens: { unread: 10_000, older: 90_000 } };
  const { pretrain, reasons } = planRecipe({ ...inputs, goal: 'adapt', parent: adapted, replay });
  expect(pretrain).toMatchObject({ replay: { share: 0.5 }, rehearsal: {}, lora: {} });
  expect(reasons.map(({ choice }) => choice)).toEqual(
    expect.arrayContaining(['rehearsal', 'replay']),
  );
});
