import { expect, test } from 'vitest';
import { learningCurveSchema } from '../../config/learning-curve.ts';
import { learningCurve, mostLearnt, tokensIn } from '../../corpus/learning-curve.ts';

/** Tokens of a made-up language: after each token one of a few, chosen by a plain generator. */
function written(numTokens: number, seed: number, choices: number, vocabSize = 500): Uint16Array {
  let state = seed;
  let last = 0;
  return Uint16Array.from({ length: numTokens }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    last = (last * 7 + 11 * ((state >>> 16) % choices) + 3) % vocabSize;
    return last;
  });
}

function curveOf(shards: Uint16Array[], heldOut: Uint16Array) {
  return learningCurve({ shards, heldOut, vocabSize: 500, heldOutBytesPerToken: 4 });
}

test('held-out text costs less after more of its like, and never less than its entropy', () => {
  const shards = [written(30_000, 1, 8), written(30_000, 2, 8)];
  const { points, order, numHeldOut } = curveOf(shards, written(4000, 3, 8))!;
  expect({ order, numHeldOut }).toEqual({ order: 4, numHeldOut: 4000 });
  // A point comes with the piece that fills it.
  expect(points.map(({ numTokens }) => Math.floor(numTokens / 512))).toEqual([16, 32, 64, 117]);
  expect(points.at(-1)!.numTokens).toBe(60_000);
  const costs = points.map(({ bitsPerByte }) => bitsPerByte);
  expect(costs[1]).toBeLessThan(0.9 * costs[0]!);
  // One of eight is 3 bits a token of four bytes.
  for (const cost of costs.slice(1)) {
    expect(cost).toBeGreaterThan(3 / 4);
    expect(cost).toBeLessThan(1.25 * (3 / 4));
  }
});

test('text with more choices is harder', () => {
  const cost = (choices: number) =>
    curveOf([written(20_000, 1, choices)], written(4000, 2, choices))!.points.at(-1)!.bitsPerByte;
  expect(cost(32)).toBeGreaterThan(1.3 * cost(8));
});

test('the sample of a shard is spread over it from its first tokens on', () => {
  // The second half is another language, which the held-out text is written in.
  const easy = written(200_000, 1, 2);
  const shard = Uint16Array.from([...easy, ...written(200_000, 2, 16)]);
  const { points } = curveOf([shard], written(4000, 3, 16))!;
  const alone = curveOf([written(200_000, 2, 16)], written(4000, 3, 16))!.points;
  // Of the first 8,192 tokens half are of that language.
  expect(points[1]!.bitsPerByte).toBeLessThan(1.15 * alone[0]!.bitsPerByte);
});

test('no more than so many tokens are learnt from, in little memory', () => {
  const shard = written(mostLearnt + 100_000, 1, 4);
  expect(curveOf([shard], written(2000, 2, 4))!.points.at(-1)!.numTokens).toBe(mostLearnt);
});

test('a page has one point, no text has none, and the same text the same curve', () => {
  const page = written(700, 1, 8);
  const curve = curveOf([page], page.subarray(0, 90))!;
  expect(curve.points).toHaveLength(1);
  expect(curve.points[0]!.numTokens).toBe(700);
  expect(curveOf([page], page.subarray(0, 90))).toEqual(curve);
  expect(curveOf([], page)).toBeNull();
  expect(curveOf([page], new Uint16Array(0))).toBeNull();
});

test('one line again and again costs next to nothing, which the record of a corpus takes', () => {
  const same = (length: number) => new Uint16Array(length).fill(7);
  const curve = curveOf([same(100_000)], same(4000));
  expect(learningCurveSchema.parse(curve)).toEqual(curve);
  expect(curve!.points.at(-1)!.bitsPerByte).toBeLessThan(0.001);
});

test('tokens are read as they lie in a shard, two bytes or four', () => {
  const bytes = Uint8Array.from([9, 1, 2, 3, 4, 5, 6, 7, 8]).subarray(1);
  expect(tokensIn(bytes, 2)).toEqual(Uint16Array.of(0x0201, 0x0403, 0x0605, 0x0807));
  expect(tokensIn(bytes, 4)).toEqual(Uint32Array.of(0x04030201, 0x08070605));
});
