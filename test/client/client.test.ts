import path from 'node:path';
import { Context } from '@temporalio/activity';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, makeTelemetryFilterString, Runtime, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connectTemper, newRunName, type TemperClient } from '../../client/client.ts';
import type { LiveStatus } from '../../client/live-status.ts';
import { previousChampion } from '../../client/models.ts';
import { parsePipeline } from '../../client/pipeline-file.ts';
import type { ModelVersion } from '../../config/manifests.ts';
import type { Machine } from '../../config/recipe.ts';
import { declareDeployment } from '../../registry/deployments.ts';
import { moveAlias, registerModel } from '../../registry/models.ts';
import { startS3, type TestS3 } from '../support/s3.ts';
import { trainingAt } from './samples.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
const machine: Machine = { device: 'cpu', cores: 2, memoryBytes: 1e9, instructionSet: 'avx2' };
const pipeline = parsePipeline(
  'version: 1\nname: policy\ndata: { sources: [{ path: ., license: x }] }\n',
  { file: 'p.yaml', baseDir: projectDir },
);

let server: TestWorkflowEnvironment;
let worker: Worker;
let working: Promise<void>;
let s3: TestS3;
let temper: TemperClient;

beforeAll(async () => {
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: {
      logging: { filter: makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' }) },
    },
  });
  const attributes = ['run', 'model', 'dataset', 'stage'];
  [server, s3] = await Promise.all([
    TestWorkflowEnvironment.createLocal({
      server: {
        executable: { type: 'existing-path', path: path.join(projectDir, '.venv/bin/temporal') },
        extraArgs: attributes.flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
      },
    }),
    startS3(),
  ]);
  await startWorker();
  temper = await connectTemper({ address: server.address, namespace: 'default', store: s3.store });
});
afterAll(async () => {
  await temper?.close();
  worker?.shutdown();
  await working;
  s3?.store.close();
  await Promise.all([server?.teardown(), s3?.stop()]);
});

async function startWorker(): Promise<void> {
  worker = await Worker.create({
    connection: server.nativeConnection,
    taskQueue: 'control',
    workflowsPath: path.join(import.meta.dirname, 'fake-workflows.ts'),
    maxHeartbeatThrottleInterval: '100ms',
    shutdownGraceTime: '100ms',
    activities: {
      async train() {
        Context.current().heartbeat(trainingAt(500));
        await Context.current().cancelled;
      },
    },
  });
  working = worker.run();
}

async function startRun(run: string): Promise<void> {
  await temper.startPipeline({ pipeline: { pipeline, baseDir: projectDir }, machine, run });
}

/** Follows a run until it looks as wanted. */
async function seen(run: string, wanted: (status: LiveStatus) => boolean): Promise<LiveStatus> {
  for await (const status of temper.followStatus(run, { everyMs: 50 })) {
    if (wanted(status)) return status;
  }
  throw new Error(`run ${run} ended without looking as wanted`);
}

const end = (run: string, how: string) =>
  server.client.workflow.getHandle(`pipeline/${run}`).signal('end', how);

test('a run has a readable id, summary and search attributes', async () => {
  await startRun('policy-aaaa');
  const description = await server.client.workflow.getHandle('pipeline/policy-aaaa').describe();
  expect(await description.staticSummary()).toBe('policy: base model from .');
  const { run, model, dataset, stage } = Object.fromEntries(
    description.typedSearchAttributes.getAll().map(({ key, value }) => [key.name, value]),
  );
  expect([run, model, dataset, stage]).toEqual(['policy-aaaa', 'policy', 'policy', 'ingest']);
  await end('policy-aaaa', 'well');
});

test('the status joins the workflow with the heartbeat of the trainer in a child', async () => {
  await startRun('policy-bbbb');
  const status = await seen('policy-bbbb', ({ training }) => training !== null);
  expect(status.training).toEqual(trainingAt(500));
  expect(status.stages[0]?.name).toBe('pretrain');
  expect(status.stale).toBeNull();
  expect(status.activities).toMatchObject([
    {
      workflowId: 'training/policy-bbbb/pretrain/0',
      activity: 'train',
      attempt: 1,
      waiting: false,
    },
  ]);
  await end('policy-bbbb', 'well');
});

