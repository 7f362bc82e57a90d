import { expect, test } from 'vitest';
import { planMasked } from '../../recipes/masked.ts';
import {
  distinctTokens,
  effectiveTokens,
  expectedBitsPerByte,
  mostReadable,
  type ReadText,
} from '../../recipes/loss.ts';
import { mixtureReasons, readOfMixture } from '../../recipes/mixture.ts';
import { planRecipe, type PlanInputs } from '../../recipes/plan.ts';

const size = (numTokens: number) => ({ numDocuments: 1, numTokens, bytes: numTokens * 4 });
/** A small source that is read four times, and a large one of which a third is read once. */
const mixture = {
  sources: [
    {
      source: 'laws',
      weight: 3,
      repeat: 4,
      whole: size(600_000),
      used: size(600_000),
      epoch: size(2_400_000),
    },
    {
      source: 'mail',
      weight: 1,
      whole: size(2_400_000),
      used: size(800_000),
      epoch: size(800_000),
    },
    { source: 'none', weight: 1, whole: size(0), used: size(0), epoch: size(0) },
  ],
};
const read = readOfMixture(mixture);
const inputs: PlanInputs = {
  statistics: read,
  goal: 'base',
  budgetMs: 600_000,
  machine: { device: 'cpu', cores: 2, memoryBytes: 24e9, instructionSet: 'avx512_bf16' },
  seed: 1,
  vocabSize: 4096,
  numChats: 0,
  numPreferences: 0,
};

test('an epoch of a mix is what it reads, and its text is what of it is distinct', () => {
  expect(read).toMatchObject({ numTokens: 3_200_000, bytes: 12_800_000 });
  expect(read.mixture).toEqual([
    { source: 'laws', share: 0.75, numTokens: 600_000 },
    { source: 'mail', share: 0.25, numTokens: 800_000 },
  ]);
  expect(distinctTokens(read)).toBe(1_400_000);
});

test('repetitions of each source return less on their own', () => {
  const mixed = effectiveTokens(3_200_000, read.mixture!);
  expect(mixed).toBe(effectiveTokens(2_400_000, 600_000) + 800_000);
  expect(mixed).toBeLessThan(effectiveTokens(3_200_000, 3_200_000));
  // One source is the corpus as it was.
  expect(effectiveTokens(9e6, [{ share: 1, numTokens: 2e6 }])).toBe(effectiveTokens(9e6, 2e6));
  expect(expectedBitsPerByte(3e6, 9e6, [{ share: 1, numTokens: 2e6 }])).toBe(
    expectedBitsPerByte(3e6, 9e6, 2e6),
  );
});

test('no source is planned to be read more often than any text may be', () => {
  expect(mostReadable(read, 16)).toBe((600_000 * 16) / 0.75);
  const rich = { ...inputs, budgetMs: 86_400_000, limits: { numParameters: 2_000_000 } };
  const { numSteps, batchSize, contextLength } = planRecipe(rich).pretrain!;
  const laws = numSteps * batchSize * contextLength * 0.75;
  expect(laws / 600_000).toBeLessThanOrEqual(16);
  expect(laws / 600_000).toBeGreaterThan(15.9);
});

test('a plan counts epochs by what is read, expects less of repeated text, and says the shares', () => {
  const recipe = planRecipe(inputs);
  const tokens = recipe.pretrain!.numSteps * 4096;
  const reason = (choice: string, of = recipe) => of.reasons.find((one) => one.choice === choice)!;
  expect(reason('tokens').value).toContain(`${(tokens / 3_200_000).toFixed(2)} epochs`);
  expect(reason('mixture')).toMatchObject({ value: 'laws 75 %, mail 25 %' });
  expect(reason('mixture').reason).toContain('those of laws 4 times, mail once, and each source');
  const plain: ReadText = { numTokens: read.numTokens, bytes: read.bytes };
  const unmixed = planRecipe({ ...inputs, statistics: plain });
  expect(unmixed.reasons.some(({ choice }) => choice === 'mixture')).toBe(false);
  expect(recipe.estimate.valBpbLow).toBeGreaterThan(unmixed.estimate.valBpbLow);
  const masked = planMasked({ ...inputs, goal: 'embeddings' }, { round: 0, time: 1, rate: 1 });
  expect(reason('mixture', masked).value).toBe('laws 75 %, mail 25 %');
  expect(mixtureReasons(plain)).toEqual([]);
});
