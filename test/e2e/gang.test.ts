/** Two gpu workers as processes, each on a host of its own; one host is lost in the middle: it comes back, or fewer will do. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { countPhases } from '../../client/cli/ledger-module.ts';
import { gatherLedger } from '../../client/ledger/ledger.ts';
import { ledgerLines } from '../../client/ledger/words.ts';
import { traceRun } from '../../client/report/gather.ts';
import { modelManifestSchema } from '../../config/manifests.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import { createGangActivities } from '../../activities/gang.ts';
import { createTrainActivities } from '../../activities/train.ts';
import { endTrainer, findTrainer, signalTrainer } from '../../activities/trainer-process.ts';
import type { Deps } from '../../activities/deps.ts';
import type { TrainerRun } from '../../config/trainer.ts';
import { describeMachine } from '../../infra/machine.ts';
import { putBlob, readBlob } from '../../registry/blobs.ts';
import { hostPool, livingHosts } from '../../registry/hosts.ts';
import { addRunInputs, putRunRecord } from '../../registry/runs.ts';
import { readHead } from '../../registry/training.ts';
import type { GangWish } from '../../workflows/gang.ts';
import { trainingWorkflow } from '../../workflows/training.ts';
import { makeHosts, type Hosts } from '../support/namespaces.ts';
import { recipe, trainingInput } from '../support/recipes.ts';
import { storeCorpus } from '../support/records.ts';
import { startS3, type TestS3 } from '../support/s3.ts';
import { endOfTextTokenizer } from '../support/tokenizers.ts';
import { workflowsPath } from '../support/temporal.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
const python = path.join(projectDir, '.venv/bin/python');
const runs = ['gang', 'elastic'] as const;
type Run = (typeof runs)[number];
const trialOf = (run: Run) => ({ run, phase: 'pretrain', round: 0, trial: 0 }) as const;
/** As its hosts are, or none of them would be leased. */
const machine = describeMachine();
const shape = { ...recipe.model, hiddenSize: 32, intermediateSize: 64, numLayers: 1, numHeads: 2 };
const phase = {
  ...recipe.pretrain,
  numSteps: 240,
  optimizer: 'adamw' as const,
  learningRate: 5e-4,
  adamLearningRate: 5e-4,
  saveEverySteps: 20,
  evalEverySteps: 1000,
  warmupSteps: 5,
  decaySteps: 100,
  batchSize: 4,
  contextLength: 32,
  threads: 1,
  worldSize: 2,
};
const numDocuments = 64;

let root: string;
let s3: TestS3;
let server: TestWorkflowEnvironment;
let hosts: Hosts;
let corpus: string;
let stopControl: () => Promise<void>;
const workers: (ChildProcess | null)[] = [null, null];
const homeOf = (host: number) => path.join(root, `host-${host}`);
const runDirOf = (host: number, run: Run) => path.join(homeOf(host), 'runs', run, 'pretrain-0-0');
let places: { temporal: string; s3: string };

function startWorker(host: number): void {
  mkdirSync(homeOf(host), { recursive: true });
  const argv = [...hosts.enter(host), process.execPath, 'workers/gpu.ts'];
  workers[host] = spawn(argv[0]!, argv.slice(1), {
    cwd: projectDir,
    stdio: 'ignore',
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      TEMPER_HOME: homeOf(host),
      TEMPER_HOST: `host-${host}`,
      TEMPER_GANG_ADDRESS: hosts.addresses[host],
      TEMPER_PYTHON: python,
      TEMPER_S3_ENDPOINT: `http://${places.s3}`,
      TEMPER_S3_BUCKET: s3.store.bucket,
      AWS_ACCESS_KEY_ID: s3.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
      TEMPORAL_ADDRESS: places.temporal,
    },
  });
}

const lives = (worker: ChildProcess | null): worker is ChildProcess =>
  worker?.exitCode === null && worker.signalCode === null;

