import { ApplicationFailure } from '@temporalio/activity';
import type { Client } from '@temporalio/client';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createReleaseActivities, type ConvergeProgress } from '../../activities/release.ts';
import { FailureType } from '../../config/failures.ts';
import {
  bundleManifestSchema,
  corpusManifestSchema,
  modelManifestSchema,
  type Deployment,
  type NodeReport,
} from '../../config/manifests.ts';
import { readDeployment, reportEveryMs, reportNode } from '../../registry/deployments.ts';
import { StoreUnreachable } from '../../registry/errors.ts';
import { getModel, readAlias, registerModel } from '../../registry/models.ts';
import { recordStage } from '../../registry/stages.ts';
import type { Store } from '../../registry/store.ts';
import { corpusOf, digestOf, modelOf, versionOf } from '../support/records.ts';
import { recipe } from '../support/recipes.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

let s3: TestS3;
const now = new Date(Date.UTC(2026, 0, 1));
let endpoints = 0;

beforeAll(async () => {
  s3 = await startS3();
}, 60_000);
afterAll(async () => s3.stop());

function release(store: Store = s3.store): ReturnType<typeof createReleaseActivities> {
  const client = {} as Client;
  return createReleaseActivities({
    store,
    client,
    home: '',
    python: '',
    projectDir: '',
    host: '',
    now: () => now,
  });
}

/** A deployment of an endpoint of its own, and how its nodes report. */
function deployed(): {
  deployment: Deployment;
  report: (node: string, more: Partial<NodeReport>) => Promise<void>;
} {
  const endpoint = `endpoint-${++endpoints}`;
  const deployment = {
    schemaVersion: 1 as const,
    endpoint,
    generation: 2,
    model: 'm',
    version: 2,
    bundle: digestOf('b'),
    declaredAt: now.toISOString(),
    reason: 'test',
  };
  const report = (node: string, more: Partial<NodeReport>): Promise<void> =>
    reportNode(s3.store, {
      schemaVersion: 1,
      node,
      endpoint,
      generation: 1,
      bundle: digestOf('a'),
      failure: null,
      trying: null,
      url: `http://${node}/`,
      at: now.toISOString(),
      ...more,
    });
  return { deployment, report };
}

/** Waits for convergence; `saw` resolves with the first heartbeat that is as asked. */
function converging(deployment: Deployment, store?: Store) {
  const env = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') });
  const saw = (what: (progress: ConvergeProgress) => boolean): Promise<ConvergeProgress> =>
    new Promise((resolve) => {
      env.on('heartbeat', (progress: ConvergeProgress) => {
        if (what(progress)) resolve(progress);
      });
    });
  const run = (): Promise<{ url: string }> =>
    env.run(release(store).awaitConvergence, deployment) as Promise<{ url: string }>;
  return { env, saw, run };
}

const serving = { generation: 2, bundle: digestOf('b') };
const old = new Date(now.getTime() - 3 * reportEveryMs).toISOString();

test('what keeps a node from serving for now is waited out, and told in the heartbeat', async () => {
  const { deployment, report } = deployed();
  await report('n1', { trying: { generation: 2, message: 'no space left on device' } });
  const { saw, run } = converging(deployment);
  const told = saw(({ trying }) => trying.length > 0);
  const outcome = run();
  expect(await told).toEqual({
    kind: 'converge',
    serving: 0,
    nodes: 1,
    trying: ['n1: no space left on device'],
  });
  await report('n1', serving);
  expect(await outcome).toEqual({ url: 'http://n1/' });
});

test('a bundle that a node refuses is no more waited for', async () => {
  const { deployment, report } = deployed();
  await report('n1', serving);
  await report('n2', { failure: { generation: 2, message: 'the probe differs' } });
  await expect(converging(deployment).run()).rejects.toMatchObject({
    message: `${deployment.endpoint} does not serve m@2: the probe differs`,
    type: FailureType.ModelNotServable,
    nonRetryable: true,
  });
});

test('a refusal of the version before does not count', async () => {
  const { deployment, report } = deployed();
  await report('n1', { ...serving, failure: { generation: 1, message: 'the probe differs' } });
  expect(await converging(deployment).run()).toEqual({ url: 'http://n1/' });
});

