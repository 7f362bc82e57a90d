/**
 * Temporal's database is lost in the middle of a training, with the trainer and the documents: the run goes on from S3
 * alone to the same weights. A real server, store, workflows, workers and training activities; a scripted trainer.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from '@temporalio/client';
import { MockActivityEnvironment } from '@temporalio/testing';
import { NativeConnection, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createIngestActivities } from '../../activities/ingest.ts';
import { createPlanActivities } from '../../activities/plan.ts';
import { createTrainActivities } from '../../activities/train.ts';
import { endTrainer } from '../../activities/trainer-process.ts';
import type { TrainerStart } from '../../activities/trainer-start.ts';
import type { Generation, TrainedModel } from '../../activities/training-job.ts';
import { foundLines } from '../../client/cli/recover.ts';
import { connectTemper, type TemperClient } from '../../client/client.ts';
import { corpusManifestSchema } from '../../config/manifests.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import { gpuHostQueue, TaskQueue } from '../../config/queues.ts';
import { recipeSchema, type Recipe } from '../../config/recipe.ts';
import { putBlob } from '../../registry/blobs.ts';
import { getRunRecord, putRunRecord } from '../../registry/runs.ts';
import { recordStage } from '../../registry/stages.ts';
import { openStore, type Store } from '../../registry/store.ts';
import { readHead } from '../../registry/training.ts';
import {
  datasetAttribute,
  modelAttribute,
  runAttribute,
  stageAttribute,
} from '../../workflows/search-attributes.ts';
import { runCommand } from '../support/command.ts';
import { scriptedDeps } from '../support/scripted-host.ts';
import { pipelineActivities } from '../support/pipeline-activities.ts';
import { corpusOf, digestOf } from '../support/records.ts';
import { machine } from '../support/recipes.ts';
import { freePorts, startS3, type TestS3 } from '../support/s3.ts';
import { bundleWorkflows } from '../support/temporal.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
const root = mkdtempSync(path.join(os.tmpdir(), 'temper-recover-'));
const home = path.join(root, 'home');
const docs = path.join(root, 'docs');
const host = 'recovering';
const corpus = digestOf('c');
const run = 'policy-7f3a';
const trial = { run, phase: 'pretrain' as const, round: 0, trial: 0 };
const runDir = path.join(home, 'runs', run, 'pretrain-0-0');
const pipeline = pipelineSchema.parse({
  version: 1,
  name: 'policy',
  data: { sources: [{ path: './docs', license: 'internal' }] },
  goal: 'base',
  budget: { time: '50s' },
});
const limitMs = 90_000;

let s3: TestS3;
let server: ChildProcess;
let port: number;
let workers: Worker[] = [];
let working: Promise<unknown>;
let native: NativeConnection;
let temper: TemperClient;

const depsOf = (store: Store, folder: string) => scriptedDeps({ store, home: folder, host });

/** An empty database: what was there before is gone. */
async function startServer(number: number): Promise<void> {
  const keys = [runAttribute, modelAttribute, datasetAttribute, stageAttribute];
  const file = path.join(root, `temporal-${number}.sqlite`);
  const flags = ['--headless', '--ip', '127.0.0.1', '--port', String(port), '--db-filename', file];
  server = spawn(
    path.join(projectDir, '.venv/bin/temporal'),
    [
      'server',
      'start-dev',
      ...flags,
      ...keys.flatMap(({ name }) => ['--search-attribute', `${name}=Keyword`]),
    ],
    { stdio: 'ignore' },
  );
  for (;;) {
    const answers = await Connection.connect({
      address: `127.0.0.1:${port}`,
      connectTimeout: 1000,
    }).catch(() => null);
    if (answers !== null) return await answers.close();
    await sleep(100);
  }
}

async function killServer(number: number): Promise<void> {
  const gone = once(server, 'exit');
  server.kill('SIGKILL');
  await gone;
  rmSync(path.join(root, `temporal-${number}.sqlite`), { force: true });
}

