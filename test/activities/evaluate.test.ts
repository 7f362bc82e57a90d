import { afterAll, beforeAll, expect, test } from 'vitest';
import { codeVersion } from '../../activities/code-version.ts';
import { createEvaluateActivities } from '../../activities/evaluate.ts';
import { evaluationSchema, type Evaluation } from '../../config/manifests.ts';
import { findStage, recordStage, stageDigest } from '../../registry/stages.ts';
import { inActivity, projectDir, startFixture, type Fixture } from './corpus-fixtures.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await startFixture();
});
afterAll(async () => {
  await fixture.stop();
});

test('what travels of an evaluation is figures: the answers stay in its record', async () => {
  const { store } = fixture.deps;
  const input = { exported: 'e'.repeat(64), corpus: 'c'.repeat(64), heldOut: true };
  const sources = [
    'trainer/**/*.py',
    'serving/**/*.ts',
    'config/token-bytes.ts',
    'requirements.txt',
  ];
  const stage = stageDigest({ ...input, code: codeVersion(projectDir, sources) });
  const answer = 'text of the corpus '.repeat(5000);
  const recorded: Evaluation = {
    schemaVersion: 1,
    bundle: 'b'.repeat(64),
    metrics: { valBpb: { value: 1.5, stderr: 0.1, count: 10 } },
    latency: { firstTokenMs: 1, tokensPerSecond: 100, probeDifference: 0 },
    samples: Array.from({ length: 20 }, () => ({ question: answer, expected: answer, answer })),
  };
  await recordStage(store, 'evaluate', stage, evaluationSchema, recorded);
  const { evaluateModel } = createEvaluateActivities(fixture.deps);
  const { result } = await inActivity(evaluateModel, input);
  const { bundle, metrics, latency } = recorded;
  expect(result).toEqual({ evaluation: { stage, bundle, metrics, latency }, reused: true });
  const record = await findStage(store, 'evaluate', result.evaluation.stage, evaluationSchema);
  expect(record).toEqual(recorded);
});
