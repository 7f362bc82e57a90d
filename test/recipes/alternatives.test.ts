/** Plans with one thing changed, and what is preferred where a shape is chosen. */
import { describe, expect, test } from 'vitest';
import { knownBases } from '../../config/base-models.ts';
import { planAlternatives, type Alternative } from '../../recipes/alternatives.ts';
import { planRecipe, type PlanInputs } from '../../recipes/plan.ts';
import { answerFlops, preferred } from '../../recipes/preference.ts';
import { ladder } from '../../recipes/shapes.ts';

const inputs: PlanInputs = {
  statistics: { numTokens: 20_000_000, bytes: 90_000_000 },
  goal: 'base',
  budgetMs: 20 * 60_000,
  machine: { device: 'cpu', cores: 2, memoryBytes: 24e9, instructionSet: 'avx512_bf16' },
  seed: 1789,
  vocabSize: 8192,
  numChats: 0,
  numPreferences: 0,
};

describe('two other plans', () => {
  const recipe = planRecipe(inputs);
  const [time, other] = planAlternatives(inputs, recipe) as [Alternative, Alternative];

  test('are what the planner plans when one thing is changed', () => {
    const longer = planRecipe({ ...inputs, budgetMs: 2 * inputs.budgetMs });
    expect(time).toMatchObject({ change: 'time', how: 'budget: { time: 40m }' });
    expect(time.figures.finalLoss).toBe(longer.estimate.finalLoss);
    const smaller = planRecipe({ ...inputs, prefer: 'size' });
    expect(other).toMatchObject({ change: 'prefer', how: 'prefer: size' });
    expect(other.figures.numParameters).toBe(smaller.numParameters);
  });

  test('say what they gain and what they cost', () => {
    expect(time.gain).toMatch(/^expected loss [\d.]+ % lower, training \d+ % longer/);
    expect(other.gain).toMatch(/^expected loss [\d.]+ % higher.*model \d+ % smaller/);
  });

  test('cost what an hour of the plan costs', () => {
    const priced = { ...recipe, estimate: { ...recipe.estimate, usd: 3 } };
    const [longer] = planAlternatives(inputs, priced);
    const { figures, gain } = longer!;
    const hours = figures.trainingMs / recipe.estimate.trainingMs;
    expect(figures.usd).toBeCloseTo(3 * hours, 1);
    expect(gain).toMatch(/\$\d\.\d\d dearer$/);
    expect(time.figures.usd).toBe(0);
    const asked = { time: inputs.budgetMs, usd: 20 };
    expect(planAlternatives(inputs, priced, asked)[0]!.how).toBe('budget: { usd: 40 }');
  });

  test('more time is not offered where nothing is left to read, but half of what it takes', () => {
    const statistics = { numTokens: 200_000, bytes: 800_000 };
    const little = { ...inputs, statistics, budgetMs: 86_400_000 };
    const { estimate } = planRecipe(little);
    const [first] = planAlternatives(little, planRecipe(little));
    expect(first).toMatchObject({ change: 'time', title: 'half of what it takes' });
    const seconds = Number(/time: (\d+)s/.exec(first!.how)![1]);
    expect(Math.abs(seconds - estimate.trainingMs / 2000)).toBeLessThan(1);
    expect(first!.gain).toMatch(/^expected loss [\d.]+ % higher, training \d\d % shorter/);
  });

  test('one that would change nothing is left out, and no budget is offered that a file may not have', () => {
    const statistics = { numTokens: 700, bytes: 2800 };
    for (const budgetMs of [10_000, 15_000, 86_400_000]) {
      const page = { ...inputs, statistics, vocabSize: 512, budgetMs };
      expect(planAlternatives(page, planRecipe(page))).toEqual([]);
    }
    const brief = { ...inputs, budgetMs: 15_000 };
    for (const { gain, how } of planAlternatives(brief, planRecipe(brief))) {
      expect(gain).not.toBe('about the same expected loss');
      expect(how).not.toMatch(/ms/);
    }
  });

  test('a model that exists keeps its size, so more machine is offered instead', () => {
    const { title, shape } = knownBases['smollm2']!;
    const adapting: PlanInputs = { ...inputs, goal: 'adapt', base: { title, shape } };
    const [, machine] = planAlternatives(adapting, planRecipe(adapting));
    expect(machine).toMatchObject({ change: 'machine', how: '4 cores' });
  });

  test('where size comes first, the lowest expected loss is offered', () => {
    const small: PlanInputs = { ...inputs, prefer: 'size' };
    const [, quality] = planAlternatives(small, planRecipe(small));
    expect(quality!.how).toBe('prefer: quality');
    expect(quality!.figures.finalLoss).toBeLessThan(planRecipe(small).estimate.finalLoss);
  });
});

describe('what is preferred', () => {
  test('latency takes less work for an answer within 5 % of the lowest loss, size within 10 %, each with its reason', () => {
    const quality = planRecipe(inputs);
    for (const [prefer, bound] of [
      ['latency', 1.05],
      ['size', 1.1],
    ] as const) {
      const recipe = planRecipe({ ...inputs, prefer });
      expect(answerFlops(recipe.model)).toBeLessThan(answerFlops(quality.model));
      const loss = recipe.estimate.finalLoss / quality.estimate.finalLoss;
      expect(loss).toBeGreaterThan(1);
      expect(loss).toBeLessThanOrEqual(bound + 0.001);
      const reason = recipe.reasons.find(({ choice }) => choice === 'preference');
      expect(reason?.value).toBe(prefer);
      expect(reason?.reason).toMatch(/\d+ % (smaller|less work)/);
    }
  });

  test('quality, or nothing said, takes the lowest expected loss and gives no further reason', () => {
    const asked = planRecipe({ ...inputs, prefer: 'quality' });
    expect(asked).toEqual(planRecipe(inputs));
    expect(asked.reasons.some(({ choice }) => choice === 'preference')).toBe(false);
  });

  test('a shape just beyond the tolerance is not taken', () => {
    const [small, large] = ladder(4096, 256)
      .slice(2, 4)
      .map((shape) => ({ shape, numParameters: 1 }));
    const at = (bpb: number) =>
      preferred(
        [
          { ...small!, bpb },
          { ...large!, bpb: 1 },
        ],
        'latency',
      ).shape;
    expect(at(1.0499)).toBe(small!.shape);
    expect(at(1.0501)).toBe(large!.shape);
  });
});