beforeAll(async () => {
  mkdirSync(docs);
  mkdirSync(path.join(home, 'runs'), { recursive: true });
  for (const number of [1, 2, 3])
    writeFileSync(path.join(docs, `${number}.txt`), `Rule ${number}.`);
  // Behind the first of its checkpoints.
  writeFileSync(path.join(home, 'runs', 'script.json'), JSON.stringify({ hangAt: 170 }));
  port = (await freePorts(1))[0]!;
  const [started, workflowBundle] = await Promise.all([
    startS3(),
    bundleWorkflows(),
    startServer(1),
  ]);
  s3 = started;
  const blob = await putBlob(s3.store, Buffer.from('{}'));
  const manifest = corpusOf('policy');
  await recordStage(s3.store, 'preprocess', corpus, corpusManifestSchema, {
    ...manifest,
    tokenizer: blob,
    shards: [{ tokens: blob, index: blob, numDocuments: 1, numTokens: 1 }],
    heldOut: { ...manifest.heldOut, documents: blob, tokens: blob },
  });
  const deps = depsOf(s3.store, home);
  const activities = {
    ...pipelineActivities().activities,
    ...createIngestActivities(deps),
    ...createPlanActivities(deps),
    ...createTrainActivities(deps),
  };
  native = await NativeConnection.connect({ address: `127.0.0.1:${port}` });
  const queues = [TaskQueue.data, TaskQueue.gpu, gpuHostQueue(host)];
  const common = { connection: native, activities, maxHeartbeatThrottleInterval: '500ms' as const };
  workers = await Promise.all([
    Worker.create({ ...common, taskQueue: TaskQueue.control, workflowBundle }),
    ...queues.map((taskQueue) => Worker.create({ ...common, taskQueue })),
  ]);
  working = Promise.all(workers.map((worker) => worker.run()));
  temper = await connectTemper({ address: `127.0.0.1:${port}`, store: s3.store });
}, limitMs);
afterAll(async () => {
  for (const worker of workers) worker.shutdown();
  await working;
  await temper?.close();
  await native?.close();
  server?.kill('SIGKILL');
  await endTrainer(runDir, 0);
  await s3?.stop();
  rmSync(root, { recursive: true, force: true });
}, limitMs);

const chain = async () => (await readHead(s3.store, trial))?.value.chain ?? [];
const until = async (condition: () => Promise<boolean>) => {
  while (!(await condition())) await sleep(50);
};

/** The same job in a bucket and a home of its own, where nothing is killed. */
async function undisturbed({ pretrain, model }: Recipe): Promise<TrainedModel> {
  const { endpoint, accessKeyId, secretAccessKey } = s3;
  const keys = { accessKeyId, secretAccessKey };
  const store = openStore({ endpoint, region: 'us-east-1', bucket: 'temper-undisturbed', ...keys });
  await store.ensureBucket();
  const found = (await s3.store.get(`stages/preprocess/${corpus}.json`))!;
  await store.putIfAbsent(`stages/preprocess/${corpus}.json`, found.bytes);
  await putBlob(store, Buffer.from('{}'));
  const folder = path.join(root, 'undisturbed');
  const { findTrainedModel, openTrainingGeneration, prepareTrainer, watchTrainer } =
    createTrainActivities(depsOf(store, folder));
  const job = { trial, recipe: pretrain!, shape: model, machine, corpus, init: null };
  const { stage } = await findTrainedModel(job);
  const { fence } = await openTrainingGeneration({ trial, stage, writer: 'one' });
  const generation: Generation = { job, stage, fence, writer: 'one' };
  const env = new MockActivityEnvironment();
  const start = (await env.run(prepareTrainer, generation)) as TrainerStart;
  const trained = (await env.run(watchTrainer, { ...generation, start })) as TrainedModel;
  store.close();
  return trained;
}

