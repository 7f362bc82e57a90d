/** Steps timed on the machine, by the scripted trainer: what is recorded of them, and that nothing is left behind. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import {
  createCalibrateActivities,
  medianStepMs,
  type CalibrationOutcome,
} from '../../activities/calibrate.ts';
import type { Deps } from '../../activities/deps.ts';
import { findTrainer } from '../../activities/trainer-process.ts';
import type { TrainingJob } from '../../activities/training-job.ts';
import { loadOf } from '../../config/measurements.ts';
import { readCost, spentMs } from '../../registry/costs.ts';
import { acquireHost, readLeases } from '../../registry/leases.ts';
import { findMeasurement } from '../../registry/measurements.ts';
import { storeCorpus } from '../support/records.ts';
import { machine, recipe } from '../support/recipes.ts';
import { scriptedDeps, scriptTrainer } from '../support/scripted-host.ts';
import { startS3 } from '../support/s3.ts';

let s3: Awaited<ReturnType<typeof startS3>>;
let corpus: string;
let home: string;
let deps: Deps;
let job: TrainingJob;
let number = 0;
beforeAll(async () => {
  s3 = await startS3();
  corpus = await storeCorpus(s3.store);
  home = await mkdtemp(path.join(os.tmpdir(), 'temper-calibrate-'));
});
afterAll(async () => {
  await s3.stop();
  await rm(home, { recursive: true, force: true });
});
beforeEach(() => {
  number += 1;
  deps = scriptedDeps({
    store: s3.store,
    home,
    host: `c${number}`,
  });
  job = {
    trial: { run: `calibrate-${number}`, phase: 'pretrain', round: 0, trial: 0 },
    // A load of its own.
    recipe: { ...recipe.pretrain, numSteps: 200, batchSize: 16 * number },
    shape: recipe.model,
    machine,
    corpus,
    init: null,
  };
});

const script = (what: object) => scriptTrainer(home, what);
const calibrate = async (limitMs = 30_000) =>
  (await new MockActivityEnvironment().run(createCalibrateActivities(deps).calibrateTraining, {
    job,
    numSteps: 6,
    limitMs,
  })) as CalibrationOutcome;
const measured = async () =>
  await findMeasurement(s3.store, machine, loadOf(job.recipe, job.shape));

test('steps are timed and recorded, and trainer, folder and lease are gone; the next one looks it up', async () => {
  await script({ stepMs: 60 });
  const { stepMs, note } = await calibrate();
  expect(note).toBeNull();
  expect(stepMs).toBeGreaterThanOrEqual(60);
  expect((await measured())?.calibration).toMatchObject({ stepMs });
  const runDir = path.join(home, 'runs', job.trial.run, 'calibration-00000000-test-1');
  expect(await findTrainer(runDir)).toEqual([]);
  expect(existsSync(runDir)).toBe(false);
  const lease = (await readLeases(s3.store, 'local')).hosts[deps.host];
  expect(Date.parse(lease!.expiresAt)).toBe(0);
  await script({ stepMs: 1 });
  expect(await calibrate()).toEqual({ stepMs, note: null });
});

const patience = { timeout: 20_000, interval: 100 };
const leaseOf = async () => (await readLeases(s3.store, 'local')).hosts[deps.host];
/** Every sign asks for the lease, and the clock of leases is so far ahead. */
async function withClock<T>(work: (ahead: (ms: number) => void) => Promise<T>): Promise<T> {
  let aheadMs = 0;
  let asked = 0;
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => (asked += 60_000));
  deps = { ...deps, now: () => new Date(Date.now() + aheadMs) };
  try {
    return await work((ms) => (aheadMs = ms));
  } finally {
    clock.mockRestore();
  }
}

