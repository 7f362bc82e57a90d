/** What a sweep asks of the runs at work before it deletes anything. */
import { MockActivityEnvironment } from '@temporalio/testing';
import { expect, test } from 'vitest';
import { createRetentionActivities } from '../../activities/retention.ts';
import type { RetentionReport } from '../../config/retention.ts';
import { putJsonLines } from '../../registry/blobs.ts';
import { addRunInputs } from '../../registry/runs.ts';
import { memoryStore } from '../support/memory-store.ts';
import { registerDataset } from '../support/records.ts';

const store = memoryStore();

/** A sweep while these workflows run. */
async function sweep(...running: string[]): Promise<RetentionReport> {
  let query = '';
  const client = {
    workflow: {
      list: (asked: { query: string }) => {
        ({ query } = asked);
        return (async function* listed() {
          for (const workflowId of running) yield { workflowId };
        })();
      },
    },
  };
  const uploads = async (before: Date) => {
    expect(before).toEqual(new Date('2026-12-23'));
    throw new Error('this store cannot list them');
  };
  const deps = {
    store: { ...store, abandonUploads: uploads },
    now: () => new Date('2026-12-24'),
    client,
  };
  const { sweepExpired } = createRetentionActivities(deps as never);
  const report = (await new MockActivityEnvironment().run(sweepExpired, {})) as RetentionReport;
  expect(query).toMatch(/Running.*pipelineWorkflow.*continuousPretrainingWorkflow/);
  return report;
}

test('versions that runs have read are held, runs that read are waited for, others are no matter', async () => {
  for (const name of ['policy', 'laws']) {
    await registerDataset(store, {
      schemaVersion: 1,
      name,
      digest: name.charCodeAt(0).toString(16).repeat(32),
      sources: [],
      shards: [{ documents: await putJsonLines(store, [name]), numDocuments: 1 }],
      numDocuments: 1,
      bytes: 1,
      dropped: {},
      droppedDocuments: null,
      expiresAt: '2026-12-01T00:00:00.000Z',
    });
  }
  const dataset = { name: 'policy', version: 1, digest: '70'.repeat(32) };
  const ingested = { dataset, numDocuments: 1, bytes: 1, dropped: {}, reused: false };
  const run = 'policy-2026-12-24t03-00';
  await addRunInputs(store, run, { ingested });

  const none = { expired: [], numBlobs: 0 };
  // It has not said yet what it read.
  expect(await sweep('pipeline/laws-11aa')).toMatchObject({
    ...none,
    waitsFor: ['pipeline/laws-11aa'],
  });
  // A scheduled start reads before it starts its run.
  const scheduled = 'continuous/policy-2026-12-24T03:00:00Z';
  expect(await sweep(scheduled)).toMatchObject({ ...none, waitsFor: [scheduled] });
  // A run of another start is not its run.
  const [other, its] = ['pipeline/policy-7f3a', `pipeline/${run}`];
  await addRunInputs(store, 'policy-7f3a', { ingested, corpus: 'c0'.repeat(32) });
  expect(await sweep(scheduled, other)).toMatchObject({ ...none, waitsFor: [scheduled] });
  // It may find in the store what others drop, and refer to it, until its corpus is made.
  expect(await sweep(scheduled, its)).toMatchObject({
    ...none,
    held: [{ name: 'policy', version: 1 }],
    waitsFor: [its],
  });
  await addRunInputs(store, run, { corpus: 'c0'.repeat(32) });
  expect(await sweep(scheduled, its)).toMatchObject({
    expired: [{ name: 'laws', version: 1 }],
    held: [{ name: 'policy', version: 1 }],
    waitsFor: [],
  });
  expect(await sweep()).toMatchObject({ expired: [{ name: 'policy', version: 1 }], held: [] });
});
