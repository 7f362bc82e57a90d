import { describe, expect, test } from 'vitest';
import { recipeSchema, type Machine } from '../../config/recipe.ts';
import { planAlternatives } from '../../recipes/alternatives.ts';
import { planRecipe, replanRecipe, type PlanInputs } from '../../recipes/plan.ts';
import { trainerStartMs } from '../../recipes/speed.ts';
import { rungSizes, SweepDoesNotFit } from '../../recipes/sweep.ts';

const machine: Machine = {
  device: 'cpu',
  cores: 2,
  memoryBytes: 24e9,
  instructionSet: 'avx512_bf16',
};
const four = { learningRate: [0.5, 1, 2, 4], halving: 2, heldOutTokens: 48_000 };
const inputs: PlanInputs = {
  statistics: { numTokens: 2_437_128, bytes: 10_600_000 },
  goal: 'base',
  budgetMs: 600_000,
  machine,
  seed: 1789,
  vocabSize: 4096,
  numChats: 5496,
  numPreferences: 5496,
  sweep: four,
};
const { sweep: _, ...plain } = inputs;

describe('a plan that tries several rates', () => {
  test('has each as a multiple of the planned one, AdamW’s along with it', () => {
    const { pretrain, sweep } = planRecipe(inputs);
    expect(sweep!.trials).toEqual(
      four.learningRate.map((multiple) => ({
        multiple,
        learningRate: pretrain.learningRate * multiple,
        adamLearningRate: pretrain.adamLearningRate * multiple,
      })),
    );
    expect(recipeSchema.parse(planRecipe(inputs))).toEqual(planRecipe(inputs));
  });

  test.each([120_000, 300_000, 600_000, 3_600_000])(
    'of %d ms, every rung ends past the warm-up and before the rate falls, and all of it is within the budget',
    (budgetMs) => {
      for (const goal of ['base', 'assistant'] as const) {
        const { pretrain, sweep, estimate } = planRecipe({ ...inputs, goal, budgetMs });
        const [first, second] = sweep!.rungs.map(({ step }) => step) as [number, number];
        expect(sweep!.rungs.map(({ goOn }) => goOn)).toEqual([2, 1]);
        expect(first).toBeGreaterThan(pretrain.warmupSteps);
        expect(second).toBe(2 * first);
        expect(second).toBeLessThanOrEqual(pretrain.numSteps - pretrain.decaySteps);
        expect(estimate.trainingMs).toBeLessThanOrEqual(budgetMs);
      }
    },
  );

  test('counts what the others train, and the start and the scoring of each trial', () => {
    const { pretrain, sweep, estimate } = planRecipe(inputs);
    const stepMs = (estimate.lostIfKilledMs - trainerStartMs) / pretrain.saveEverySteps;
    const { step } = sweep!.rungs[0]!;
    // Four trials to the first rung, two of them to the second, whose steps one goes on from.
    const searchMs = (4 * step + 2 * step - 2 * step) * stepMs + 6 * trainerStartMs;
    const trainMs = trainerStartMs + pretrain.numSteps * stepMs;
    expect(estimate.trainingMs).toBeGreaterThan(trainMs + searchMs);
    expect(estimate.trainingMs).toBeLessThan((trainMs + searchMs) * 1.03);
  });

  test('says why and by which rule, with the share of the budget', () => {
    const { reasons } = planRecipe(inputs);
    const reason = reasons.find(({ choice }) => choice === 'sweep')!;
    expect(reason.value).toMatch(/^×0\.5, ×1, ×2, ×4 of the rate, compared after \d+, \d+ steps$/);
    expect(reason.reason).toMatch(/2\d % of the budget/);
    expect(reason.source).toContain('Jamieson & Talwalkar 2016');
  });

  test('adapters are searched for too', () => {
    const shape = planRecipe(plain).model;
    const base = { title: 'a base', shape };
    const adapted = { ...inputs, goal: 'adapt' as const, base, budgetMs: 1_200_000 };
    const { pretrain, sweep } = planRecipe(adapted);
    expect(pretrain.lora).toBeDefined();
    expect(sweep!.rungs.at(-1)!.step).toBeLessThanOrEqual(pretrain.numSteps - pretrain.decaySteps);
  });

  test('where it is not asked for, the recipe has no trace of it', () => {
    expect(planRecipe(plain)).not.toHaveProperty('sweep');
  });

  test('a missed base gate searches again, a missed tuning gate keeps what was searched', () => {
    const asked = { ...inputs, goal: 'assistant' as const };
    const first = planRecipe(asked);
    const longer = replanRecipe(asked, first, [{ metric: 'valBpb', value: 2 }]);
    expect(longer.sweep!.trials[1]!.learningRate).toBe(longer.pretrain.learningRate);
    expect(longer.pretrain.learningRate).toBeLessThan(first.pretrain.learningRate);
    const tuned = replanRecipe(asked, first, [{ metric: 'questions.accuracy', value: 0.1 }]);
    expect(tuned.sweep).toEqual(first.sweep);
    expect(tuned.pretrain).toEqual(first.pretrain);
  });
});

test('alternatives are told also where the search would not fit into them', () => {
  const close = { ...inputs, budgetMs: 120_000 };
  expect(() => planRecipe({ ...close, budgetMs: 60_000 })).toThrow(SweepDoesNotFit);
  expect(planAlternatives(close, planRecipe(close))).toHaveLength(2);
});

describe('a search that does not fit', () => {
  const planOf = (budgetMs: number, learningRate: number[], halving = 2) =>
    planRecipe({ ...inputs, budgetMs, sweep: { ...four, learningRate, halving } });
  const rates = (count: number) => Array.from({ length: count }, (_rate, at) => (at + 1) / 4);

  test('is refused with how short its rungs would be and the budget that suffices', () => {
    const refused = (() => {
      try {
        return planOf(60_000, rates(8));
      } catch (error) {
        return error as Error;
      }
    })();
    expect(refused).toBeInstanceOf(SweepDoesNotFit);
    const message = (refused as Error).message;
    expect(message).toMatch(
      /^sweep: found 8 learning rates for a budget of 60s, 50 % of which affords a first rung of \d+ steps, expected at least \d+/,
    );
    const [, amount, unit] = /budget\.time: (\d+)(s|m)/.exec(message)!;
    const enough = Number(amount) * (unit === 's' ? 1000 : 60_000);
    expect(planOf(enough, rates(8)).sweep!.trials).toHaveLength(8);
  });

  test('fits with more halving, which leaves fewer rungs', () => {
    expect(() => planOf(240_000, rates(8), 2)).toThrow(SweepDoesNotFit);
    expect(planOf(240_000, rates(8), 8).sweep!.rungs).toHaveLength(1);
  });
});

test('of n trials one in so many goes on, until one is left', () => {
  expect(rungSizes(2, 2)).toEqual([2]);
  expect(rungSizes(4, 2)).toEqual([4, 2]);
  expect(rungSizes(5, 2)).toEqual([5, 2]);
  expect(rungSizes(32, 2)).toEqual([32, 16, 8, 4, 2]);
  expect(rungSizes(9, 3)).toEqual([9, 3]);
  expect(rungSizes(3, 8)).toEqual([3]);
});
