/** Why so many tokens are read and no more, and how often little text is read. */
import { describe, expect, test } from 'vitest';
import { mostEpochs } from '../../recipes/pretraining.ts';
import { planPhases } from '../../recipes/phases.ts';
import { planRecipe, type PlanInputs } from '../../recipes/plan.ts';
import { adaptedInputs, planInputs } from '../support/recipes.ts';

const inputs: PlanInputs = { ...planInputs, goal: 'base', vocabSize: 1024 };
const text = (numTokens: number) => ({ numTokens, bytes: 4 * numTokens });
const tokensOf = (asked: PlanInputs) =>
  planPhases(asked).reasons.find(({ choice }) => choice === 'tokens')!;

describe('the reason for the tokens names what bound them', () => {
  test.each<[string, PlanInputs, RegExp]>([
    ['the budget', { ...inputs, statistics: text(5e6) }, /^what the budget affords; up to 16/],
    [
      'the epochs',
      { ...inputs, statistics: text(400_000), budgetMs: 3_600_000 },
      /^no text is read more than (8|16) times, though the budget affords more: /,
    ],
    [
      'the epochs of an adaptation',
      { ...adaptedInputs, goal: 'adapt', statistics: text(20_000) },
      /^no text is read more than 3 times, though/,
    ],
    [
      'the epochs of hidden words',
      { ...inputs, goal: 'embeddings', statistics: text(60_000), budgetMs: 3_600_000 },
      /^no text is read more than 40 times, though/,
    ],
    ['a fixed number', { ...inputs, limits: { numTokens: 200_000 } }, /^as many as were fixed; /],
    ['a page', { ...inputs, statistics: text(700) }, /^the fewest steps that are planned, 20: /],
  ])('%s', (_, asked, reason) => {
    const found =
      asked.limits === undefined
        ? tokensOf(asked)
        : planRecipe(asked).reasons.find(({ choice }) => choice === 'tokens')!;
    expect(found.reason).toMatch(reason);
  });
});

describe('text that a model learns by heart', () => {
  test('is read eight times where a parameter has a tenth of a token, sixteen where it has four tenths', () => {
    // As it was measured with 74,000 tokens (docs/log.md).
    expect(mostEpochs(74_000, 771_000)).toBe(8);
    expect(mostEpochs(74_000, 172_000)).toBe(16);
    expect(mostEpochs(311_000, 771_000)).toBe(16);
  });

  test('is planned to be read so often, whatever the budget', () => {
    for (const numTokens of [30_000, 70_000, 300_000]) {
      const asked = { ...inputs, statistics: text(numTokens), budgetMs: 3_600_000 };
      const { pretrain, numParameters } = planRecipe(asked);
      const most = mostEpochs(numTokens, numParameters);
      const step = pretrain.batchSize * pretrain.contextLength;
      expect(pretrain.numSteps).toBe(Math.floor((most * numTokens) / step));
    }
  });
});
