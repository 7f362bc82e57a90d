import { expect, test } from 'vitest';
import { adapts, evaluationTable, stageTimes } from '../../client/cli/result.ts';
import { recipe } from '../support/recipes.ts';
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

test('the first column of an adapted model is not that of its base', () => {
  const latency = { firstTokenMs: 1, tokensPerSecond: 1, probeDifference: 0 };
  const metrics = { valBpb: { value: 0.669, stderr: null, count: 1 } };
  const evaluations = [{ stage: 'evaluate-base' as const, evaluation: { metrics, latency } }];
  const lora = { rank: 16, alpha: 32, mergeShare: 0.7 };
  const adapting = { ...recipe, pretrain: { ...recipe.pretrain, lora } };
  const header = (one: typeof recipe | null) =>
    evaluationTable(evaluations, { adapted: adapts({ recipe: one }) })[0]!.trim();
  expect([header(null), header(recipe), header(adapting)]).toEqual(['base', 'base', 'adapted']);
});
