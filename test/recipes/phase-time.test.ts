/** What a plan of a model that exists foresees beside its steps, and that all of it fits the budget. */
import { describe, expect, test } from 'vitest';
import { recipeSchema, type Phase, type PhaseTime, type Recipe } from '../../config/recipe.ts';
import { estimatedStepMs } from '../../recipes/measured.ts';
import { evaluationMs, numEvaluations, totalMs } from '../../recipes/phase-time.ts';
import { planPhases } from '../../recipes/phases.ts';
import { planRecipe, type PlanInputs } from '../../recipes/plan.ts';
import { adaptedInputs, parentOf, planInputs } from '../support/recipes.ts';

const adapting: PlanInputs = {
  ...adaptedInputs,
  goal: 'adapt',
  statistics: { numTokens: 46_700, bytes: 240_000 },
  heldOutTokens: 11_700,
};
const scored = { contextLength: 512, heldOutTokens: 11_700 };
const { machine, base } = adaptedInputs;

describe('an adaptation', () => {
  test.each([60_000, 75_000, 130_000, 360_000, 3_600_000])(
    'of a budget of %d ms keeps it, with every start, score and byte that it counts',
    (budgetMs) => {
      for (const heldOutTokens of [0, 3000, 11_700]) {
        for (const stopOnPlateau of [false, true]) {
          const recipe = planRecipe({ ...adapting, budgetMs, heldOutTokens, stopOnPlateau });
          const { estimate, pretrain } = recipeSchema.parse(recipe);
          const [time] = estimate.time!;
          expect(estimate.trainingMs).toBe(totalMs(estimate.time!));
          if (pretrain!.numSteps > 1) expect(estimate.trainingMs).toBeLessThanOrEqual(budgetMs + 2);
          const once = evaluationMs(machine, base.shape, { contextLength: 512, heldOutTokens });
          expect(time!.scoringMs).toBeCloseTo(numEvaluations(pretrain!) * once, -1);
          expect(time!.modelMs).toBeGreaterThan(10_000);
        }
      }
    },
  );

  test('takes the time that one of 11 steps took: 118.6 s, of which 26.9 scored and 23.3 wrote', () => {
    // As it was measured (docs/log.md): a step of 4.81 s, the held-out text three times.
    const recipe = planRecipe({ ...adapting, budgetMs: 121_000 });
    const pace = 4807 / estimatedStepMs(recipe);
    const { startMs, modelMs } = recipe.estimate.time![0]!;
    const scoringMs = 3 * evaluationMs(machine, base.shape, scored) * pace;
    expect(scoringMs / 26_900).toBeGreaterThan(0.85);
    expect(scoringMs / 26_900).toBeLessThan(1.25);
    const taken = startMs + 11 * 4807 + scoringMs + modelMs;
    expect(Math.abs(taken / 118_600 - 1)).toBeLessThan(0.1);
  });

  test('scores on the way only where that takes a small part of the time', () => {
    const brief = planRecipe({ ...adapting, budgetMs: 130_000 });
    expect(numEvaluations(brief.pretrain)).toBe(2);
    const long = planRecipe({ ...adapting, budgetMs: 360_000 });
    expect(numEvaluations(long.pretrain)).toBe(3);
    expect(numEvaluations({ ...long.pretrain, lora: undefined })).toBe(2);
  });

  test('on a machine that was timed scores faster too, and writes as fast as before', () => {
    const [slow, fast] = [1, 0.5].map(
      (pace) => planRecipe({ ...adapting, pace, budgetMs: 130_000 }).estimate.time![0]!,
    );
    // Twice at the end, and once on the way where that has become cheap.
    expect(fast!.scoringMs).toBeCloseTo((slow!.scoringMs * 3) / 4, -1);
    expect(fast!.modelMs).toBe(slow!.modelMs);
    expect(fast!.startMs).toBe(slow!.startMs);
  });

  test('of which the budget affords a few steps only says so', () => {
    const { pretrain, reasons } = planRecipe({ ...adapting, budgetMs: 75_000 });
    expect(pretrain.numSteps).toBeLessThan(10);
    expect(reasonOf({ reasons }, 'tokens')).toMatch(/ \d steps hardly teach, so give it more$/);
  });
});

test('a kill costs what comes after the last step too, where that is longer than the steps between saves', () => {
  const { estimate, pretrain } = planRecipe({ ...adapting, budgetMs: 130_000 });
  const [{ startMs, stepsMs, scoringMs, modelMs }] = estimate.time as [PhaseTime];
  expect(scoringMs + modelMs).toBeGreaterThan(
    (stepsMs / pretrain.numSteps) * pretrain.saveEverySteps,
  );
  expect(Math.abs(estimate.lostIfKilledMs - (startMs + scoringMs + modelMs))).toBeLessThan(3);
});

test('phases that are tuned count the weights that each of them reads and writes', () => {
  const all: Phase[][] = [['sft'], ['sft', 'dpo'], ['orpo'], ['pretrain', 'sft', 'orpo']];
  for (const phases of all) {
    const { estimate } = planPhases(adaptedInputs, phases);
    expect(estimate.time!.map(({ phase }) => phase)).toEqual(phases);
    for (const { startMs, modelMs } of estimate.time!) {
      expect(startMs).toBeGreaterThan(7000);
      expect(modelMs).toBeGreaterThan(20_000);
    }
    expect(Math.abs(totalMs(estimate.time!) / estimate.trainingMs - 1)).toBeLessThan(0.001);
  }
  // All weights of a small model: so few bytes that they take a moment.
  const { base: _, ...rest } = adaptedInputs;
  const whole = planPhases({ ...rest, parent: parentOf('policy', 3) }, ['sft']);
  expect(whole.estimate.time![0]!.modelMs).toBeLessThan(1000);
});

test.each<[string, Recipe]>([
  ['from scratch', planRecipe({ ...planInputs, budgetMs: 160_000 })],
  ['of hidden words', planPhases({ ...planInputs, goal: 'embeddings' })],
  ['of a base', planRecipe(adapting)],
  ['of a base that is tuned', planRecipe(adaptedInputs)],
  ['of a base that is tuned by ORPO', planPhases(adaptedInputs, ['pretrain', 'sft', 'orpo'])],
  ['of a base that is tuned as it is', planPhases(adaptedInputs, ['sft', 'dpo'])],
])('a plan %s gives one price of a kill, in its figures and in its reason', (_, recipe) => {
  const told = / (\d+) s at most$/.exec(reasonOf(recipe, 'checkpoints'))!;
  expect(Number(told[1])).toBe(Math.round(recipe.estimate.lostIfKilledMs / 1000));
});

function reasonOf({ reasons }: Pick<Recipe, 'reasons'>, choice: string): string {
  return reasons.find((reason) => reason.choice === choice)!.reason;
}