test('following ends with the run, and its result can be had', async () => {
  await startRun('policy-cccc');
  await end('policy-cccc', 'well');
  const last = await seen('policy-cccc', ({ state }) => state === 'finished');
  expect(last.endedAt).toBeGreaterThanOrEqual(last.startedAt);
  expect((await temper.resultOf('policy-cccc')).model).toEqual({
    name: 'policy',
    version: 1,
    reused: false,
  });
});

test('how a run ended is known without a control worker, from its history', async () => {
  await startRun('policy-kkkk');
  await startRun('policy-llll');
  await end('policy-kkkk', 'well');
  await end('policy-llll', 'fail');
  await temper.resultOf('policy-kkkk');
  await temper.resultOf('policy-llll').catch(() => {});
  worker.shutdown();
  await working;
  const [well, failed] = await Promise.all(
    ['policy-kkkk', 'policy-llll'].map((run) => temper.getStatus(run)),
  );
  expect(well).toMatchObject({ state: 'finished', result: { model: { name: 'policy' } } });
  expect(well?.stale).toBe('the control worker does not answer');
  expect(failed).toMatchObject({ state: 'failed', failure: 'the corpus is empty' });
  await startWorker();
}, 20_000);

test('a failed run says why', async () => {
  await startRun('policy-dddd');
  await end('policy-dddd', 'fail');
  await expect(temper.resultOf('policy-dddd')).rejects.toMatchObject({
    kind: 'failed',
    message: 'run policy-dddd: the corpus is empty',
  });
  expect((await temper.getStatus('policy-dddd')).state).toBe('failed');
});

test('following a run that was terminated before it began comes to an end', async () => {
  worker.shutdown();
  await working;
  await startRun('policy-jjjj');
  await server.client.workflow.getHandle('pipeline/policy-jjjj').terminate();
  const last = await seen('policy-jjjj', ({ state }) => state !== 'running');
  expect([last.state, last.stages]).toEqual(['failed', []]);
  await startWorker();
});

test('cancelling asks the run to stop, with the reason; an ended run cannot be cancelled', async () => {
  await startRun('policy-eeee');
  await temper.cancel('policy-eeee', 'wrong corpus');
  await expect(temper.resultOf('policy-eeee')).rejects.toMatchObject({ kind: 'failed' });
  const { events } = await server.client.workflow.getHandle('pipeline/policy-eeee').fetchHistory();
  const request = events?.find((event) => event.workflowExecutionCancelRequestedEventAttributes);
  expect(request?.workflowExecutionCancelRequestedEventAttributes?.cause).toBe('wrong corpus');
  await expect(temper.cancel('policy-eeee', 'again')).rejects.toMatchObject({
    kind: 'input',
    message: 'run policy-eeee has ended (cancelled): nothing to cancel.',
  });
});

test('an unknown run is answered with the one that was probably meant', async () => {
  await startRun('policy-ffff');
  await expect
    .poll(() => temper.getStatus('policy-fffg').catch((error: Error) => error.message))
    .toBe('run: found no "policy-fffg". Did you mean policy-ffff?');
  await end('policy-ffff', 'well');
});

test('a name that is taken starts nothing', async () => {
  await startRun('policy-gggg');
  await expect(startRun('policy-gggg')).rejects.toMatchObject({
    kind: 'input',
    message: expect.stringMatching(/^run: "policy-gggg" is taken\./),
  });
  await end('policy-gggg', 'well');
  await temper.resultOf('policy-gggg');
  await expect(startRun('policy-gggg')).rejects.toMatchObject({ kind: 'input' });
});

test('the runs are listed, newest first', async () => {
  await startRun('policy-hhhh');
  await expect
    .poll(async () => (await temper.listRuns()).map(({ run }) => run)[0])
    .toBe('policy-hhhh');
  const [newest] = await temper.listRuns({ limit: 1 });
  expect(newest).toMatchObject({
    run: 'policy-hhhh',
    state: 'running',
    stage: 'ingest',
    endedAt: null,
  });
  await end('policy-hhhh', 'well');
});

test('a configuration too large for history is refused before anything starts', async () => {
  const ask = Array.from({ length: 3000 }, (_, i) => `What is the answer to question ${i}?`);
  const questions = [{ name: 'big', ask, askHeldOut: ['?'], answer: 'x' }];
  const large = { pipeline: { ...pipeline, questions }, baseDir: projectDir };
  await expect(
    temper.startPipeline({ pipeline: large, machine, run: 'policy-big' }),
  ).rejects.toThrow(/found \d+ KB of configuration, expected at most 64 KB/);
  await expect(temper.getStatus('policy-big')).rejects.toMatchObject({ kind: 'input' });
});

