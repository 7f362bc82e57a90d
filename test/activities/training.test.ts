import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { CancelledFailure } from '@temporalio/activity';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import { CheckpointUploads } from '../../activities/checkpoint-uploads.ts';
import { createTrainActivities } from '../../activities/train.ts';
import type { TrainerStart } from '../../activities/trainer-start.ts';
import { Metrics } from '../../activities/trainer-metrics.ts';
import { endTrainer, findTrainer } from '../../activities/trainer-process.ts';
import type { Generation, TrainedModel } from '../../activities/training-job.ts';
import { FailureType, PassingFailure } from '../../config/failures.ts';
import { loadOf } from '../../config/measurements.ts';
import type { PretrainRecipe } from '../../config/recipe.ts';
import type { TrainerEvent, TrainingProgress } from '../../config/trainer.ts';
import { blobKey } from '../../registry/blobs.ts';
import { reportHost } from '../../registry/hosts.ts';
import { acquireHost, readLeases } from '../../registry/leases.ts';
import type { Store } from '../../registry/store.ts';
import { findMeasurement } from '../../registry/measurements.ts';
import {
  checkpointState,
  commitCheckpoint,
  readEvents,
  readHead,
} from '../../registry/training.ts';
import { storeCorpus } from '../support/records.ts';
import { openGeneration, scriptedDeps, scriptTrainer, until } from '../support/scripted-host.ts';
import { startS3 } from '../support/s3.ts';
import { machine, recipe } from '../support/recipes.ts';

let s3: Awaited<ReturnType<typeof startS3>>;
let corpus: string;
beforeAll(async () => {
  s3 = await startS3();
  corpus = await storeCorpus(s3.store);
});
afterAll(async () => {
  await s3.stop();
});

let home: string;
let runDir: string;
let trial: Generation['job']['trial'];
let deps: Deps;
let activities: ReturnType<typeof createTrainActivities>;
let number = 0;
beforeEach(async () => {
  home = await mkdtemp(path.join(os.tmpdir(), 'temper-train-'));
  trial = { run: `train-${++number}`, phase: 'pretrain', round: 0, trial: 0 };
  runDir = path.join(home, 'runs', trial.run, 'pretrain-0-0');
  deps = scriptedDeps({
    store: s3.store,
    home,
    // One of its own, so that no test waits for the lease of another.
    host: `h${number}`,
  });
  activities = createTrainActivities(deps);
});
afterEach(async () => {
  await endTrainer(runDir, 0);
  await rm(home, { recursive: true, force: true });
});

const script = (what: object) => scriptTrainer(home, what);

async function open({
  numSteps = 30,
  ...phase
}: Partial<PretrainRecipe> = {}): Promise<Generation> {
  const job = {
    trial,
    // A seed of its own, so that no test shares blobs with another.
    recipe: { ...recipe.pretrain, seed: number, numSteps, saveEverySteps: 10, ...phase },
    shape: recipe.model,
    machine,
    corpus,
    init: null,
  };
  return await openGeneration(activities, job);
}

const prepare = async (generation: Generation, env = new MockActivityEnvironment()) =>
  (await env.run(activities.prepareTrainer, generation)) as TrainerStart;
const watch = async (
  generation: Generation,
  start: TrainerStart,
  env = new MockActivityEnvironment(),
) => (await env.run(activities.watchTrainer, { ...generation, start })) as TrainedModel;

/** One generation, as the workflow runs it; `env` lets a test cancel it. */
async function train(generation: Generation, env?: MockActivityEnvironment): Promise<TrainedModel> {
  return await watch(generation, await prepare(generation, env), env);
}

/** The store, whose answers wait while a test holds them back. */
function heldStore(): { store: Store; hold: () => void; release: () => void } {
  let gate = Promise.resolve();
  let release = () => {};
  const wait =
    <A extends unknown[], R>(ask: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      await gate;
      return await ask(...args);
    };
  const { store } = s3;
  return {
    store: {
      ...store,
      get: wait(store.get.bind(store)),
      size: wait(store.size.bind(store)),
      replace: wait(store.replace.bind(store)),
      putIfAbsent: wait(store.putIfAbsent.bind(store)),
      putFileIfAbsent: wait(store.putFileIfAbsent.bind(store)),
    },
    hold: () => {
      gate = new Promise((resolve) => {
        release = resolve;
      });
    },
    release: () => release(),
  };
}