/** As when the power fails. */
async function killHost(host: number): Promise<void> {
  const worker = workers[host] ?? null;
  if (lives(worker)) {
    const exited = once(worker, 'exit');
    worker.kill('SIGKILL');
    await exited;
  }
  for (const run of runs) await signalTrainer(await findTrainer(runDirOf(host, run)), 'SIGKILL');
}

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  root = await mkdtemp(path.join(os.tmpdir(), 'temper-gang-e2e-'));
  hosts = makeHosts(process.pid % 200, 2);
  [s3, server] = await Promise.all([
    startS3(),
    TestWorkflowEnvironment.createLocal({
      server: {
        executable: { type: 'existing-path', path: path.join(projectDir, '.venv/bin/temporal') },
      },
    }),
  ]);
  places = {
    temporal: await hosts.expose(Number(server.address.split(':')[1])),
    s3: await hosts.expose(Number(new URL(s3.endpoint).port)),
  };
  const tokenizer = await putBlob(s3.store, endOfTextTokenizer());
  const tokens = Uint16Array.from({ length: 8192 }, (_, place) => (place * 7) % 64);
  const documents = Array.from({ length: numDocuments }, (_, number) => {
    const length = tokens.length / numDocuments;
    // Its last token is the end of the text.
    return JSON.stringify({ first: number * length, id: `d${number}`, num: length - 1 });
  });
  const index = await putBlob(s3.store, Buffer.from(`${documents.join('\n')}\n`));
  corpus = await storeCorpus(s3.store, { tokens, tokenizer, index });
  const deps: Deps = {
    store: s3.store,
    home: path.join(root, 'control'),
    python,
    projectDir,
    host: 'control',
    now: () => new Date(),
  };
  const control = await Worker.create({
    connection: server.nativeConnection,
    taskQueue: 'control',
    workflowsPath,
    activities: { ...createTrainActivities(deps), ...createGangActivities(deps) },
  });
  const running = control.run();
  stopControl = async () => {
    control.shutdown();
    await running;
  };
}, 120_000);
afterAll(async () => {
  for (const host of [0, 1]) {
    await killHost(host);
    for (const run of runs) await endTrainer(runDirOf(host, run), 0);
  }
  await stopControl();
  await Promise.all([server.teardown(), s3.stop()]);
  hosts.remove();
  await rm(root, { recursive: true, force: true });
}, 60_000);

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 240_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within 240 s: ${what}`);
    await sleep(50);
  }
}

const head = async (run: Run) => (await readHead(s3.store, trialOf(run)))?.value;

/** Starts a training on both hosts, and waits until it has made a checkpoint. */
async function startTraining(run: Run, gang: GangWish, recipe: typeof phase) {
  for (const [host, worker] of workers.entries()) if (!lives(worker)) startWorker(host);
  await until('both hosts say that they live', async () => {
    return (await livingHosts(s3.store, hostPool, new Date())).length === 2;
  });
  const job = { ...trainingInput, run, recipe, shape, machine, corpus, gang };
  const handle = await server.client.workflow.start(trainingWorkflow, {
    workflowId: `training/${run}/pretrain/0`,
    taskQueue: 'control',
    args: [job],
  });
  await until('a checkpoint counts', async () => ((await head(run))?.chain.length ?? 0) > 0);
  return handle;
}

/** What two ranks on one host make of it, undisturbed. */
async function weightsOfOneHost(run: TrainerRun): Promise<string> {
  const runDir = path.join(root, 'alone');
  mkdirSync(runDir);
  const { gang: _, ...alone } = run;
  const config = path.join(runDir, 'run.json');
  writeFileSync(config, JSON.stringify({ ...alone, runDir, resumeFrom: null }));
  const args = ['-m', 'trainer.launch', '--config', config];
  await promisify(execFile)(python, args, { cwd: projectDir });
  const weights = readFileSync(path.join(runDir, 'model/model.safetensors'));
  return createHash('sha256').update(weights).digest('hex');
}

test(
  'a run on two hosts, one of which is lost with its disk, ends with the bits of one host',
  { timeout: 600_000 },
  async () => {
    const handle = await startTraining('gang', { numHosts: 2, elastic: false }, phase);
    const planned = JSON.parse(
      readFileSync(path.join(runDirOf(0, 'gang'), 'run.json'), 'utf8'),
    ) as TrainerRun;
    const meeting = (await head('gang'))!.gang!;
    await killHost(1);
    await rm(homeOf(1), { recursive: true });
    startWorker(1);

    const model = await handle.result();
    expect(meeting).toMatchObject({ hosts: ['host-0', 'host-1'], address: hosts.addresses[0] });
    const { fence, chain, gang, worlds } = (await head('gang'))!;
    expect(fence).toBeGreaterThan(1);
    expect(gang!.meeting).not.toBe(meeting.meeting);
    expect(gang!.step).toBeGreaterThan(0);
    expect(worlds).toBeUndefined();
    expect(new Set(chain.map((entry) => entry.fence)).size).toBe(2);
    expect(model).toMatchObject({ numSteps: 240, reused: false });
    for (const host of [0, 1]) {
      expect(await findTrainer(runDirOf(host, 'gang'))).toEqual([]);
      expect(existsSync(runDirOf(host, 'gang'))).toBe(false);
    }
    expect(model.weights).toBe(await weightsOfOneHost(planned));
  },
);

test(
  'a run that may go on smaller ends on the host that is left, says from which step, and reads every token as planned',
  { timeout: 600_000 },
  async () => {
    const { store } = s3;
    const run = 'elastic';
    // The same again would be a look-up.
    const recipe = { ...phase, seed: phase.seed + 1 };
    const handle = await startTraining(run, { numHosts: 2, elastic: true, patienceS: 1 }, recipe);
    await killHost(1);
    // As it is once three of its reports are missing.
    await store.remove(`hosts/${hostPool}/host-1.json`);

    const model = await handle.result();
    const { gang, worlds, chain, finished, fence } = (await head(run))!;
    expect(gang!.hosts).toEqual(['host-0']);
    expect(worlds).toEqual([{ step: gang!.step, numHosts: 1 }]);
    expect(gang!.step).toBeGreaterThanOrEqual(phase.saveEverySteps);
    expect(gang!.step).toBeLessThan(phase.numSteps);
    expect(chain.at(-1)!.fence).toBe(fence);
    expect(model).toMatchObject({ numSteps: phase.numSteps, reused: false, worlds });
    const manifest = JSON.parse((await readBlob(store, finished!)).toString('utf8')) as unknown;
    expect(modelManifestSchema.parse(manifest)).toMatchObject({ exact: false, worlds });

    const sources = [{ path: './docs', license: 'internal' }];
    const pipeline = pipelineSchema.parse({ version: 1, name: run, data: { sources } });
    await putRunRecord(store, run, 'spec', { pipeline, machine });
    await addRunInputs(store, run, { corpus });
    const trace = await traceRun({ temporal: null, store, run });
    const ledger = await gatherLedger({ store, run, trace, count: countPhases });
    const [pretrain] = ledger.phases;
    expect(pretrain!.steps.faults).toEqual([]);
    expect(ledger).toMatchObject({ proven: true, missing: [] });
    expect(pretrain).toMatchObject({ finished: true, worlds });
    expect(pretrain!.steps).toMatchObject({
      durable: phase.numSteps,
      checkpoints: { num: chain.length, agreeing: chain.length },
    });
    const { generations } = pretrain!.steps;
    expect(generations.at(-1)).toMatchObject({ began: 'resumed', from: gang!.step });
    const { seen, documents } = pretrain!.counted;
    const foretold = Object.entries(seen).reduce((sum, [n, num]) => sum + Number(n) * num, 0);
    expect(foretold).toBe(phase.numSteps * phase.batchSize * phase.contextLength);
    expect(documents).toMatchObject({ num: numDocuments, never: 0 });
    expect(ledgerLines(pretrain!)).toContainEqual([
      'hosts',
      `1 host from step ${gang!.step} on: not exact`,
    ]);
  },
);