test('a status without a control worker is the last one seen, and says so', async () => {
  await startRun('policy-iiii');
  const follow = temper.followStatus('policy-iiii', { everyMs: 50 });
  let status = (await follow.next()).value!;
  while (status.training === null) status = (await follow.next()).value!;
  worker.shutdown();
  await working;
  while (status.stale === null) status = (await follow.next()).value!;
  expect(status.stale).toBe('the control worker does not answer');
  expect(status.stages[0]?.name).toBe('pretrain');
  await startWorker();
  while (status.stale !== null) status = (await follow.next()).value!;
  await follow.return(undefined);
  await end('policy-iiii', 'well');
});

test('a Temporal that is not there is one clear sentence', async () => {
  await expect(connectTemper({ address: '127.0.0.1:1' })).rejects.toMatchObject({
    kind: 'unreachable',
    message: 'Temporal unreachable at 127.0.0.1:1: is the stack up? npx temper up',
  });
});

test('names of new runs begin with the pipeline and differ', () => {
  expect(newRunName('policy')).toMatch(/^policy-[0-9a-f]{4}$/);
  expect(new Set(Array.from({ length: 20 }, () => newRunName('x'))).size).toBeGreaterThan(15);
});

test('the champion before is the highest of the lower versions that were champion', () => {
  const moves = (...versions: number[]) => versions.map((version) => ({ version }));
  expect(previousChampion(moves(1, 2, 4))).toBe(2);
  expect(previousChampion(moves(1, 2, 1))).toBeNull();
  expect(previousChampion(moves(1, 3, 1, 2))).toBe(1);
  expect(previousChampion([])).toBeNull();
});

test('models are listed, shown and rolled back through the workflow of their endpoint', async () => {
  const now = new Date('2026-01-01T00:00:00Z');
  for (const version of [1, 2]) {
    await registerModel(s3.store, modelVersion(version), now);
    await moveAlias(s3.store, 'policy', 'champion', { version, by: 'me', reason: 'test', now });
  }
  await declareDeployment(s3.store, {
    endpoint: 'desk',
    model: 'policy',
    version: 2,
    bundle: digest(2),
    declaredAt: now.toISOString(),
    reason: 'test',
  });
  expect(await temper.models.list()).toEqual([
    { name: 'policy', champion: 2, versions: [1, 2], endpoints: ['desk'] },
  ]);
  expect((await temper.models.show('policy')).version.version).toBe(2);
  expect((await temper.models.show('policy@1')).version.version).toBe(1);
  await expect(temper.models.show('polcy')).rejects.toThrow(/\(policy\)\. Did you mean policy\?/);
  await expect(temper.models.show('policy@9')).rejects.toThrow(
    'policy: found no version 9, expected 1, 2. Name one of them; npx temper models list shows what is served.',
  );
  await expect(temper.models.show('Policy!')).rejects.toMatchObject({ kind: 'input' });

  const done = await temper.models.rollback('policy', { by: 'me', reason: 'wrong tone' });
  expect(done).toEqual({
    model: 'policy',
    from: 2,
    to: 1,
    deployments: [
      { endpoint: 'desk', generation: 11, bundle: 'desk', url: 'http://x', convergedMs: 5 },
    ],
  });
  await expect(temper.models.rollback('policy', { to: 2, by: 'me', reason: 'x' })).rejects.toThrow(
    'policy@2 is already the champion',
  );
});

function digest(version: number): string {
  return String(version).repeat(64);
}

function modelVersion(version: number): Omit<ModelVersion, 'version' | 'createdAt'> {
  const manifest = { schemaVersion: 1, files: {}, weights: digest(version) } as const;
  return {
    schemaVersion: 1,
    name: 'policy',
    bundle: { digest: digest(version), manifest },
    lineage: {
      run: 'policy-aaaa',
      dataset: { name: 'policy', version: 1, digest: digest(3) },
      corpus: digest(4),
      recipe: digest(5),
      phases: [{ phase: 'pretrain', model: digest(version), weights: digest(version) }],
      exact: true,
    },
    evaluations: {},
  };
}