const chain = async () => (await readHead(s3.store, trial))!.value.chain.map(({ step }) => step);
const failure = async (work: Promise<unknown>) =>
  await work.then(
    () => null,
    (error: unknown) => error as Error,
  );

describe('a generation of training', () => {
  test('trains to the end, commits its checkpoints and records the model for everybody', async () => {
    const env = new MockActivityEnvironment();
    const beats: TrainingProgress[] = [];
    env.on('heartbeat', (progress: TrainingProgress) => beats.push(progress));
    const generation = await open();
    const model = await train(generation, env);
    expect(model).toMatchObject({ phase: 'pretrain', numSteps: 30, reused: false });
    expect((await chain()).at(-1)).toBe(20);
    expect(beats.some(({ kind }) => kind === 'training')).toBe(true);
    const again = await activities.findTrainedModel(generation.job);
    expect(again.model).toEqual({ ...model, reused: true });
    const events = (await readEvents(s3.store, trial)) as { event: string; step: number }[];
    expect(events.filter(({ event }) => event === 'step').map(({ step }) => step)).toEqual(
      Array.from({ length: 30 }, (_, index) => index + 1),
    );
  });

  test('a trainer that died is resumed from the newest committed checkpoint, to the same weights', async () => {
    const undisturbed = await train(await open());
    trial = { ...trial, run: `${trial.run}-killed` };
    runDir = path.join(home, 'runs', trial.run, 'pretrain-0-0');
    await script({ dieAt: 27 });
    const lost = await failure(train(await open()));
    expect(lost?.message).toMatch(/died at step 27/);
    const next = await open();
    const start = await prepare(next);
    expect(start).toEqual({
      adopted: false,
      resumedFrom: 20,
      note: 'resumed from step 20, 7 steps lost',
    });
    const model = await watch(next, start);
    expect(model.weights).toBe(undisturbed.weights);
  });

  test('a watcher that is shut down leaves the trainer, and the next one adopts it', async () => {
    await script({ stepMs: 60 });
    const env = new MockActivityEnvironment();
    const watching = failure(train(await open(), env));
    const events = path.join(runDir, 'events.jsonl');
    await until(
      async () => existsSync(events) && /"step":2\b/.test(await readFile(events, 'utf8')),
    );
    const before = await findTrainer(runDir);
    env.cancel('WORKER_SHUTDOWN');
    expect((await watching)?.message).toMatch(/let go/);
    expect(await findTrainer(runDir)).toEqual(before);
    expect(before).toHaveLength(1);

    const next = await open();
    const start = await prepare(next);
    expect(start).toMatchObject({ adopted: true });
    expect(start.note).toMatch(/adopted at step \d+, 0 steps lost/);
    expect(await findTrainer(runDir)).toEqual(before);
    const model = await watch(next, start);
    expect(model.numSteps).toBe(30);
  });

  test('a person who cancels stops the trainer, which saves first', async () => {
    await script({ stepMs: 200 });
    const env = new MockActivityEnvironment();
    const watching = failure(train(await open(), env));
    const told = async () =>
      (await readFile(path.join(runDir, 'events.jsonl'), 'utf8').catch(() => '')) as string;
    await expect.poll(told, { timeout: 10_000 }).toContain('"step"');
    env.cancel('CANCELLED');
    expect(await watching).toBeInstanceOf(CancelledFailure);
    expect(await findTrainer(runDir)).toEqual([]);
    const result = JSON.parse(await readFile(path.join(runDir, 'result.json'), 'utf8')) as object;
    expect(result).toMatchObject({ ok: false, type: 'Stopped' });
  });

  test('a watcher whose generation is over commits nothing and does not touch the trainer', async () => {
    await script({ stepMs: 60 });
    const stale = await open();
    const watching = failure(train(stale));
    await until(() => existsSync(path.join(runDir, 'events.jsonl')));
    const current = await open();
    const error = await watching;
    expect(error).toMatchObject({ type: FailureType.Fenced });
    expect(await findTrainer(runDir)).toHaveLength(1);
    expect(await chain()).toEqual([]);
    expect(await train(current)).toMatchObject({ numSteps: 30 });
  });

  test('a trainer that finished unwatched is taken over without training again', async () => {
    const first = await open();
    await prepare(first);
    while ((await findTrainer(runDir)).length > 0) await sleep(100);
    const next = await open();
    const start = await prepare(next);
    expect(start).toMatchObject({
      adopted: true,
      note: 'the trainer had finished unwatched, 0 steps lost',
    });
    const model = await watch(next, start);
    expect(model.numSteps).toBe(30);
  });

  test.each([
    [FailureType.TrainingDiverged, true],
    [FailureType.InvalidCorpus, true],
    ['Unwatched', false],
  ])(
    '%s of the trainer is a failure of that type, beyond retry: %s',
    async (failWith, nonRetryable) => {
      await script({ failAt: 5, failWith });
      const error = await failure(train(await open()));
      expect(error).toMatchObject({ type: failWith, nonRetryable });
      expect(error?.message).toBe('the trainer ended at step 5: as scripted');
    },
  );

  test('when every checkpoint is damaged the run stops and says so; it never starts over silently', async () => {
    await script({ dieAt: 27 });
    await failure(train(await open()));
    const head = (await readHead(s3.store, trial))!.value;
    for (const entry of head.chain) {
      const found = (await s3.store.get(blobKey(entry.manifest.sha256)))!;
      const bytes = Buffer.from(found.bytes);
      bytes[10]! ^= 1;
      await s3.store.replace(blobKey(entry.manifest.sha256), bytes, found.etag);
    }
    const error = await failure(prepare(await open()));
    expect(error).toMatchObject({ type: FailureType.CheckpointIncompatible, nonRetryable: true });
    expect(error?.message).toContain('no checkpoint of 2 can be read');
    expect(await findTrainer(runDir)).toEqual([]);
  });

  test('when the newest checkpoint is damaged the one before is used, and the loss is told', async () => {
    await script({ dieAt: 27 });
    await failure(train(await open()));
    const head = (await readHead(s3.store, trial))!.value;
    const newest = head.chain.at(-1)!;
    const found = (await s3.store.get(blobKey(newest.manifest.sha256)))!;
    await s3.store.replace(
      blobKey(newest.manifest.sha256),
      Buffer.from(found.bytes.toString().replace('2', '3')),
      found.etag,
    );
    const start = await prepare(await open());
    expect(start.resumedFrom).toBe(10);
    expect(start.note).toMatch(/^resumed from step 10, 17 steps lost \(unreadable: step 20/);
  });

  test('the lack of room is told with figures, and the lack of memory with what to do', async () => {
    const alone = { microBatchSize: 1 };
    await script({ failAt: 5, failWith: 'DiskFull' });
    const full = await failure(train(await open(alone)));
    expect(full).toMatchObject({ type: PassingFailure.DiskFull, nonRetryable: false });
    expect(full?.message).toMatch(
      /disk of host h\d+ is full.*as scripted.*\d+ MB free in .*need about \d+ MB/,
    );
    await script({ failAt: 5, failWith: 'OutOfMemory' });
    const memory = await failure(train(await open(alone)));
    expect(memory).toMatchObject({ type: FailureType.OutOfMemory, nonRetryable: true });
    expect(memory?.message).toMatch(
      /as scripted, with one sequence at once\. Give the host more memory/,
    );
  });

  test('out of memory goes on from the newest checkpoint with half as many sequences at once, until it fits', async () => {
    await script({ failAt: 25, failWith: 'OutOfMemory', room: 4 });
    for (const size of [8, 4]) {
      const lost = await failure(train(await open()));
      expect(lost).toMatchObject({ type: PassingFailure.MicroBatchHalved, nonRetryable: false });
      expect(lost?.message).toBe(
        `out of memory at step 25: from step 20 on ${size} sequences at once, in the same batch`,
      );
    }
    const model = await train(await open());
    expect(model).toMatchObject({ numSteps: 30, microBatches: [{ step: 20, size: 4 }] });
    const { microBatches = [] } = (await readHead(s3.store, trial))!.value;
    expect(microBatches.map(({ step, size, fence }) => [step, size, fence])).toEqual([
      [20, 8, 1],
      [20, 4, 2],
    ]);
    const generation = await open();
    const load = loadOf(generation.job.recipe, generation.job.shape);
    expect(await findMeasurement(s3.store, machine, load)).toMatchObject({ microBatchSize: 4 });
    // What was computed in parts is not what the job names: no other run may take it for that.
    expect(model.stage).not.toBe(generation.stage);
  });

  test('what a lost host computed with more sequences at once than was decided does not count', async () => {
    await script({ failAt: 15, failWith: 'OutOfMemory', room: 8 });
    await failure(train(await open()));
    const generation = await open();
    const writer = { fence: generation.fence, writer: generation.writer };
    const files = {};
    const manifest = {
      schemaVersion: 1 as const,
      step: 20,
      fence: writer.fence,
      files,
      state: checkpointState(files),
    };
    const commit = (microBatches: { step: number; size: number }[]) =>
      commitCheckpoint(s3.store, trial, writer, manifest, { microBatches });
    await expect(commit([])).rejects.toThrow(
      /^step 20 is discarded: it was computed with the planned micro-batch, decided was 8 sequences at once from step 10 on$/,
    );
    await commit([{ step: 10, size: 8 }]);
  });

  test('a host that is leased is not given to another training, which learns who has it', async () => {
    const ask = (holder: string) =>
      activities.leaseHost({ host: null, holder, unwatchedExitS: 60 });
    const { host } = deps;
    expect(await ask('training/a')).toEqual({ host, busy: null });
    const refused = await ask('training/b');
    expect(refused).toMatchObject({ host, busy: { holder: 'training/a' } });
    await activities.releaseHost({ host, holder: 'training/a' });
    expect(await ask('training/b')).toEqual({ host, busy: null });
  });
});

test('a host that has not the GPUs of the plan says so, and stays free', async () => {
  const gpu = { name: 'NVIDIA A100', count: 2, memoryBytes: 40e9 };
  let found: typeof gpu | null = null;
  deps.findGpus = async () => found;
  const ask = { host: null, holder: 'training/a', unwatchedExitS: 60, gpu };
  const { host } = deps;
  const lacks = '2 × NVIDIA A100';
  expect(await activities.leaseHost(ask)).toMatchObject({ host, busy: { lacks } });
  found = { ...gpu, count: 1 };
  expect(await activities.leaseHost(ask)).toMatchObject({ host, busy: { lacks } });
  found = { ...gpu, count: 4 };
  expect(await activities.leaseHost({ ...ask, holder: 'training/b' })).toEqual({
    host,
    busy: null,
  });
  const report = { schemaVersion: 1 as const, host, at: new Date().toISOString() };
  await reportHost(s3.store, 'local', { ...report, gpu: { ...gpu, name: 'NVIDIA T4' } });
  const again = await activities.leaseHost({ ...ask, host, holder: 'training/b' });
  expect(again).toMatchObject({ busy: { lacks } });
});

describe('while the store does not answer', () => {
  test(
    'the trainer stays watched: heartbeats and control.json go on, to the end of training and beyond',
    { timeout: 30_000 },
    async () => {
      await script({ stepMs: 60 });
      const held = heldStore();
      activities = createTrainActivities({ ...deps, store: held.store });
      const generation = await open();
      const start = await prepare(generation);
      const env = new MockActivityEnvironment();
      let beatAt = 0;
      let longest = 0;
      env.on('heartbeat', () => {
        if (beatAt > 0) longest = Math.max(longest, Date.now() - beatAt);
        beatAt = Date.now();
      });
      const watching = watch(generation, start, env);
      await until(async () => (await chain()).length > 0);
      held.hold();
      await until(() => existsSync(path.join(runDir, 'result.json')));
      await sleep(2500);
      const touched = Date.now() - (await stat(path.join(runDir, 'control.json'))).mtimeMs;
      expect(Date.now() - beatAt).toBeLessThan(2000);
      held.release();
      expect(await watching).toMatchObject({ numSteps: 30 });
      expect(longest).toBeLessThan(2000);
      expect(touched).toBeLessThan(2000);
    },
  );

  test('checkpoints that a newer one supersedes may be deleted, but for the one that is on its way', async () => {
    const held = heldStore();
    const generation = await open();
    const head = (await readHead(s3.store, trial))!.value;
    const store = held.store;
    const uploads = new CheckpointUploads({ ...deps, store }, generation, head, async () => {});
    held.hold();
    for (const step of [10, 20, 30]) {
      const folder = path.join(home, String(step));
      await mkdir(folder);
      await writeFile(path.join(folder, 'state.json'), JSON.stringify({ step, files: {} }));
      uploads.offer(step, folder);
    }
    expect(uploads.acknowledged).toEqual([20]);
    held.release();
    await uploads.settle();
    expect(await chain()).toEqual([10, 30]);
    expect(uploads.acknowledged).toEqual([10, 20, 30]);
  });

  test('a checkpoint counts only when the steps that lead to it are stored', async () => {
    const generation = await open();
    const head = (await readHead(s3.store, trial))!.value;
    const metrics = new Metrics(deps, generation, Date.now());
    const committedBefore: number[][] = [];
    const uploads = new CheckpointUploads(deps, generation, head, async () => {
      committedBefore.push(await chain());
      await metrics.flush();
    });
    const folder = path.join(home, '10');
    await mkdir(folder);
    await writeFile(path.join(folder, 'state.json'), JSON.stringify({ step: 10, files: {} }));
    metrics.see({ event: 'save_started', step: 10, at: 1 });
    uploads.offer(10, folder);
    await uploads.settle();
    expect(committedBefore).toEqual([[]]);
    expect(await chain()).toEqual([10]);
    expect(await readEvents(s3.store, trial)).toMatchObject([{ step: 10 }]);
  });

  test('a preparation that was overtaken meanwhile ends nothing and starts nothing', async () => {
    await script({ stepMs: 60 });
    // Its head is read, and then the corpus is long in coming.
    const corpusComes = Promise.withResolvers<void>();
    let asked = false;
    const store: Store = {
      ...s3.store,
      async get(key) {
        if (key.startsWith('stages/')) {
          asked = true;
          await corpusComes.promise;
        }
        return await s3.store.get(key);
      },
    };
    const slow = createTrainActivities({ ...deps, store });
    const stale = await open();
    const overtaken = failure(
      new MockActivityEnvironment().run(slow.prepareTrainer, stale) as Promise<unknown>,
    );
    await until(() => asked);
    const current = await open();
    const preparing = prepare(current);
    await sleep(1000);
    corpusComes.resolve();
    expect(await overtaken).toMatchObject({ type: FailureType.Fenced });
    const start = await preparing;
    await sleep(500);
    expect(await findTrainer(runDir)).toHaveLength(1);
    expect(await watch(current, start)).toMatchObject({ numSteps: 30 });
  });

  test('metrics whose storing got no reply are stored again, each once and none lost', async () => {
    const generation = await open();
    let lost = 0;
    const store: Store = {
      ...s3.store,
      async putIfAbsent(key, bytes) {
        const written = await s3.store.putIfAbsent(key, bytes);
        if (lost++ === 0) throw new Error('no reply');
        return written;
      },
    };
    const metrics = new Metrics({ ...deps, store }, generation, Date.now());
    const events: TrainerEvent[] = [1, 2, 3].map((step) => ({
      event: 'save_started',
      step,
      at: 1,
    }));
    metrics.see(events[0]!);
    await expect(metrics.flush()).rejects.toThrow('no reply');
    metrics.see(events[1]!);
    metrics.see({ event: 'working', what: 'evaluating', at: 1 });
    await metrics.flush();
    metrics.see(events[2]!);
    await metrics.flush();
    expect(await readEvents(s3.store, trial)).toEqual(events);
  });
});

describe('a trainer that nobody watched', () => {
  async function stepsTold(): Promise<unknown[]> {
    const events = (await readEvents(s3.store, trial)) as { event: string; step: number }[];
    return events.flatMap(({ event, step }) => (event === 'step' ? [step] : []));
  }

  /** Trains unwatched until a checkpoint is there, then ends the trainer, which saves once more. */
  async function leaveAlone(): Promise<number> {
    await script({ stepMs: 30 });
    await prepare(await open());
    const checkpoints = path.join(runDir, 'checkpoints');
    await until(() => existsSync(path.join(checkpoints, '10')));
    await endTrainer(runDir, 10_000);
    return Math.max(...(await readdir(checkpoints)).map(Number));
  }

  test('is resumed from what it saved before it left, to the same weights', async () => {
    const undisturbed = await train(await open());
    trial = { ...trial, run: `${trial.run}-left` };
    runDir = path.join(home, 'runs', trial.run, 'pretrain-0-0');
    const saved = await leaveAlone();
    const next = await open();
    const start = await prepare(next);
    expect(start).toMatchObject({ adopted: false, resumedFrom: saved });
    expect(start.note).toBe(`resumed from step ${saved}, 0 steps lost`);
    expect(await chain()).toEqual([saved]);
    expect((await watch(next, start)).weights).toBe(undisturbed.weights);
    expect(await stepsTold()).toEqual(Array.from({ length: 30 }, (_, step) => step + 1));
  });

  test('has told the steps that lead to a checkpoint before that counts', async () => {
    const saved = await leaveAlone();
    const next = await open();
    const toldBefore: unknown[][] = [];
    const replace: Store['replace'] = async (key, ...rest) => {
      if (key.endsWith('/head.json')) toldBefore.push(await stepsTold());
      return await s3.store.replace(key, ...rest);
    };
    activities = createTrainActivities({ ...deps, store: { ...s3.store, replace } });
    await prepare(next);
    expect(toldBefore[0]).toEqual(Array.from({ length: saved }, (_, step) => step + 1));
  });

  test('and whose newest checkpoint is damaged is resumed from the one before', async () => {
    const saved = await leaveAlone();
    expect(saved).toBeGreaterThan(10);
    await writeFile(path.join(runDir, 'checkpoints', String(saved), 'weights'), 'damaged');
    const start = await prepare(await open());
    const before = Math.floor((saved - 1) / 10) * 10;
    expect(start.resumedFrom).toBe(before);
    expect(await chain()).toEqual([before]);
  });

  test('and whose run.json was torn is replaced by one that starts from the chain', async () => {
    await leaveAlone();
    await writeFile(path.join(runDir, 'run.json'), '{"schemaVersion":1,"runDi');
    const next = await open();
    const start = await prepare(next);
    expect(start).toMatchObject({ adopted: false, resumedFrom: null });
    expect(await watch(next, start)).toMatchObject({ numSteps: 30 });
  });
});

describe('the lease of a host', () => {
  const lease = (holder: string) =>
    acquireHost(s3.store, 'local', deps.host, { holder, now: new Date(), ttlMs: 60_000 });

  test('that had run out is regained by the watcher', async () => {
    await train(await open());
    const { hosts } = await readLeases(s3.store, 'local');
    expect(Date.parse(hosts[deps.host]?.expiresAt ?? '')).toBeGreaterThan(Date.now());
  });

  test('that another training took ends this one on that host, and keeps what it has done', async () => {
    await script({ stepMs: 60 });
    const generation = await open();
    const start = await prepare(generation);
    await until(() => existsSync(path.join(runDir, 'checkpoints', '10')));
    await lease('training/other');
    const error = await failure(watch(generation, start));
    expect(error).toMatchObject({ type: PassingFailure.HostTaken, nonRetryable: false });
    expect(error?.message).toMatch(/leased by training\/other/);
    expect(await findTrainer(runDir)).toEqual([]);
    expect((await chain()).at(-1)).toBeGreaterThan(10);
  });
});

describe('stopping a training', () => {
  const stop = async (generation: Generation, keepLog: boolean) => {
    const { stage } = generation;
    const env = new MockActivityEnvironment({ startToCloseTimeoutMs: 120_000 });
    await env.run(activities.stopTrainer, { trial, stage, keepLog });
  };

  test('ends its trainer and removes its folder, and no stale preparation starts it again', async () => {
    await script({ stepMs: 60 });
    const generation = await open();
    await prepare(generation);
    expect(await findTrainer(runDir)).toHaveLength(1);
    await stop(generation, false);
    expect(await findTrainer(runDir)).toEqual([]);
    expect(existsSync(runDir)).toBe(false);
    expect(await failure(prepare(generation))).toMatchObject({ type: FailureType.Fenced });
    expect(await findTrainer(runDir)).toEqual([]);
  });

  test('that failed keeps the files that explain why, and no more', async () => {
    await script({ stepMs: 60 });
    const generation = await open();
    await prepare(generation);
    await until(() => existsSync(path.join(runDir, 'checkpoints', '10')));
    await stop(generation, true);
    const left = (await readdir(runDir)).toSorted();
    expect(left).toEqual(['events.jsonl', 'result.json', 'run.json', 'trainer.log']);
  });

  test('leaves alone a program that only names its files, such as an editor', async () => {
    const generation = await open();
    await mkdir(runDir, { recursive: true });
    const file = path.join(runDir, 'run.json');
    const editor = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', '--', '-m', file]);
    try {
      await once(editor, 'spawn');
      await until(async () =>
        (await readFile(`/proc/${editor.pid}/cmdline`, 'utf8')).includes(file),
      );
      expect(await findTrainer(runDir)).toEqual([]);
      await stop(generation, false);
      expect(editor.exitCode ?? editor.signalCode).toBeNull();
    } finally {
      editor.kill('SIGKILL');
    }
  });
});
