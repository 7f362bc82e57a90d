/** Trials under the real watcher: what a rung leaves behind, that deaths change nothing, and what is decided once. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import { createSweepActivities, type Rung } from '../../activities/sweep.ts';
import { createTrainActivities } from '../../activities/train.ts';
import { EventTail, readResult } from '../../activities/trainer-files.ts';
import { endTrainer, findTrainer, signalTrainer } from '../../activities/trainer-process.ts';
import type { TrainerStart } from '../../activities/trainer-start.ts';
import type { Generation, RungEnd, TrainedModel } from '../../activities/training-job.ts';
import { bestTrial, type RungOutcome } from '../../config/sweep.ts';
import { chosenTrial, readDecisions } from '../../registry/decisions.ts';
import { readEvents, readHead } from '../../registry/training.ts';
import { storeCorpus } from '../support/records.ts';
import { machine, recipe } from '../support/recipes.ts';
import { scriptedDeps, scriptTrainer, until } from '../support/scripted-host.ts';
import { startS3 } from '../support/s3.ts';

// A trainer takes seconds to start and to be seen ending on a busy machine.
vi.setConfig({ testTimeout: 60_000 });
const numSteps = 40;
const phase = { ...recipe.pretrain, numSteps, decaySteps: 20, saveEverySteps: 10 };

let s3: Awaited<ReturnType<typeof startS3>>;
let corpus: string;
let home: string;
let run: string;
let deps: Deps;
let number = 0;
beforeAll(async () => {
  s3 = await startS3();
  corpus = await storeCorpus(s3.store);
}, 60_000);
afterAll(async () => s3.stop());

beforeEach(async () => {
  run = `sweep-${++number}`;
  home = await mkdtemp(path.join(os.tmpdir(), 'temper-sweep-'));
  deps = scriptedDeps({
    store: s3.store,
    home,
    host: `sweep-h${number}`,
    now: () => new Date(0),
  });
  await mkdir(path.join(home, 'runs'), { recursive: true });
  await script({});
});
afterEach(async () => {
  for (const trial of [0, 1, 2]) await endTrainer(runDirOf(trial), 0);
  await rm(home, { recursive: true, force: true });
});

const script = (what: object) => scriptTrainer(home, { stepMs: 5, rated: true, ...what });
const trialOf = (trial: number) => ({ run, phase: 'pretrain' as const, round: 0, trial });
const runDirOf = (trial: number) => path.join(home, 'runs', run, `pretrain-0-${trial}`);
const jobOf = (trial: number, learningRate: number): Generation['job'] => ({
  trial: trialOf(trial),
  recipe: { ...phase, learningRate },
  shape: recipe.model,
  machine,
  corpus,
  init: null,
});

let opened = 0;
async function open(job: Generation['job'], until?: number) {
  const activities = createTrainActivities(deps);
  const { stage } = await activities.findTrainedModel(job);
  const writer = `writer-${++opened}`;
  const { fence } = await activities.openTrainingGeneration({ trial: job.trial, stage, writer });
  const generation = { job, stage, fence, writer, ...(until !== undefined && { until }) };
  const start = (await new MockActivityEnvironment().run(
    activities.prepareTrainer,
    generation,
  )) as TrainerStart;
  return { ...generation, start };
}

/** One rung of a trial, by one generation. */
async function trainRung(job: Generation['job'], until: number): Promise<RungEnd> {
  const watched = await open(job, until);
  const { watchTrial } = createSweepActivities(deps);
  return (await new MockActivityEnvironment().run(watchTrial, watched)) as RungEnd;
}

async function trainToTheEnd(job: Generation['job']) {
  const watched = await open(job);
  const { watchTrainer } = createTrainActivities(deps);
  const model = (await new MockActivityEnvironment().run(watchTrainer, watched)) as TrainedModel;
  const head = (await readHead(deps.store, job.trial))!.value;
  return { model, head, resumedFrom: watched.start.resumedFrom };
}

test('a rung whose last checkpoint is damaged keeps its folder, from which the next generation goes on', async () => {
  const job = jobOf(0, 0.04);
  const watched = await open(job, 20);
  const { watchTrial } = createSweepActivities(deps);
  await until(async () => (await readResult(runDirOf(0))) !== null);
  await writeFile(path.join(runDirOf(0), 'checkpoints', '20', 'weights'), 'damaged');
  const watching = new MockActivityEnvironment().run(watchTrial, watched);
  await expect(watching).rejects.toThrow(
    'the checkpoint of step 20, where the rung ended, is not stored',
  );
  expect(existsSync(runDirOf(0))).toBe(true);
  expect(await trainRung(job, 20)).toMatchObject({ step: 20 });
  expect((await readHead(deps.store, trialOf(0)))!.value.chain.at(-1)!.step).toBe(20);
});

