/** A gpu worker whose host goes when it gets SIGTERM: what it trains is handed over to the worker of another host. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Worker } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTrainActivities } from '../../activities/train.ts';
import { endTrainer } from '../../activities/trainer-process.ts';
import { parseEnvironment } from '../../config/environment.ts';
import { describeMachine } from '../../infra/machine.ts';
import { readEvents, readHead } from '../../registry/training.ts';
import { trainingWorkflow } from '../../workflows/training.ts';
import { trainingInput } from '../support/recipes.ts';
import { storeCorpus } from '../support/records.ts';
import { scriptedDeps, scriptTrainer, until } from '../support/scripted-host.ts';
import { startS3, type TestS3 } from '../support/s3.ts';
import { bundleWorkflows, startTimeSkipping } from '../support/temporal.ts';

const trial = { run: 'leaving', phase: 'pretrain', round: 0, trial: 0 } as const;
let root: string;
let s3: TestS3;
let env: Awaited<ReturnType<typeof startTimeSkipping>>;
const workers: ChildProcess[] = [];
const said: string[] = [];
const homeOf = (host: string) => path.join(root, host);
const runDirOf = (host: string) => path.join(homeOf(host), 'runs', trial.run, 'pretrain-0-0');

beforeAll(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'temper-worker-leaving-'));
  [s3, env] = await Promise.all([startS3(), startTimeSkipping()]);
}, 60_000);
afterAll(async () => {
  for (const worker of workers) worker.kill('SIGKILL');
  for (const host of ['a', 'b']) await endTrainer(runDirOf(host), 0);
  await Promise.all([env.teardown(), s3.stop()]);
  await rm(root, { recursive: true, force: true });
}, 60_000);

/** As on a machine of its own. */
async function startWorker(host: string, settings: Record<string, string>): Promise<ChildProcess> {
  // The first host is far from its end when it is told to leave, on a busy machine too.
  await scriptTrainer(homeOf(host), { stepMs: host === 'a' ? 400 : 20 });
  const { projectDir, python } = scriptedDeps({ store: s3.store, home: homeOf(host), host });
  const worker = spawn(process.execPath, ['workers/gpu.ts'], {
    cwd: projectDir,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      TEMPER_HOME: homeOf(host),
      TEMPER_HOST: host,
      TEMPER_PYTHON: python,
      TEMPER_STACK_HOME: homeOf(host),
      TEMPER_S3_ENDPOINT: s3.endpoint,
      TEMPER_S3_BUCKET: s3.store.bucket,
      AWS_ACCESS_KEY_ID: s3.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
      TEMPORAL_ADDRESS: env.address,
      ...settings,
    },
  });
  workers.push(worker);
  worker.stdout.on('data', (chunk: Buffer) => said.push(chunk.toString()));
  return worker;
}

test(
  'SIGTERM to a worker whose host goes hands its training over at the very step, and it ends by itself',
  { timeout: 120_000 },
  async () => {
    const corpus = await storeCorpus(s3.store);
    const deps = scriptedDeps({
      store: s3.store,
      home: path.join(root, 'control'),
      host: 'control',
    });
    const control = await Worker.create({
      connection: env.nativeConnection,
      taskQueue: 'control',
      workflowBundle: await bundleWorkflows(),
      activities: createTrainActivities(deps),
    });
    await control.runUntil(async () => {
      const a = await startWorker('a', { TEMPER_SIGTERM: 'leave' });
      const recipe = { ...trainingInput.recipe, numSteps: 60, saveEverySteps: 1000 };
      const handle = await env.client.workflow.start(trainingWorkflow, {
        workflowId: 'training/leaving/pretrain/0',
        taskQueue: 'control',
        args: [{ ...trainingInput, run: trial.run, machine: describeMachine(), recipe, corpus }],
      });
      const events = () =>
        readFile(path.join(runDirOf('a'), 'events.jsonl'), 'utf8').catch(() => '');
      await expect.poll(events, { timeout: 60_000 }).toContain('"step","step":5,');
      const exited = once(a, 'exit');
      a.kill('SIGTERM');
      await until(async () => ((await readHead(s3.store, trial))?.value.chain.length ?? 0) > 0);
      const { step } = (await readHead(s3.store, trial))!.value.chain[0]!;
      expect(step).toBeLessThan(60);
      await rm(path.join(homeOf('a'), 'runs', 'script.json'));
      expect(await exited).toEqual([0, null]);
      // It is told to leave when it is started: it takes no work until that is taken back.
      await writeFile(path.join(homeOf('a'), 'leaving'), 'maintenance');
      await startWorker('a', {});
      await until(() => /takes no work while \S+leaving says so/.test(said.join('')));
      await startWorker('b', {});
      expect(await handle.result()).toMatchObject({ numSteps: 60 });
      const told = (await readEvents(s3.store, trial)) as { event: string; step: number }[];
      const stepsOf = (event: string) =>
        told.flatMap((each) => (each.event === event ? [each.step] : []));
      expect(stepsOf('start')).toEqual([0, step]);
      expect(stepsOf('step')).toEqual(Array.from({ length: 60 }, (_, index) => index + 1));
    });
  },
);

test('the metadata service is asked only at an address that leads to this machine or its host', () => {
  const parse = (address: string) =>
    parseEnvironment({ TEMPER_HOME: '/h', TEMPER_PYTHON: 'p', TEMPER_EC2_METADATA: address });
  for (const near of [
    'http://169.254.169.254',
    'http://127.0.0.1:9',
    'http://[fd00:ec2::254]',
    'http://[::1]:80',
  ]) {
    expect(parse(near).TEMPER_EC2_METADATA).toBe(near);
  }
  for (const far of [
    'http://10.0.0.1',
    'https://169.254.169.254',
    'http://localhost',
    'http://169.254.169.254.example.org',
    'http://127.0.0.1@example.org',
    'http://[fd00::1]',
    'metadata',
  ]) {
    expect(() => parse(far)).toThrow(/TEMPER_EC2_METADATA \(expected http:\/\/ and a link-local/);
  }
});
