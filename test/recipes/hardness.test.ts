import { describe, expect, test } from 'vitest';
import { hardnessOf, hardnessReason } from '../../recipes/hardness.ts';
import { expectedOfText, type ReadText } from '../../recipes/loss.ts';
import { planRecipe, type PlanInputs } from '../../recipes/plan.ts';
import { machine } from '../support/recipes.ts';
import measured from './measured-runs.json' with { type: 'json' };

const textOf = ({ numTokens, bytes, points }: (typeof measured)[number]): ReadText => ({
  numTokens,
  bytes,
  learningCurve: {
    order: 4,
    numHeldOut: 50_000,
    points: points.map(([learnt, bitsPerByte]) => ({
      numTokens: learnt!,
      bitsPerByte: bitsPerByte!,
    })),
  },
});
const named = (name: string) => measured.find((corpus) => corpus.name === name)!;

const inputs: PlanInputs = {
  statistics: { numTokens: 2_437_128, bytes: 10_600_000 },
  goal: 'assistant',
  budgetMs: 160_000,
  machine,
  seed: 1789,
  vocabSize: 4096,
  numChats: 5496,
  numPreferences: 5496,
};

describe('measured runs (docs/log.md)', () => {
  test.each(measured)('$name ended within 10 % of what is expected', (corpus) => {
    for (const [numParameters, trained, bitsPerByte] of corpus.runs) {
      const expected = expectedOfText(numParameters!, trained!, textOf(corpus));
      expect(Math.abs(expected / bitsPerByte! - 1)).toBeLessThan(0.1);
    }
  });

  test('not knowing the text, the law is off by up to a half', () => {
    const [numParameters, trained, bitsPerByte] = named('web pages').runs[0]!;
    const { numTokens, bytes } = named('web pages');
    const expected = expectedOfText(numParameters!, trained!, { numTokens, bytes });
    expect(bitsPerByte! / expected).toBeGreaterThan(1.4);
  });
});

describe('hardness', () => {
  const web = textOf(named('web pages'));
  test('is one for the addresses, and for a text of which nothing was measured', () => {
    for (const trained of [1e5, 1e6, 1e8]) {
      expect(hardnessOf(textOf(named('addresses')), trained)).toBeCloseTo(1, 1);
      expect(hardnessOf({ numTokens: 10, bytes: 40 }, trained)).toBe(1);
    }
  });

  test('of what repeats itself falls with what is read, to the end of what was measured', () => {
    const law = textOf(named('Chinese law'));
    const [early, late] = [hardnessOf(law, 5e5), hardnessOf(law, 3e6)];
    expect(late).toBeLessThan(0.95 * early);
    expect(hardnessOf(law, 1e9)).toBe(hardnessOf(law, 1e10));
  });

  test('of a page is that of its one point, against as many bytes of the addresses', () => {
    const points = [{ numTokens: 700, bitsPerByte: 3 }];
    const page = {
      numTokens: 700,
      bytes: 2500,
      learningCurve: { order: 4, numHeldOut: 90, points },
    };
    const hardness = hardnessOf(page, 10_000);
    expect(hardness).toBe(hardnessOf(page, 1e6));
    // Fewer bytes than the addresses were measured with: as hard as the line through their first points says.
    expect(hardness).toBeGreaterThan(1);
    expect(hardness).toBeLessThan(3 / 2.1);
  });

  test('of a text that costs next to nothing, or whose last points are one, is a figure above 0', () => {
    const of = (points: [numTokens: number, bitsPerByte: number][]) => ({
      numTokens: 100_000,
      bytes: 800_000,
      learningCurve: {
        order: 4,
        numHeldOut: 4000,
        points: points.map(([numTokens, bitsPerByte]) => ({ numTokens, bitsPerByte })),
      },
    });
    const { estimate } = planRecipe({ ...inputs, statistics: of([[98_304, 0.0001]]) });
    expect(Math.min(estimate.valBpbLow, estimate.finalLoss)).toBeGreaterThan(0);
    const [first, last] = [of([[3277, 2]]), of([[3277, 1.9]])].map((text) => hardnessOf(text, 1e6));
    const both = hardnessOf(
      of([
        [3277, 2],
        [3277, 1.9],
      ]),
      1e6,
    );
    expect([first, last]).toContain(both);
  });

  test('is told with the loss that is expected, and with what it was measured by', () => {
    expect(hardnessReason(web, 1e6, 2.4)).toMatchObject({
      choice: 'text',
      value: expect.stringMatching(/^5\d % harder$/) as string,
      reason: expect.stringMatching(
        /^expected 2\.40 bits a byte: as much harder than the addresses .* n-gram model of 4 tokens, which ends at 2\.36 bits/,
      ) as string,
    });
    expect(hardnessReason({ numTokens: 10, bytes: 40 }, 1e6, 2.4).value).toBe('not measured yet');
  });
});

test('how hard a text is changes what is expected, and nothing of how the addresses are trained', () => {
  const { learningCurve } = textOf(named('addresses'));
  const before = planRecipe(inputs);
  const now = planRecipe({ ...inputs, statistics: { ...inputs.statistics, learningCurve } });
  for (const part of ['model', 'pretrain', 'sft', 'dpo'] as const)
    expect(now[part]).toEqual(before[part]);
  expect(Math.abs(now.estimate.valBpbLow / before.estimate.valBpbLow - 1)).toBeLessThan(0.03);
});
