import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { CancelledFailure } from '@temporalio/activity';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import { createTrainActivities } from '../../activities/train.ts';
import type { TrainerStart } from '../../activities/trainer-start.ts';
import { endTrainer, findTrainer } from '../../activities/trainer-process.ts';
import type { Generation, TrainedModel } from '../../activities/training-job.ts';
import { FailureType } from '../../config/failures.ts';
import { corpusManifestSchema, type CorpusManifest } from '../../config/manifests.ts';
import type { TrainingProgress } from '../../config/trainer.ts';
import { blobKey, putBlob } from '../../registry/blobs.ts';
import { recordStage, stageDigest } from '../../registry/stages.ts';
import { readEvents, readHead } from '../../registry/training.ts';
import { startS3 } from '../support/s3.ts';
import { machine, recipe } from '../support/recipes.ts';

let s3: Awaited<ReturnType<typeof startS3>>;
let corpus: string;
beforeAll(async () => {
  s3 = await startS3();
  const blob = await putBlob(s3.store, Buffer.from('{}'));
  const manifest: CorpusManifest = {
    schemaVersion: 1,
    dataset: { name: 'test', version: 1, digest: 'd'.repeat(64) },
    tokenizer: blob,
    vocabSize: 512,
    tokenBytes: 2,
    shards: [{ tokens: blob, index: blob, numDocuments: 1, numTokens: 1 }],
    heldOut: { documents: blob, tokens: blob, numDocuments: 1, numTokens: 1, bytes: 2 },
    instructions: null,
    statistics: {
      numDocuments: 2,
      kept: 2,
      dropped: {},
      redacted: {},
      numTokens: 1,
      bytes: 2,
      characters: 2,
      scripts: {},
    },
    droppedDocuments: blob,
  };
  corpus = stageDigest(manifest);
  await recordStage(s3.store, 'preprocess', corpus, corpusManifestSchema, manifest);
});
afterAll(async () => {
  await s3.stop();
});

let home: string;
let runDir: string;
let trial: Generation['job']['trial'];
let activities: ReturnType<typeof createTrainActivities>;
let number = 0;
beforeEach(async () => {
  home = await mkdtemp(path.join(os.tmpdir(), 'temper-train-'));
  trial = { run: `train-${++number}`, phase: 'pretrain', round: 0, trial: 0 };
  runDir = path.join(home, 'runs', trial.run, 'pretrain-0-0');
  const projectDir = path.resolve(import.meta.dirname, '../..');
  const deps: Deps = {
    store: s3.store,
    home,
    python: path.join(projectDir, 'test/support/scripted-trainer.mjs'),
    projectDir,
    host: 'h1',
    now: () => new Date(),
  };
  activities = createTrainActivities(deps);
});
afterEach(async () => {
  await endTrainer(runDir, 0);
  await rm(home, { recursive: true, force: true });
});

async function script(what: object): Promise<void> {
  await mkdir(path.dirname(runDir), { recursive: true });
  await writeFile(path.join(home, 'runs', 'script.json'), JSON.stringify(what));
}

async function open(numSteps = 30): Promise<Generation> {
  const job = {
    trial,
    // A seed of its own, so that no test shares blobs with another.
    recipe: { ...recipe.pretrain, seed: number, numSteps, saveEverySteps: 10 },
    shape: recipe.model,
    machine,
    corpus,
    init: null,
  };
  const { stage } = await activities.findTrainedModel(job);
  const writer = `writer-${Math.random()}`;
  const { fence } = await activities.openTrainingGeneration({ trial, writer });
  return { job, stage, fence, writer };
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
    await sleep(1500);
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
    await script({ stepMs: 60 });
    const env = new MockActivityEnvironment();
    const watching = failure(train(await open(), env));
    await sleep(1500);
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
    await sleep(300);
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
    [FailureType.OutOfMemory, true],
    [FailureType.InvalidCorpus, true],
    ['DiskFull', false],
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

  test('a host that is leased is not given to another training', async () => {
    const holder = { holder: 'training/a', unwatchedExitS: 60 };
    expect(await activities.leaseHost(holder)).toEqual({ host: 'h1' });
    await expect(activities.leaseHost({ ...holder, holder: 'training/b' })).rejects.toThrow(
      /leased to another/,
    );
    await activities.releaseHost({ host: 'h1', holder: 'training/a' });
    expect(await activities.leaseHost({ ...holder, holder: 'training/b' })).toEqual({ host: 'h1' });
    await activities.releaseHost({ host: 'h1', holder: 'training/b' });
  });
});