test('the trial that is left has the model of a run that had its rate from the start, under the same digest', async () => {
  const end = await trainRung(jobOf(1, 0.02), 7);
  expect(end).toEqual({ step: 7, loss: 5 / 7 + 1, valBpb: (5 / 7 + 1) / 2 });
  // The next rung may train on another host: nothing is left on this one.
  expect(existsSync(runDirOf(1))).toBe(false);
  expect(await trainRung(jobOf(1, 0.02), 14)).toMatchObject({ step: 14 });
  const swept = await trainToTheEnd(jobOf(1, 0.02));
  expect(swept.resumedFrom).toBe(14);
  const tried = swept.head.chain.map(({ step }) => step);
  expect(tried).toEqual(expect.arrayContaining([7, 14]));

  const own = { ...jobOf(0, 0.02), trial: { ...trialOf(0), run: `${run}-alone` } };
  const alone = await trainToTheEnd(own);
  expect(swept.model).toMatchObject({ stage: alone.model.stage, weights: alone.model.weights });
  // By the heads: of a stage that is recorded, the first is taken over.
  expect(swept.head.finished!.sha256).toBe(alone.head.finished!.sha256);
  const other = await trainToTheEnd({
    ...own,
    recipe: { ...own.recipe, learningRate: 0.04 },
  }).catch((error: unknown) => error);
  expect(String(other)).toContain('another job');
  const events = (await readEvents(deps.store, trialOf(1))) as { event: string; step: number }[];
  const steps = events.filter(({ event }) => event === 'step').map(({ step }) => step);
  expect(steps).toEqual(Array.from({ length: numSteps }, (_, index) => index + 1));
});

test('a trial whose trainer is killed in its rung ends it with the same loss', async () => {
  const job = jobOf(0, 0.01);
  await script({ stepMs: 40 });
  const watched = await open(job, 25);
  const { watchTrial } = createSweepActivities(deps);
  const watching = new MockActivityEnvironment().run(watchTrial, watched).catch(String);
  for (let step = 0; step < 12; await sleep(10)) {
    const seen = await new EventTail(runDirOf(0)).read();
    step = Math.max(0, ...seen.map((event) => (event.event === 'step' ? event.step : 0)));
  }
  await signalTrainer(await findTrainer(runDirOf(0)), 'SIGKILL');
  expect(await watching).toContain('died');
  expect(await trainRung(job, 25)).toMatchObject({ step: 25, loss: 5 / 25 + 2 });
  expect((await readHead(deps.store, job.trial))!.value.chain.at(-1)!.step).toBe(25);
});

test('a rung that ended while nobody watched is taken over by the next generation', async () => {
  const job = jobOf(0, 0.08);
  await open(job, 6);
  while ((await readResult(runDirOf(0))) === null) await sleep(20);
  expect(await trainRung(job, 6)).toEqual({ step: 6, loss: 5 / 6 + 1, valBpb: (5 / 6 + 1) / 2 });
});

test('a trainer that knows no rungs is refused with what to do', async () => {
  await script({ unaware: true });
  await expect(trainRung(jobOf(0, 0.02), 7)).rejects.toThrow(/does not know untilStep/);
});

test('a rung is decided once, whoever asks, and every run keeps its own record of it', async () => {
  const now = deps.now;
  const { findRung, recordRung } = createSweepActivities(deps);
  const { trial: _, recipe: shared, ...job } = jobOf(0, 0.02);
  const recipes = [0.02, 0.04].map((learningRate, trial) => ({
    trial,
    recipe: { ...shared, learningRate },
  }));
  const rung: Rung = {
    run,
    phase: 'pretrain',
    round: 0,
    rung: 0,
    step: 7,
    goOn: 1,
    job,
    recipes,
  };
  const outcome = (goesOn: number[]): RungOutcome => ({
    step: 7,
    trials: [0.02, 0.04].map((learningRate, trial) => ({
      trial,
      multiple: trial + 1,
      learningRate,
      loss: 3 - trial,
      valBpb: null,
    })),
    goesOn,
  });
  expect(await findRung(rung)).toBeNull();
  expect(await recordRung({ rung, outcome: outcome([1]) })).toEqual(outcome([1]));
  const first = await readDecisions(deps.store, run);
  expect(first!.sweep).toEqual([
    { phase: 'pretrain', round: 0, rung: 0, ...outcome([1]), at: now().toISOString() },
  ]);
  deps.now = () => new Date(1e12);
  // A second recorder adopts what the first one decided.
  expect(await recordRung({ rung, outcome: outcome([0]) })).toEqual(outcome([1]));
  expect(await readDecisions(deps.store, run)).toEqual(first);
  expect(await chosenTrial(deps.store, { run, phase: 'pretrain', round: 0 })).toBe(1);
  expect(await chosenTrial(deps.store, { run, phase: 'pretrain', round: 1 })).toBe(0);
  const other = { ...rung, run: `${run}-again` };
  expect(await findRung(other)).toEqual(outcome([1]));
  expect((await readDecisions(deps.store, other.run))!.sweep).toHaveLength(1);
  expect(await findRung({ ...rung, step: 8 })).toBeNull();
  expect(bestTrial([], { phase: 'pretrain', round: 0 })).toBe(0);
});
