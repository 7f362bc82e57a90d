/** The vectors of MinHash against the same sums one number at a time. */
import { expect, test } from 'vitest';
import { hashesAtOnce, LeastHashes } from '../../corpus/minhash-simd.ts';
import { seeded } from './random.ts';

test('the least hash of each permutation is what plain arithmetic finds, over few shingles and many', () => {
  const random = seeded(11);
  const number = (): number => Math.floor(random() * 2 ** 32) | 0;
  const numHashes = hashesAtOnce * 3;
  const masks = Int32Array.from({ length: numHashes }, number);
  const factors = Int32Array.from({ length: numHashes }, () => number() | 1);
  const permuted = new LeastHashes(masks, factors);
  for (const length of [1, 2, 7, 1000, 100_000, 3]) {
    const shingles = Int32Array.from({ length }, number);
    permuted.shingles(length).set(shingles);
    const expected = Array.from(masks, (mask, index) => {
      let least = 0x7fffffff;
      for (const shingle of shingles) {
        const hash = Math.imul(shingle ^ mask, factors[index]!);
        least = Math.min(least, hash ^ (hash >>> 15));
      }
      return least;
    });
    expect(Array.from(permuted.find(length))).toEqual(expected);
  }
});
