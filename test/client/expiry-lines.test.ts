import { expect, test } from 'vitest';
import { expiryLines } from '../../client/cli/datasets.ts';
import type { RetentionReport } from '../../config/retention.ts';

const nothing: RetentionReport = {
  expired: [],
  held: [],
  waitsFor: [],
  numBlobs: 0,
  bytes: 0,
  numUnregistered: 0,
  numShared: 0,
};
const policy = { name: 'policy', version: 3 };

test('a sweep says what it deleted, what stays and what waits for whom', () => {
  expect(expiryLines(nothing, false)).toEqual(['Nothing has expired.']);
  const report = { ...nothing, expired: [policy], numBlobs: 1200, bytes: 2_500_000, numShared: 4 };
  expect(expiryLines(report, true)).toEqual([
    'policy@3 would expire: 1,200 objects, 2.5 MB',
    '4 objects stay: others hold them too',
  ]);
  const unregistered = { ...nothing, numBlobs: 3, bytes: 4_000_000, numUnregistered: 3 };
  expect(expiryLines(unregistered, false)).toEqual([
    '3 objects of readings that became no version deleted, 4.0 MB',
  ]);
  expect(expiryLines({ ...report, numUnregistered: 3 }, false)[1]).toBe(
    '3 objects of readings that became no version among them',
  );
  expect(expiryLines(report, false)[0]).toBe('policy@3 expired: 1,200 objects, 2.5 MB');
  expect(
    expiryLines({ ...nothing, held: [policy], waitsFor: ['pipeline/laws-7f3a'] }, false),
  ).toEqual([
    'policy@3 waits: a run at work has read it',
    'Nothing more is deleted while documents are read or prepared: pipeline/laws-7f3a',
  ]);
});