test('what a dead node said does not count as serving', async () => {
  const { deployment, report } = deployed();
  await report('n1', { ...serving, at: old });
  const { saw, run } = converging(deployment);
  const waiting = saw(({ nodes }) => nodes === 0);
  const outcome = run();
  expect(await waiting).toMatchObject({ serving: 0, nodes: 0 });
  await report('n1', serving);
  expect(await outcome).toEqual({ url: 'http://n1/' });
});

test('the report of a node that was removed holds nobody up, nor does its refusal', async () => {
  const { deployment, report } = deployed();
  await report('gone', { at: old });
  await report('gone-too', { at: old, failure: { generation: 2, message: 'the probe differs' } });
  await report('n1', serving);
  expect(await converging(deployment).run()).toEqual({ url: 'http://n1/' });
});

test('a store that is away is waited for', async () => {
  const { deployment, report } = deployed();
  await report('n1', serving);
  let away = true;
  const store: Store = {
    ...s3.store,
    list(prefix) {
      if (away) throw new StoreUnreachable('S3 did not answer');
      return s3.store.list(prefix);
    },
  };
  const { saw, run } = converging(deployment, store);
  const told = saw(({ trying }) => trying.includes('S3 did not answer'));
  const outcome = run();
  await told;
  away = false;
  expect(await outcome).toEqual({ url: 'http://n1/' });
});

test('a version that challenged another champion than the present one is neither declared nor promoted', async () => {
  for (const letter of ['1', '2', '3']) {
    await registerModel(s3.store, versionOf('rivals', digestOf(letter)), now);
  }
  const activities = release();
  const by = { model: 'rivals', by: 'ann', reason: 'why' };
  await activities.promoteModel({ ...by, version: 2 });
  const late = { ...by, version: 3, expectedChampion: 1 };
  const refusal = {
    message: expect.stringContaining('rivals@3 stays registered and is not promoted') as string,
    type: FailureType.ChampionMoved,
    nonRetryable: true,
    details: [2],
  };
  const declare = activities.declareVersion({ ...late, endpoint: 'rivals' });
  await expect(declare).rejects.toMatchObject(refusal);
  expect(await readDeployment(s3.store, 'rivals')).toBeNull();
  await expect(activities.promoteModel(late)).rejects.toMatchObject(refusal);
  await activities.promoteModel({ ...late, expectedChampion: 2 });
  expect((await readAlias(s3.store, 'rivals', 'champion'))?.version).toBe(3);
});

test('a registered version names the stage of each phase, its parent and the best of its line', async () => {
  const { store } = s3;
  const weights = { sha256: digestOf('c'), bytes: 7 };
  const empty = { schemaVersion: 1 as const, files: {}, weights: weights.sha256 };
  await recordStage(store, 'pretrain', digestOf('7'), modelManifestSchema, modelOf(weights));
  await recordStage(store, 'export', digestOf('8'), bundleManifestSchema, empty);
  await recordStage(store, 'preprocess', digestOf('9'), corpusManifestSchema, corpusOf('named'));
  const parent = { name: 'named', version: 5 };
  const anchor = { name: 'named', version: 4 };
  await release().registerModelVersion({
    run: 'named-1',
    name: 'named',
    corpus: digestOf('9'),
    recipe,
    exported: digestOf('8'),
    phases: [{ phase: 'pretrain', stage: digestOf('7') }],
    evaluations: {},
    parent,
    anchor,
  });
  expect((await getModel(store, 'named', 1))?.lineage).toMatchObject({
    phases: [{ phase: 'pretrain', stage: digestOf('7'), weights: weights.sha256 }],
    parent,
    anchor,
  });
});

test('a declaration alone makes no champion', async () => {
  for (const letter of ['1', '2']) {
    await registerModel(s3.store, versionOf('crown', digestOf(letter)), now);
  }
  const activities = release();
  const request = { model: 'crown', version: 2, by: 'me', reason: 'why' };
  const declared = await activities.declareVersion({ ...request, endpoint: 'crown' });
  expect(declared).toMatchObject({ generation: 1, version: 2, bundle: digestOf('2') });
  expect(await readAlias(s3.store, 'crown', 'champion')).toBeNull();
  await activities.promoteModel(request);
  // Killed before its answer was out, it is asked again.
  await activities.promoteModel(request);
  expect((await readAlias(s3.store, 'crown', 'champion'))?.moves).toEqual([
    { version: 2, by: 'me', reason: 'why', at: now.toISOString() },
  ]);
  const unknown = activities.declareVersion({ ...request, version: 9, endpoint: 'crown' });
  await expect(unknown).rejects.toThrow(ApplicationFailure);
});
