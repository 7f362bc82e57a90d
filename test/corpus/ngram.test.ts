import { expect, test } from 'vitest';
import { NgramModel } from '../../corpus/ngram.ts';

/** What is likely after a context: every token of the vocabulary is measured behind it. */
function likelihoods(model: NgramModel, context: number[], vocabSize: number): number[] {
  const before = model.measure([context]);
  return Array.from({ length: vocabSize }, (_, token) =>
    Math.exp(before - model.measure([[...context, token]])),
  );
}

const text = Array.from('the cat sat on the mat and the rat sat on the cat', (letter) =>
  letter === ' ' ? 26 : letter.charCodeAt(0) - 97,
);

test('the likelihoods of all tokens are one together, after contexts that were seen and that were not', () => {
  for (const order of [1, 2, 4]) {
    const model = new NgramModel(order, 27);
    model.learn(text);
    for (const context of [[], [19], [19, 7, 4], [25, 25, 25]]) {
      const sum = likelihoods(model, context, 27).reduce((total, each) => total + each, 0);
      expect(sum).toBeCloseTo(1, 10);
    }
  }
});

test('one that learnt nothing takes each token for as likely', () => {
  const model = new NgramModel(3, 27);
  expect(model.measure([[1, 2, 3]])).toBeCloseTo(3 * Math.log(27), 10);
});

test('a bigram counts after how many tokens one came, as Kneser and Ney do', () => {
  const model = new NgramModel(2, 4);
  // 2 comes often, but only after 1; 3 seldom, but after 0, 1 and 2.
  model.learn([1, 2, 1, 2, 1, 2, 1, 2, 0, 3, 1, 3, 2, 3]);
  const unseen = likelihoods(model, [3, 0], 4);
  expect(unseen[3]).toBeGreaterThan(unseen[2]!);
});

test('by hand: discounts from the counts of counts, and the rest of a context to the shorter one', () => {
  const model = new NgramModel(2, 2);
  model.learn([0, 0, 0, 1]);
  // Runs of two: 00 twice, 01 once, so the discount is 1/(1 + 2). The first 0 has nothing before it and counts in the unigram,
  // where 0 was new after nothing and after 0, and 1 after 0: counts 2 and 1, discount 1/3 too.
  const one = (1 - 1 / 3 + (1 / 3) * 2 * (1 / 2)) / 3;
  const afterZero = (1 - 1 / 3 + (1 / 3) * 2 * one) / 3;
  expect(model.measure([[0, 1]]) - model.measure([[0]])).toBeCloseTo(-Math.log(afterZero), 10);
});

test('what was learnt in two runs and in one differs only where they meet', () => {
  const [one, two] = [new NgramModel(3, 27), new NgramModel(3, 27)];
  one.learn(text);
  two.learn(text.slice(0, 20));
  two.learn(text.slice(20));
  expect(one.measure([text])).not.toBe(two.measure([text]));
  expect(Math.abs(one.measure([text]) / two.measure([text]) - 1)).toBeLessThan(0.1);
});
