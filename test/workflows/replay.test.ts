/** Executions that were started by earlier code may still be running: today's workflows must replay what they did. */
import { Worker, type WorkflowBundle } from '@temporalio/worker';
import { beforeAll, describe, expect, test } from 'vitest';
import { keptHistories, largestPayload } from '../histories/history.ts';
import { bundleWorkflows } from '../support/temporal.ts';

const histories = keptHistories();
let workflowBundle: WorkflowBundle;
beforeAll(async () => {
  workflowBundle = await bundleWorkflows();
});

test('histories of all five workflows are kept, one of them with a lost generation', () => {
  const types = histories.map(
    ({ json }) => json.events[0]?.['workflowExecutionStartedEventAttributes'],
  );
  const names = types.map((type) => (type as { workflowType: { name: string } }).workflowType.name);
  expect([...new Set(names)].toSorted()).toEqual([
    'continuousPretrainingWorkflow',
    'deploymentWorkflow',
    'pipelineWorkflow',
    'preprocessWorkflow',
    'trainingWorkflow',
  ]);
  const killed = histories.find(({ name }) => name === 'training-trainer-killed');
  expect(JSON.stringify(killed)).toContain('ACTIVITY_TASK_FAILED');
});

describe.each(histories)('$name', ({ name, json }) => {
  test('replays', async () => {
    // A workflow may name its children by its own id.
    const started = json.events[0]!['workflowExecutionStartedEventAttributes'];
    const { workflowId = name } = started as { workflowId?: string };
    await Worker.runReplayHistory({ workflowBundle }, structuredClone(json), workflowId);
  });

  test('holds references, never data, and no path or key of the machine that made it', () => {
    expect(largestPayload(json)).toBeLessThan(64 * 1024);
    expect(json.events.length).toBeLessThan(5000);
    const text = decoded(json);
    const places = /\/(work|home|root|Users|private)\/[^"]*/g;
    const secrets = /secret|api.?key|bearer|temper-[\w-]{32}/gi;
    expect([...(text.match(places) ?? []), ...(text.match(secrets) ?? [])]).toEqual([]);
  });
});

test('a history that the workflows would not have written is refused', async () => {
  const { json } = histories.find(({ name }) => name === 'pipeline-finished')!;
  const other = JSON.parse(
    JSON.stringify(json).replaceAll('"recordSpecification"', '"recordSomethingElse"'),
  ) as unknown;
  await expect(Worker.runReplayHistory({ workflowBundle }, other)).rejects.toThrow(
    /nondeterminism|recordSomethingElse/i,
  );
});

/** The history as text, with the payloads readable. */
function decoded(value: unknown): string {
  return JSON.stringify(value, (field, inner: unknown) =>
    field === 'data' && typeof inner === 'string'
      ? Buffer.from(inner, 'base64').toString('utf8')
      : inner,
  );
}
