import { expect, test } from 'vitest';
import { stageTimes } from '../../client/cli/result.ts';
import { start, statusAt } from './samples.ts';

test('a run that has ended but whose execution has not closed yet took until its last stage ended', () => {
  const status = statusAt('deploy', { state: 'finished', endedAt: null });
  Object.assign(status.stages.at(-1)!, { state: 'done', endedAt: start + 101_000 });
  expect(stageTimes(status)).toEqual({ totalMs: 101_000, stagesMs: 101_000, betweenMs: 0 });
});

test('time between stages is what no stage accounts for', () => {
  const status = statusAt('deploy', { state: 'finished', endedAt: start + 110_000 });
  Object.assign(status.stages.at(-1)!, { state: 'done', endedAt: start + 105_000 });
  expect(stageTimes(status)).toEqual({ totalMs: 110_000, stagesMs: 105_000, betweenMs: 5_000 });
});
