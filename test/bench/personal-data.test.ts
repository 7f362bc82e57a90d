import { expect, test } from 'vitest';
import { scoresOf } from '../../bench/personal-data.ts';
import { madeUp } from '../../bench/support/made-up-people.ts';

test('identity numbers and keys made by the published rules are found, and their look-alikes are not', () => {
  const scores = scoresOf(madeUp(100));
  expect(Object.keys(scores)).toContain('tw_company');
  for (const [kind, { labelled, recall, precision }] of Object.entries(scores)) {
    if (labelled === 0) continue;
    expect(recall, kind).toBeGreaterThanOrEqual(0.95);
    expect(precision, kind).toBeGreaterThanOrEqual(0.95);
  }
});

test('a find counts where it overlaps a label of its own kind', () => {
  const text = 'mail a@b.io or call 415-555-2671';
  const scores = scoresOf([{ text, spans: [{ kind: 'phone', start: 5, end: 11 }] }]);
  expect(scores.phone).toEqual({ labelled: 1, recall: 0, precision: 0 });
  expect(scores.email).toEqual({ labelled: 0, recall: 1, precision: 0 });
});
