/** The parts of a duration. */
import { expect, test } from 'vitest';
import { inHours, inWholeUnits } from '../../config/durations.ts';

test('the largest unit that divides a duration, of those that are allowed', () => {
  expect(inWholeUnits(172_800_000, 'ms')).toEqual({ amount: 2, unit: 'd' });
  expect(inWholeUnits(90 * 60_000, 'm')).toEqual({ amount: 90, unit: 'm' });
  expect(inWholeUnits(1500, 'ms')).toEqual({ amount: 1500, unit: 'ms' });
  expect(inWholeUnits(100_000, 'm')).toEqual({ amount: 2, unit: 'm' });
});

test('hours, minutes and seconds, rounded to seconds before they are parted', () => {
  expect(inHours(3_599_600)).toEqual({ h: 1, m: 0, s: 0 });
  expect(inHours(200_000)).toEqual({ h: 0, m: 3, s: 20 });
});