describe('a run whose Temporal is lost', () => {
  test(
    'goes on from its newest checkpoint, above the lost generation, to the same weights',
    { timeout: limitMs },
    async () => {
      await temper.startPipeline({ pipeline: { pipeline, baseDir: root }, machine, run });
      await until(async () => (await chain()).length > 0);
      await expect(temper.findRecoverable({ run })).rejects.toThrow(
        `run ${run} goes on: Temporal knows it as running, so there is nothing to recover.`,
      );

      await killServer(1);
      await endTrainer(runDir, 0);
      rmSync(docs, { recursive: true });
      rmSync(path.join(home, 'runs', 'script.json'));
      await startServer(2);
      await expect(temper.getStatus(run)).rejects.toThrow(`found no "${run}"`);

      const found = await temper.findRecoverable({ run });
      const durable = (await chain()).at(-1)!;
      expect(found).toMatchObject({ known: null, dataset: 'policy@1', corpus, version: null });
      expect(found.trainings).toMatchObject([
        { phase: 'pretrain', durableStep: durable.step, numGenerations: 1, finished: false },
      ]);
      expect(foundLines(found).join('\n')).toMatch(
        /Temporal does not know it; S3 remembers\n.*policy@1\n.*corpus c{12}\n.*round 1\n.*step \d+ of \d+ is durable; goes on from there as generation 2/,
      );
      await temper.recover(found);
      const result = await temper.resultOf(run);

      const recipe = (await getRunRecord(s3.store, run, 'plan', recipeSchema))!;
      expect(result.digests.weights).toBe((await undisturbed(recipe)).weights);
      const status = await temper.getStatus(run);
      expect(status.stages.slice(0, 2).map(({ state }) => state)).toEqual(['reused', 'reused']);
      const told = status.notes.map(({ text }) => text).join('\n');
      const [, from] = /resumed from step (\d+)/.exec(told) ?? [];
      // What the trainer saved as it was ended counts too, where its host is still there.
      expect(Number(from)).toBeGreaterThanOrEqual(durable.step);
      const head = (await readHead(s3.store, trial))!.value;
      const after = head.chain.filter(({ step }) => step > durable.step);
      expect(after.length).toBeGreaterThan(0);
      expect(after.every(({ fence }) => fence === 2)).toBe(true);
      expect(head.finished).not.toBeNull();
    },
  );

  test('is not recovered once it has finished', async () => {
    await expect(temper.findRecoverable({ run })).rejects.toThrow(`run ${run} has finished`);
  });

  test('is recovered as well where Temporal knows that it was ended', async () => {
    const ended = 'policy-ended';
    const spec = { schemaVersion: 1, pipeline, machine, baseDir: root };
    await temper.startPipeline({ pipeline: { pipeline, baseDir: root }, machine, run: ended });
    await temper.cancel(ended, 'a test');
    await expect(temper.resultOf(ended)).rejects.toThrow();
    await putRunRecord(s3.store, ended, 'spec', spec);
    const found = await temper.findRecoverable({ run: ended });
    expect(foundLines(found)[0]).toBe(`run ${ended}: Temporal knows it as cancelled; S3 remembers`);
    await temper.recover(found);
    await expect(temper.recover(found)).rejects.toThrow(`run: "${ended}" is taken`);
    await temper.cancel(ended, 'a test').catch(() => undefined);
  });

  test(
    'that was never begun is answered with the nearest, by the command too',
    { timeout: 60_000 },
    async () => {
      await expect(temper.findRecoverable({ run: 'policy-7f3b' })).rejects.toThrow(
        `run: found no "policy-7f3b". Did you mean ${run}?`,
      );
      const temporal = `127.0.0.1:${port}`;
      const { exitCode, stderr } = await runCommand(s3, ['recover', 'policy-7f3b'], { temporal });
      expect([exitCode, stderr]).toEqual([2, expect.stringContaining(`Did you mean ${run}?`)]);
    },
  );

  test('and whose record names no folder asks for it', async () => {
    await putRunRecord(s3.store, 'policy-old', 'spec', { schemaVersion: 1, pipeline, machine });
    await expect(temper.findRecoverable({ run: 'policy-old' })).rejects.toThrow(
      'npx temper recover policy-old --base-dir <folder>',
    );
    const found = await temper.findRecoverable({ run: 'policy-old', baseDir: root });
    expect(found).toMatchObject({ dataset: null, trainings: [], input: { baseDir: root } });
    expect(foundLines(found).join('\n')).toContain(`the sources in ${root} are read again`);
  });

  test('and which set out from a champion follows that version, not the one of today', async () => {
    const from = { ...pipeline, startFrom: 'policy@champion' };
    const spec = { schemaVersion: 1, pipeline: from, machine, baseDir: root };
    await putRunRecord(s3.store, 'policy-next', 'spec', spec);
    const inputs = { schemaVersion: 1, startFrom: 'policy@3' };
    await putRunRecord(s3.store, 'policy-next', 'inputs', inputs);
    const { input } = await temper.findRecoverable({ run: 'policy-next' });
    expect(input).toMatchObject({ follows: 3, pipeline: { startFrom: 'policy@3' } });
  });
});
