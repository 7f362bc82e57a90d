/** Trainings whose loss goes wrong: what is decided, what is trained after it, and that deaths change nothing. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { ApplicationFailure } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import { decideRollback } from '../../activities/rollback.ts';
import { createTrainActivities } from '../../activities/train.ts';
import { EventTail, readRun } from '../../activities/trainer-files.ts';
import { endTrainer, findTrainer, signalTrainer } from '../../activities/trainer-process.ts';
import type { TrainerStart } from '../../activities/trainer-start.ts';
import type { Generation, TrainedModel } from '../../activities/training-job.ts';
import { modelManifestSchema, type DecidedRollback, type Head } from '../../config/manifests.ts';
import type { TrainerFault } from '../../config/trainer.ts';
import { readBlob } from '../../registry/blobs.ts';
import { describeRollback } from '../../registry/rollbacks.ts';
import { findStage, stageDigest } from '../../registry/stages.ts';
import { readCheckpoint, readEvents, readHead } from '../../registry/training.ts';
import { storeCorpus } from '../support/records.ts';
import { machine, recipe } from '../support/recipes.ts';
import { openGeneration, scriptedDeps, scriptTrainer, until } from '../support/scripted-host.ts';
import { startS3 } from '../support/s3.ts';

const numSteps = 40;
const notFinite = (step: number): TrainerFault => ({
  kind: 'not-finite',
  first: step,
  step,
  found: null,
  bound: null,
});

describe('decideRollback', () => {
  const decide = (fault: TrainerFault, before: DecidedRollback[] = []) =>
    decideRollback(fault, { saveEverySteps: 10 }, before);
  /** Each fault in turn, as a training that meets them one after the other decides. */
  const inTurn = (...faults: TrainerFault[]) =>
    faults.reduce<DecidedRollback[]>((before, fault, index) => {
      const decided = decide(fault, before)!;
      return [...before, { ...decided, fence: index + 1, at: new Date(0).toISOString() }];
    }, []);
  const told = (rollbacks: DecidedRollback[]) =>
    rollbacks.map(({ step, skippedTo, scale }) => [step, skippedTo, scale]);

  test('goes back to the newest planned checkpoint before the first bad step, and past the batches', () => {
    expect(decide(notFinite(37))).toMatchObject({ step: 30, skippedTo: 37, scale: 0.5 });
    // Step 31 is the first after the checkpoint of step 30.
    expect(decide(notFinite(31))).toMatchObject({ step: 30, skippedTo: 31 });
    expect(decide(notFinite(30))).toMatchObject({ step: 20, skippedTo: 30 });
    expect(decide(notFinite(4))).toMatchObject({ step: 0, skippedTo: 4 });
    const spike = { kind: 'spike' as const, first: 30, step: 33, found: 7.125, bound: 4.2 };
    expect(decide(spike)).toMatchObject({ step: 20, skippedTo: 33 });
    expect(describeRollback(decide(spike)!)).toBe(
      'loss 7.13 since step 30, at most 4.20 expected: taken back to step 20, on from batch 33 at ×0.5 of the rate',
    );
  });

  test('counts batches from the beginning of the data, over what was skipped before', () => {
    expect(told(inTurn(notFinite(37), notFinite(45)))).toEqual([
      [30, 37, 0.5],
      // Step 45 read batch 51, counted from 0.
      [40, 52, 0.25],
    ]);
    // Back at the same step: what was skipped there before is skipped still.
    expect(told(inTurn(notFinite(37), notFinite(35)))).toEqual([
      [30, 37, 0.5],
      [30, 42, 0.25],
    ]);
  });

  test('goes one further back where not a step went well, for the checkpoint may be spoilt', () => {
    expect(told(inTurn(notFinite(37), notFinite(31), notFinite(21)))).toEqual([
      [30, 37, 0.5],
      [20, 38, 0.25],
      [10, 39, 0.125],
    ]);
    expect(told(inTurn(notFinite(1), notFinite(1)))).toEqual([
      [0, 1, 0.5],
      [0, 2, 0.25],
    ]);
  });

  test('goes back three times and no more', () => {
    const before = inTurn(notFinite(37), notFinite(38), notFinite(39));
    expect(decide(notFinite(39), before)).toBeNull();
  });
});

let s3: Awaited<ReturnType<typeof startS3>>;
let corpus: string;
let home: string;
let runDir: string;
let trial: Generation['job']['trial'];
let deps: Deps;
let activities: ReturnType<typeof createTrainActivities>;
let number = 700;
const folders: string[] = [];

beforeAll(async () => {
  s3 = await startS3();
  corpus = await storeCorpus(s3.store);
}, 60_000);
afterAll(async () => s3.stop());