test('a long one keeps its lease, and what it took is what the run has spent', async () => {
  await script({ stepMs: 60_000 });
  await withClock(async (ahead) => {
    const began = Date.now();
    const timing = calibrate(8000);
    await vi.waitFor(async () => expect(await leaseOf()).toBeDefined(), patience);
    ahead(100_000);
    await vi.waitFor(
      async () => expect(Date.parse((await leaseOf())!.expiresAt)).toBeGreaterThan(began + 200_000),
      patience,
    );
    expect((await timing).stepMs).toBeNull();
    const cost = await readCost(s3.store, job.trial.run);
    expect(cost.leases).toMatchObject([{ host: deps.host, phase: 'pretrain', round: 0, trial: 0 }]);
    const spent = spentMs(cost, new Date(Date.now() + 1_000_000));
    expect(spent).toBeGreaterThan(100_000);
    expect(spent).toBeLessThan(100_000 + Date.now() - began + 1);
  });
});

test('a host that another leased meanwhile is left to it, and nothing is recorded', async () => {
  await script({ stepMs: 100 });
  const holder = 'training/other';
  await withClock(async () => {
    const timing = calibrate(20_000);
    await vi.waitFor(async () => expect(await leaseOf()).toBeDefined(), patience);
    const now = new Date(Date.now() + 300_000);
    await acquireHost(s3.store, 'local', deps.host, { holder, now, ttlMs: 60_000 });
    expect(await timing).toEqual({
      stepMs: null,
      note: `host ${deps.host} was leased by ${holder} while our lease had run out`,
    });
  });
  expect(
    await findTrainer(path.join(home, 'runs', job.trial.run, 'calibration-00000000-test-1')),
  ).toEqual([]);
  expect(await measured()).toBeNull();
  expect((await leaseOf())?.holder).toBe(holder);
  expect(Date.parse((await leaseOf())!.expiresAt)).toBeGreaterThan(Date.now());
});

test('an attempt that another has taken the place of ends neither its trainer nor its lease', async () => {
  await script({ stepMs: 200 });
  const { calibrateTraining } = createCalibrateActivities(deps);
  const attempt = async (number: number) =>
    (await new MockActivityEnvironment({ attempt: number }).run(calibrateTraining, {
      job,
      numSteps: 6,
      limitMs: 20_000,
    })) as CalibrationOutcome;
  const folder = path.join(home, 'runs', job.trial.run, 'calibration-00000000-test-');
  const first = attempt(1);
  await vi.waitFor(async () => expect(await findTrainer(`${folder}1`)).toHaveLength(1), patience);
  const second = attempt(2);
  expect(await first).toMatchObject({ stepMs: null });
  expect(Date.parse((await leaseOf())!.expiresAt)).toBeGreaterThan(0);
  expect((await second).stepMs).toBeGreaterThan(0);
  expect(Date.parse((await leaseOf())!.expiresAt)).toBe(0);
});

test('a host that trains is not measured', async () => {
  const holder = 'training/other';
  await acquireHost(s3.store, 'local', deps.host, { holder, now: new Date(), ttlMs: 60_000 });
  expect(await calibrate()).toEqual({
    stepMs: null,
    note: `host ${deps.host} is busy with ${holder}`,
  });
  expect(await measured()).toBeNull();
});

test('out of memory is recorded as half the micro-batch, for the plan that follows', async () => {
  await script({ failAt: 2, failWith: 'OutOfMemory' });
  expect(await calibrate()).toEqual({ stepMs: null, note: 'as scripted' });
  expect(await measured()).toMatchObject({ microBatchSize: job.recipe.batchSize / 2 });
});

test('a trainer that is too slow is given up in time', async () => {
  await script({ stepMs: 60_000 });
  const { stepMs, note } = await calibrate(1500);
  expect(stepMs).toBeNull();
  expect(note).toMatch(/^0 steps in \d+ s$/);
  expect(await measured()).toBeNull();
});

test('the median of at least five steps counts', () => {
  expect(medianStepMs([1, 2, 3, 4, 5])).toBeNull();
  expect(medianStepMs([0, 1, 2, 3, 4, 9])).toBe(1000);
  expect(medianStepMs([0, 1, 3, 4, 6, 7, 9])).toBe(1500);
});
