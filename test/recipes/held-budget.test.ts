import { expect, test } from 'vitest';
import { pipelineSchema } from '../../config/pipeline.ts';
import { recipeSchema } from '../../config/recipe.ts';
import { holding, plannedTimeMs } from '../../recipes/held-budget.ts';
import { totalMs } from '../../recipes/phase-time.ts';
import { planRecipe } from '../../recipes/plan.ts';
import { trainerStartMs } from '../../recipes/speed.ts';
import { planInputs, recipe } from '../support/recipes.ts';

function budget(value: object) {
  const sources = [{ path: './docs', license: 'internal' }];
  return pipelineSchema.parse({ version: 1, name: 'policy', data: { sources }, budget: value })
    .budget;
}
const hour = 3_600_000;

test('a budget of time alone is planned for whole, and changes nothing of the recipe', () => {
  expect(plannedTimeMs(budget({ time: '1h' }))).toBe(hour);
  expect(holding(recipe, budget({ time: '1h' }))).toBe(recipe);
});

test.each<[string, object, object]>([
  ['dollars', { usd: 5, usdPerHour: 2.5 }, { timeMs: null, usd: 5, usdPerHour: 2.5 }],
  [
    'dollars and less time',
    { time: '1h', usd: 5, usdPerHour: 2.5 },
    { timeMs: hour, usd: 5, whenSpent: 'finish' },
  ],
  [
    'time, where the file says so',
    { time: '1h', whenSpent: 'wait' },
    { usd: null, whenSpent: 'wait' },
  ],
])('%s are held, and planned for with room', (_, value, expected) => {
  const held = holding(recipe, budget(value));
  expect(held.held).toMatchObject(expected);
  expect(recipeSchema.parse(held)).toEqual(held);
  const whole = Math.min(budget(value).time, 2 * hour);
  expect(plannedTimeMs(budget(value))).toBe(Math.round(0.85 * whole));
});

test('each phase has its share of what is left: the last one all of it', () => {
  const { shares } = holding(recipe, budget({ time: '1h', whenSpent: 'finish' })).held!;
  const [pretrain, sft, dpo] = recipe.estimate.time!.map((time) => totalMs([time]));
  expect(shares.pretrain).toBeCloseTo(pretrain! / (pretrain! + sft! + dpo!), 3);
  expect(shares.sft).toBeCloseTo(sft! / (sft! + dpo!), 3);
  expect(shares.dpo).toBe(1);
  const base = holding(
    planRecipe({ ...planInputs, goal: 'base' }),
    budget({ usd: 5, usdPerHour: 2.5 }),
  );
  expect(base.held?.shares.pretrain).toBe(1);
});

test('a phase of few tokens is left the time to start its trainer', () => {
  const { time, ...estimate } = recipe.estimate;
  const steps = { pretrain: 40_000, sft: 900, dpo: 100, orpo: 0 };
  const short = time!.map((part) => ({ ...part, stepsMs: steps[part.phase] }));
  const trainingMs = totalMs(short);
  const { shares } = holding(
    { ...recipe, estimate: { ...estimate, trainingMs, time: short } },
    budget({ time: '1m', whenSpent: 'finish' }),
  ).held!;
  const afterPretrain = trainingMs * (1 - shares.pretrain);
  expect(afterPretrain).toBeGreaterThanOrEqual(2 * trainerStartMs - 10);
  expect(afterPretrain * (1 - shares.sft)).toBeGreaterThanOrEqual(trainerStartMs - 10);
});

test('held-out text is measured where a checkpoint is saved, so that checkpoints can be told apart', () => {
  const { pretrain } = recipe;
  const uneven = { ...recipe, pretrain: { ...pretrain, saveEverySteps: 7, evalEverySteps: 10 } };
  const held = holding(uneven, budget({ time: '1h', whenSpent: 'finish' }));
  expect(held.pretrain!.evalEverySteps).toBe(14);
});

test('the planned time has its price, held or not', () => {
  const { trainingMs } = recipe.estimate;
  const { usd } = holding(recipe, budget({ time: '1h', usdPerHour: 3600 })).estimate;
  expect(usd).toBeCloseTo(trainingMs / 1000, 2);
});