/** From here on everything happens in a run, on a host, of its own. */
async function begin(run = `rollback-${++number}`): Promise<void> {
  home = await mkdtemp(path.join(os.tmpdir(), 'temper-rollback-'));
  trial = { run, phase: 'pretrain', round: 0, trial: 0 };
  runDir = path.join(home, 'runs', run, 'pretrain-0-0');
  folders.push(runDir, home);
  deps = scriptedDeps({
    store: s3.store,
    home,
    host: `h${number}-${folders.length}`,
    now: () => new Date(0),
  });
  activities = createTrainActivities(deps);
  await mkdir(path.dirname(runDir), { recursive: true });
}
beforeEach(async () => begin());
afterEach(async () => {
  for (const folder of folders.splice(0)) {
    await endTrainer(folder, 0);
    await rm(folder, { recursive: true, force: true });
  }
});

const script = (what: object) => scriptTrainer(home, what);
const head = async () => (await readHead(s3.store, trial))!.value;

async function open(seed = number): Promise<Generation> {
  const job = {
    trial,
    recipe: { ...recipe.pretrain, seed, numSteps, saveEverySteps: 10 },
    shape: recipe.model,
    machine,
    corpus,
    init: null,
  };
  return await openGeneration(activities, job);
}

/** Which generation decided it depends on how many were lost before. */
const withoutFences = ({ rollbacks }: Head) =>
  rollbacks.map((rollback) => ({ ...rollback, fence: 0 }));

async function stepsDone(): Promise<number> {
  const events = await new EventTail(runDir).read();
  return Math.max(0, ...events.map((event) => (event.event === 'step' ? event.step : 0)));
}

interface Watch {
  start: TrainerStart;
  generation: Generation;
  env: MockActivityEnvironment;
  result: Promise<TrainedModel>;
}
async function watch(seed?: number): Promise<Watch> {
  const env = new MockActivityEnvironment();
  const generation = await open(seed);
  const start = (await env.run(activities.prepareTrainer, generation)) as TrainerStart;
  const result = env.run(activities.watchTrainer, {
    ...generation,
    start,
  }) as Promise<TrainedModel>;
  result.catch(() => undefined);
  return { start, generation, env, result };
}
/** What a generation fails with. */
async function failure(seed?: number): Promise<ApplicationFailure> {
  const { result } = await watch(seed);
  return (await result.then(
    () => expect.unreachable('the training did not fail'),
    (error: unknown) => error,
  )) as ApplicationFailure;
}
/** Generations one after the other, as the workflow opens them, until one has a model. */
async function toTheEnd(seed?: number): Promise<TrainedModel> {
  for (;;) {
    const { result } = await watch(seed);
    const model = await result.catch((error: unknown) => {
      if ((error as ApplicationFailure).type !== 'RolledBack') throw error;
      return null;
    });
    if (model !== null) return model;
  }
}

