import { describe, expect, test } from 'vitest';
import { argmax, logSumExp, sample, seededRandom, topIds } from '../../serving/engine-sampling.ts';

const logits = Float32Array.from([1, 3, 2, 3, -5]);

describe('sampling', () => {
  test('temperature 0 takes the first of the highest logits', () => {
    expect(argmax(logits)).toBe(1);
    expect(sample(logits, { temperature: 0, topP: 1, random: () => 0.99 })).toBe(1);
  });

  test('the most likely tokens come best first, equals by id', () => {
    expect(topIds(logits, 3)).toEqual([1, 3, 2]);
    expect(topIds(logits, 1)).toEqual([1]);
    expect(topIds(logits, 0)).toEqual([]);
    expect(topIds(logits, 9)).toEqual([1, 3, 2, 0, 4]);
  });

  test('log-probabilities sum to one', () => {
    const sum = logSumExp(logits);
    const total = logits.reduce((all, logit) => all + Math.exp(logit - sum), 0);
    expect(total).toBeCloseTo(1, 12);
  });

  test('a seed gives the same draws, another seed others, all spread over [0, 1)', () => {
    const draws = (seed: number) => Array.from({ length: 2000 }, seededRandom(seed));
    expect(draws(7)).toEqual(draws(7));
    expect(draws(7)).not.toEqual(draws(8));
    const mean = draws(7).reduce((all, value) => all + value, 0) / 2000;
    expect(mean).toBeGreaterThan(0.47);
    expect(mean).toBeLessThan(0.53);
    expect(Math.min(...draws(7))).toBeGreaterThanOrEqual(0);
    expect(Math.max(...draws(7))).toBeLessThan(1);
  });

  test('draws follow the distribution at the temperature', () => {
    const random = seededRandom(3);
    const counts = [0, 0];
    for (let draw = 0; draw < 4000; draw++) {
      const id = sample(Float32Array.from([0, Math.log(3) * 2]), {
        temperature: 2,
        topP: 1,
        random,
      });
      counts[id]! += 1;
    }
    expect(counts[1]! / counts[0]!).toBeGreaterThan(2.7);
    expect(counts[1]! / counts[0]!).toBeLessThan(3.3);
  });

  test('top_p keeps the smallest set of tokens that holds the mass', () => {
    const shares = Float32Array.from([0.2, 0.5, 0.3].map(Math.log));
    const seen = (topP: number) => {
      const random = seededRandom(1);
      return new Set(
        Array.from({ length: 300 }, () => sample(shares, { temperature: 1, topP, random })),
      );
    };
    expect(seen(0.45)).toEqual(new Set([1]));
    expect(seen(0.75)).toEqual(new Set([1, 2]));
    expect(seen(0.95)).toEqual(new Set([0, 1, 2]));
  });
});
