/** Jobs, generations and what a run found: the records from which a run can be told and recovered. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runInputsSchema } from '../../config/run-records.ts';
import { blobKey, putBlob } from '../../registry/blobs.ts';
import { readCheckpointPlace, readGenerations } from '../../registry/generations.ts';
import { putJob, readJob } from '../../registry/jobs.ts';
import { addRunInputs, getRunRecord } from '../../registry/runs.ts';
import { stageDigest } from '../../registry/stages.ts';
import { commitCheckpoint, openGeneration, putEvents } from '../../registry/training.ts';
import { checkpointOf, digestOf } from '../support/records.ts';
import { recipe } from '../support/recipes.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

let s3: TestS3;
beforeAll(async () => {
  s3 = await startS3();
});
afterAll(async () => {
  await s3?.stop();
});

const job = { recipe: recipe.pretrain, shape: recipe.model, corpus: digestOf('c'), init: null };

test('a job is kept under the digest of its stage, with whatever else decides it', async () => {
  const whole = { ...job, code: digestOf('1'), device: { device: 'cpu' } };
  const stage = stageDigest(whole);
  expect(await readJob(s3.store, stage)).toBeNull();
  expect(await putJob(s3.store, whole)).toBe(stage);
  expect(await readJob(s3.store, stage)).toEqual(whole);
});

test('a job whose bytes were changed is refused', async () => {
  const stage = await putJob(s3.store, { ...job, code: digestOf('2') });
  const { bytes, etag } = (await s3.store.get(blobKey(stage)))!;
  const forged = bytes.toString().replace(/"numSteps":\d+/, '"numSteps":1');
  await s3.store.replace(blobKey(stage), Buffer.from(forged), etag);
  await expect(readJob(s3.store, stage)).rejects.toThrow(/is damaged: found a job of digest/);
});

test('what a run finds is added up, the last word of each counting', async () => {
  const { store } = s3;
  await addRunInputs(store, 'found', { startFrom: 'policy@1' });
  await addRunInputs(store, 'found', { corpus: digestOf('a') });
  await addRunInputs(store, 'found', { corpus: digestOf('b') });
  expect(await getRunRecord(store, 'found', 'inputs', runInputsSchema)).toEqual({
    schemaVersion: 1,
    startFrom: 'policy@1',
    corpus: digestOf('b'),
  });
});

test('events are told by generation in the order of their pieces, and a checkpoint by its own state', async () => {
  const { store } = s3;
  const trial = { run: 'told', phase: 'pretrain', round: 0, trial: 0 };
  const stage = digestOf('7');
  const first = await openGeneration(store, trial, { stage, writer: 'one' });
  const paused = (step: number) => ({ event: 'paused' as const, step, at: step });
  await putEvents(store, trial, 2, 0, [paused(3)]);
  await putEvents(store, trial, 1, 1, [paused(2), { event: 'from another version' }]);
  await putEvents(store, trial, 1, 0, [paused(1)]);
  const told = await readGenerations(store, trial);
  expect(told).toEqual([
    { fence: 1, events: [paused(1), paused(2)] },
    { fence: 2, events: [paused(3)] },
  ]);
  const blank = checkpointOf(2, 1, await putBlob(store, Buffer.from('weights')));
  const { chain } = await commitCheckpoint(store, trial, first, blank);
  expect(await readCheckpointPlace(store, chain[0]!)).toEqual({ step: 2 });
});