describe('a training whose loss is no number', () => {
  test('goes on from the checkpoint before it, past the batches, and says so in every record', async () => {
    await script({ poison: [24] });
    const failed = await failure();
    expect(failed).toMatchObject({ type: 'RolledBack', nonRetryable: false });
    expect(failed.message).toBe(
      'a loss or gradient at step 25 that is no number: taken back to step 20, on from batch 25 at ×0.5 of the rate',
    );
    expect(await head()).toMatchObject({
      chain: [{ step: 10 }, { step: 20 }],
      rollbacks: [
        {
          step: 20,
          skippedTo: 25,
          scale: 0.5,
          fence: 1,
          fault: notFinite(25),
          at: '1970-01-01T00:00:00.000Z',
        },
      ],
    });

    const { start, result, generation } = await watch();
    expect(start).toEqual({
      adopted: false,
      resumedFrom: 20,
      note: 'resumed from step 20, 4 steps lost',
    });
    const rollbacks = [{ step: 20, skippedTo: 25, scale: 0.5 }];
    expect((await readRun(runDir))?.rollbacks).toEqual(rollbacks);
    const model = await result;
    expect(model).toMatchObject({ numSteps, rollbacks });
    // It is not what the plain job names: a run without the same decision must not take it for that.
    expect(model.stage).toBe(stageDigest({ stage: generation.stage, rollbacks }));
    const { stage } = generation;
    expect(await findStage(s3.store, 'pretrain', stage, modelManifestSchema)).toBeNull();
    const manifest = await findStage(s3.store, 'pretrain', model.stage, modelManifestSchema);
    expect(manifest).toMatchObject({ rollbacks, numSteps });

    const { chain } = await head();
    expect(chain.map(({ step }) => step)).toEqual([10, 20, 30]);
    for (const entry of chain) {
      const { files } = await readCheckpoint(s3.store, entry);
      const state = JSON.parse(String(await readBlob(s3.store, files['state.json']!))) as object;
      if (entry.step > 20) expect(state).toMatchObject({ rollbacks: [[20, 25, 0.5]] });
      else expect(state).not.toHaveProperty('rollbacks');
    }
    const events = (await readEvents(s3.store, trial)) as { event: string; step: number }[];
    const steps = events.filter(({ event }) => event === 'step').map(({ step }) => step);
    expect(steps).toEqual(Array.from({ length: numSteps }, (_, index) => index + 1));
  }, 60_000);

  test('has the same weights and the same decisions wherever trainer or watcher die', async () => {
    const seed = number;
    const poison = { poison: [24, 33] };
    await script(poison);
    const undisturbed = await toTheEnd(seed);
    const decided = withoutFences(await head());
    expect(decided).toHaveLength(2);

    await begin();
    await script({ ...poison, stepMs: 150 });
    const first = await watch(seed);
    await until(async () => (await stepsDone()) >= 21);
    // It saves first, at a step of which the plan knows nothing.
    await endTrainer(runDir, 10_000);
    await expect(first.result).rejects.toThrow(/asked to stop/);
    expect((await head()).chain.at(-1)!.step).toBeGreaterThan(20);
    await script({ ...poison, stepMs: 40 });
    // The watcher of the second goes before it could decide.
    const second = await watch(seed);
    second.env.cancel('WORKER_SHUTDOWN');
    await second.result.catch(() => undefined);
    await until(() => existsSync(path.join(runDir, 'result.json')));
    expect((await head()).rollbacks).toEqual([]);
    const third = await watch(seed);
    await expect(third.result).rejects.toMatchObject({ type: 'RolledBack' });
    // Of the checkpoints after the step that was returned to none counts, planned or not.
    expect((await head()).chain.at(-1)!.step).toBeLessThanOrEqual(20);
    await script({ ...poison, stepMs: 100 });
    const fourth = await watch(seed);
    await until(async () => (await stepsDone()) >= 23);
    await signalTrainer(await findTrainer(runDir), 'SIGKILL');
    await expect(fourth.result).rejects.toThrow(/died/);
    const model = await toTheEnd(seed);
    expect(model).toEqual(undisturbed);
    expect(withoutFences(await head())).toEqual(decided);
  }, 120_000);

  test('is taken back three times, then fails and says what was tried', async () => {
    await script({ poison: Array.from({ length: 100 }, (_, batch) => batch + 12) });
    const failures = [await failure(), await failure(), await failure(), await failure()];
    expect(failures.map(({ type }) => type)).toEqual([
      'RolledBack',
      'RolledBack',
      'RolledBack',
      'TrainingDiverged',
    ]);
    expect(failures[3]).toMatchObject({ nonRetryable: true });
    expect(failures[3]!.message).toContain('step 1: loss nan. It was taken back 3 times before: ');
    for (const earlier of failures.slice(0, 3)) {
      expect(failures[3]!.message).toContain(earlier.message);
    }
    expect((await head()).chain).toEqual([]);
  }, 60_000);

  test('fails at once where the trainer does not say from where another could go on', async () => {
    await script({ failAt: 12, failWith: 'TrainingDiverged' });
    expect(await failure()).toMatchObject({ type: 'TrainingDiverged', nonRetryable: true });
    expect((await head()).rollbacks).toEqual([]);
  }, 60_000);
});

describe('a host that did not hear of the return', () => {
  test('is not adopted, and nothing that it saved after the step counts', async () => {
    const seed = number;
    await script({ stepMs: 30 });
    const lost = await watch(seed);
    await until(async () => (await head()).chain.length > 0);
    lost.env.cancel('WORKER_SHUTDOWN');
    await lost.result.catch(() => undefined);
    const old = { home, runDir, activities };

    // Elsewhere the same run met a fault, and was taken back.
    await begin(trial.run);
    await script({ poison: [14] });
    const failed = await failure(seed);
    expect(failed.message).toContain('taken back to step 10, on from batch 15');

    ({ home, runDir, activities } = old);
    await until(() => existsSync(path.join(runDir, 'checkpoints', '20')));
    const back = await watch(seed);
    expect(back.start).toMatchObject({ adopted: false, resumedFrom: 10 });
    expect(await back.result).toMatchObject({ rollbacks: [{ step: 10, skippedTo: 15 }] });
  }, 60_000);

  test('a trainer that does not obey a return is ended at its next checkpoint', async () => {
    await script({ poison: [14] });
    await failure();
    await script({ stubborn: true, stepMs: 30 });
    const failed = await failure();
    expect(failed.message).toBe(
      'step 20 is discarded: it was computed with no return to an earlier step, decided was batch 15 after step 10',
    );
    expect((await head()).chain.map(({ step }) => step)).toEqual([10]);
  }, 60_000);
});
