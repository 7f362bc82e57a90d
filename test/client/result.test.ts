import { expect, test } from 'vitest';
import { adapts, endLines, evaluationTable, stageTimes } from '../../client/cli/result.ts';
import { planPhases } from '../../recipes/phases.ts';
import { planInputs, recipe } from '../support/recipes.ts';
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

test('the end of a run says how to ask a model that embeds, at the address that serves it', () => {
  const digest = 'd'.repeat(64);
  const result = {
    run: 'finder-7f3a',
    model: { name: 'finder', version: 1, reused: false },
    digests: { tokenizer: digest, weights: digest, onnx: digest, bundle: digest },
    evaluations: [],
    endpoint: 'finder',
  };
  const embedding = planPhases({ ...planInputs, goal: 'embeddings' });
  const lines = (one: typeof embedding) => {
    const status = statusAt('deploy', { state: 'finished', result, recipe: one });
    status.stages.at(-1)!.summary = 'finder@1 live at http://127.0.0.1:9090';
    return endLines(status, (_, text) => text);
  };
  expect(lines(embedding).at(-1)).toMatch(
    /^ {4}curl http:\/\/127\.0\.0\.1:9090\/v1\/embeddings .*"model":"finder"/,
  );
  expect(lines(recipe).join()).not.toContain('embeddings');
});

test('shares are told in percent, and a loss in nats', () => {
  const latency = { firstTokenMs: 1, tokensPerSecond: 1, probeDifference: 0 };
  const metrics = {
    'masked.accuracy': { value: 0.25, stderr: 0.01, count: 100 },
    'masked.loss': { value: 4.2, stderr: 0.05, count: 100 },
  };
  const evaluations = [{ stage: 'evaluate-base' as const, evaluation: { metrics, latency } }];
  const table = evaluationTable(evaluations, { adapted: false }).join('\n');
  expect(table).toMatch(/masked\.accuracy\s+25\.0 % ± 1\.0 %/);
  expect(table).toMatch(/masked\.loss\s+4\.200 ± 0\.050/);
});
