/** Pauses and changes of the learning rate, from the record of a run to the scripted trainer and back, through deaths of each. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import { createRunControlActivities } from '../../activities/run-control.ts';
import { createTrainActivities } from '../../activities/train.ts';
import { TrainerControl } from '../../activities/trainer-control.ts';
import { EventTail, readControl, writeControl } from '../../activities/trainer-files.ts';
import { endTrainer, findTrainer, signalTrainer } from '../../activities/trainer-process.ts';
import type { TrainerStart } from '../../activities/trainer-start.ts';
import type { Generation, TrainedModel } from '../../activities/training-job.ts';
import { modelManifestSchema, type RunControl } from '../../config/manifests.ts';
import type { TrainingProgress } from '../../config/trainer.ts';
import { readBlob } from '../../registry/blobs.ts';
import { readRunControl } from '../../registry/run-control.ts';
import { findStage } from '../../registry/stages.ts';
import type { Store } from '../../registry/store.ts';
import { readCheckpoint, readEvents, readHead } from '../../registry/training.ts';
import { storeCorpus } from '../support/records.ts';
import { machine, recipe } from '../support/recipes.ts';
import { openGeneration, scriptedDeps, scriptTrainer, until } from '../support/scripted-host.ts';
import { startS3 } from '../support/s3.ts';

const numSteps = 60;
const order = { by: 'ann', why: null, at: new Date(0).toISOString() };
let s3: Awaited<ReturnType<typeof startS3>>;
let corpus: string;
let home: string;
let runDir: string;
let trial: Generation['job']['trial'];
let deps: Deps;
let activities: ReturnType<typeof createTrainActivities>;
let number = 900;

beforeAll(async () => {
  s3 = await startS3();
  corpus = await storeCorpus(s3.store);
}, 60_000);
afterAll(async () => s3.stop());

interface Host {
  home: string;
  runDir: string;
  deps: Deps;
}
const hosts: Host[] = [];

/** A host of its own disk. */
async function addHost(): Promise<Host> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'temper-control-'));
  const host = {
    home: folder,
    runDir: path.join(folder, 'runs', trial.run, 'pretrain-0-0'),
    deps: scriptedDeps({
      store: s3.store,
      home: folder,
      host: `h${number}-${hosts.length}`,
    }),
  };
  hosts.push(host);
  await mkdir(path.dirname(host.runDir), { recursive: true });
  return host;
}
/** Everything from here on happens on this host. */
function use(host: Host): void {
  ({ home, runDir, deps } = host);
  activities = createTrainActivities(deps);
}
const script = (what: object) => scriptTrainer(home, what);

beforeEach(async () => {
  trial = { run: `control-${++number}`, phase: 'pretrain', round: 0, trial: 0 };
  use(await addHost());
  await script({ stepMs: 60 });
});
afterEach(async () => {
  for (const host of hosts.splice(0)) {
    await endTrainer(host.runDir, 0);
    await rm(host.home, { recursive: true, force: true });
  }
});

let revision = 0;
async function ask(wish: Partial<RunControl>): Promise<void> {
  const control = { schemaVersion: 1 as const, paused: null, learningRates: [], ...wish };
  const { recordRunControl } = createRunControlActivities(deps);
  await recordRunControl({ run: trial.run, control: { ...control, revision: ++revision } });
}
const halve = { order: 1, phase: 'pretrain' as const, round: 0, scale: 0.5, ...order };

async function open(execution?: string): Promise<Generation> {
  const job = {
    trial,
    recipe: { ...recipe.pretrain, seed: number, numSteps, saveEverySteps: 10 },
    shape: recipe.model,
    machine,
    corpus,
    init: null,
  };
  return { ...(await openGeneration(activities, job)), ...(execution && { execution }) };
}

interface Watch {
  start: TrainerStart;
  beats: TrainingProgress[];
  result: Promise<TrainedModel>;
  /** The worker goes; the trainer stays. */
  leave(): Promise<void>;
}

/** One generation, as the workflow runs it. */
async function train(store: Store = s3.store, execution?: string): Promise<Watch> {
  const own = createTrainActivities({ ...deps, store });
  const env = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') });
  const beats: TrainingProgress[] = [];
  env.on('heartbeat', (beat: TrainingProgress) => {
    if (beat.kind === 'training') beats.push({ ...beat });
  });
  const generation = await open(execution);
  const start = (await env.run(own.prepareTrainer, generation)) as TrainerStart;
  const result = env.run(own.watchTrainer, { ...generation, start }) as Promise<TrainedModel>;
  result.catch(() => undefined);
  const leave = async () => {
    env.cancel('WORKER_SHUTDOWN');
    await result.catch(() => undefined);
  };
  return { start, beats, result, leave };
}

const paused = ({ beats }: Watch) => beats.at(-1)?.paused === true;
const stepOf = ({ beats }: Watch) => beats.at(-1)?.step ?? 0;

/** SHA-256 of what the scripted trainer makes when the rate of each step had this factor. */
function weightsOf(scales: number[]): string {
  const changed = scales.some((scale) => scale !== 1) ? ` scales ${scales.join()}` : '';
  const text = `seed ${number} step ${numSteps}${changed}`;
  const weights = createHash('sha256').update(text).digest('hex').repeat(50);
  return createHash('sha256').update(weights).digest('hex');
}
const unchanged = Array.from({ length: numSteps }, () => 1);
const changedFrom = (step: number, scale: number) =>
  unchanged.map((_, index) => (index >= step ? scale : 1));

describe('a pause', () => {
  test('stops the trainer at a saved step, outlives its watcher, and does not change the bits', async () => {
    const first = await train();
    await until(() => stepOf(first) > 5);
    await ask({ paused: order });
    await until(() => paused(first));
    const step = stepOf(first);
    await first.leave();

    const second = await train();
    expect(second.start).toMatchObject({
      adopted: true,
      note: `the trainer went on and was adopted at step ${step}, 0 steps lost`,
    });
    await until(() => paused(second));
    await sleep(1500);
    expect(stepOf(second)).toBe(step);
    expect((await readHead(s3.store, trial))?.value.chain.at(-1)?.step).toBe(step);
    expect(
      (await activities.openTrainingGeneration({ trial, stage: (await open()).stage, writer: 'x' }))
        .paused,
    ).toBe(true);

    const third = await train();
    await ask({});
    expect(await third.result).toMatchObject({ weights: weightsOf(unchanged), numSteps });
    expect(third.beats.at(-1)?.paused).toBe(false);
  }, 40_000);

  test('is kept by a trainer that takes the place of one killed in it', async () => {
    const first = await train();
    await until(() => stepOf(first) > 5);
    await ask({ paused: order });
    await until(() => paused(first));
    const step = stepOf(first);
    await until(async () => (await readHead(s3.store, trial))?.value.chain.at(-1)?.step === step);
    await signalTrainer(await findTrainer(runDir), 'SIGKILL');
    await expect(first.result).rejects.toThrow(`died at step ${step}`);

    const second = await train();
    expect(second.start).toMatchObject({ adopted: false, resumedFrom: step });
    await until(() => paused(second));
    expect(stepOf(second)).toBe(step);
    await ask({});
    expect((await second.result).weights).toBe(weightsOf(unchanged));
  }, 40_000);

  test.each([
    ['echoes its number', false],
    ['says nothing of it', true],
  ])(
    'that is taken back and asked for again at once is obeyed by a trainer that %s',
    async (_, mute) => {
      // Orders are looked for every two seconds: the steps must outlast three looks.
      await script({ stepMs: 120, mute });
      const first = await train();
      await ask({ paused: order });
      await until(() => paused(first));
      const step = stepOf(first);
      await ask({});
      await until(() => !paused(first));
      await ask({ paused: order });
      await until(() => paused(first) && stepOf(first) > step);
      await ask({});
      expect((await first.result).weights).toBe(weightsOf(unchanged));
    },
    40_000,
  );
});

describe('a change of the learning rate', () => {
  test('counts from a committed step on, and the model is not taken for one of the plain recipe', async () => {
    const watch = await train();
    await until(() => stepOf(watch) > 3);
    await ask({ learningRates: [halve, { ...halve, order: 2, round: 1, scale: 3 }] });
    const model = await watch.result;
    const [decision, ...others] = (await readHead(s3.store, trial))!.value.learningRates;
    expect(others).toEqual([]);
    expect(decision).toEqual({ order: 1, step: decision!.step, scale: 0.5, ...order });
    const { step } = decision!;
    expect(step).toBeGreaterThan(3);
    expect(model.learningRates).toEqual([{ order: 1, step, scale: 0.5 }]);
    expect(model.weights).toBe(weightsOf(changedFrom(step, 0.5)));
    expect(watch.beats.at(-1)?.learningRateScale).toBe(0.5);
    const events = (await readEvents(s3.store, trial)) as { event: string; lr: number }[];
    const rates = events.filter(({ event }) => event === 'step').map(({ lr }) => lr);
    expect(rates).toEqual(changedFrom(step, 0.5));

    const { job, stage } = await open();
    expect((await activities.findTrainedModel(job)).model).toBeNull();
    expect(model.stage).not.toBe(stage);
    const manifest = await findStage(s3.store, 'pretrain', model.stage, modelManifestSchema);
    expect(manifest?.learningRates).toEqual([{ step, scale: 0.5 }]);
  }, 40_000);

  test('holds from the same step for a trainer that resumes from before it', async () => {
    const first = await train();
    await until(() => stepOf(first) > 12);
    await ask({ learningRates: [halve] });
    await until(() => first.beats.at(-1)?.learningRateScale === 0.5);
    const { step } = (await readHead(s3.store, trial))!.value.learningRates[0]!;
    await until(() => stepOf(first) > step + 2);
    await signalTrainer(await findTrainer(runDir), 'SIGKILL');
    await expect(first.result).rejects.toThrow('died at step');
    const second = await train();
    expect(second.start.resumedFrom).toBeLessThanOrEqual(stepOf(first));
    expect((await second.result).weights).toBe(weightsOf(changedFrom(step, 0.5)));
  }, 40_000);

  test('that its watcher did not live to commit is decided by the next one', async () => {
    let asked = 0;
    const store: Store = {
      ...s3.store,
      replace: async (key, bytes, etag) => {
        if (!bytes.toString().includes('"scale":0.5')) return s3.store.replace(key, bytes, etag);
        asked += 1;
        return await new Promise<never>(() => {});
      },
    };
    const first = await train(store);
    await until(() => stepOf(first) > 5);
    await ask({ learningRates: [halve] });
    await until(() => asked > 0);
    await first.leave();
    const stopped = stepOf(first);

    const second = await train();
    const model = await second.result;
    const step = model.learningRates![0]!.step;
    expect(step).toBe(stopped);
    expect(model.weights).toBe(weightsOf(changedFrom(step, 0.5)));
  }, 40_000);

  test('during a pause is decided where the trainer stands, and the last of two orders counts', async () => {
    const watch = await train();
    await until(() => stepOf(watch) > 5);
    await ask({ paused: order });
    await until(() => paused(watch));
    const step = stepOf(watch);
    const learningRates = [halve, { ...halve, order: 2, scale: 2 }];
    await ask({ paused: order, learningRates });
    await until(() => watch.beats.at(-1)?.learningRateScale === 2);
    expect(paused(watch)).toBe(true);
    await ask({ learningRates });
    const model = await watch.result;
    expect(model.learningRates?.map(({ step: at }) => at)).toEqual([step, step]);
    expect(model.weights).toBe(weightsOf(changedFrom(step, 2)));
  }, 40_000);
});

describe('a pause that is asked for again', () => {
  test('does not stand until the trainer says its own number, and nothing is decided before', async () => {
    const generation = await open();
    const head = (await readHead(s3.store, trial))!.value;
    await mkdir(runDir, { recursive: true });
    await writeControl(runDir, { fence: 1, acknowledged: [], paused: false, learningRates: [] });
    const control = await TrainerControl.open(deps, generation, runDir, head);
    const told = async () => (await readControl(runDir))!;
    /** Asks, and obeys until the trainer is told so. */
    const tell = async (wish: Partial<RunControl>, isPaused: boolean) => {
      await ask(wish);
      await until(async () => {
        await control.obey([]);
        return (await told()).paused === isPaused;
      });
    };
    await tell({ paused: order }, true);
    const { pause: first } = await told();
    await tell({}, false);
    await tell({ learningRates: [halve] }, true);
    const { pause: second } = await told();
    expect(second).toBeGreaterThan(first!);

    // It had heard of the first pause, and goes on before it hears of the second.
    control.see({ event: 'paused', step: 5, pause: first, at: 1 });
    expect(control.isPaused).toBe(false);
    await control.obey([]);
    control.see({
      event: 'step',
      step: 6,
      loss: 1,
      lr: 1,
      grad_norm: 1,
      tokens_per_second: 1,
      num_tokens: 1,
      at: 2,
    });
    control.see({ event: 'paused', step: 6, pause: second, at: 3 });
    expect(control.isPaused).toBe(true);
    await until(async () => {
      await control.obey([]);
      return !(await told()).paused;
    });
    expect((await told()).learningRates).toEqual([{ step: 6, scale: 0.5 }]);
  }, 20_000);
});

test('a trainer that was resumed from before the newest checkpoint is halted for an order only when it is there again', async () => {
  const generation = await open();
  const entry = { step: 20, fence: 1, manifest: { sha256: 'a'.repeat(64), bytes: 1 } };
  const head = { ...(await readHead(s3.store, trial))!.value, chain: [entry] };
  await mkdir(runDir, { recursive: true });
  await ask({ learningRates: [halve] });
  const control = await TrainerControl.open(deps, generation, runDir, head);
  const isHalted = async () => {
    await control.obey([]);
    return (await readControl(runDir))!.paused;
  };
  control.see({ event: 'start', step: 10, resumedFrom: 'checkpoints/10', at: 1 });
  expect(await isHalted()).toBe(false);
  control.see({ event: 'save_started', step: 19, at: 2 });
  expect(await isHalted()).toBe(false);
  control.see({ event: 'save_started', step: 20, at: 3 });
  expect(await isHalted()).toBe(true);
});

describe('what a lost host computed at a rate that was changed meanwhile', () => {
  /** The first host goes on unwatched; on the second the rate is halved, at the step that is returned. */
  async function changeElsewhere(stepMs: number): Promise<{ lost: Host; step: number }> {
    const lost = hosts[0]!;
    await script({ stepMs });
    const first = await train();
    await until(() => stepOf(first) > 3);
    await first.leave();
    use(await addHost());
    await script({ stepMs: 200 });
    const second = await train();
    await ask({ learningRates: [halve] });
    await until(() => second.beats.at(-1)?.learningRateScale === 0.5);
    await second.leave();
    await endTrainer(runDir, 0);
    use(lost);
    await script({ stepMs: 10 });
    return { lost, step: (await readHead(s3.store, trial))!.value.learningRates[0]!.step };
  }
  const stepsOf = async () =>
    (await new EventTail(runDir).read()).flatMap((event) =>
      event.event === 'step' ? [event.step] : [],
    );

  test('is not adopted: the living trainer is ended, with what was lost and why, and the model is that of the change', async () => {
    const { step } = await changeElsewhere(300);
    await until(async () => (await stepsOf()).at(-1)! > step);
    const before = await findTrainer(runDir);
    expect(before).toHaveLength(1);
    const third = await train();
    expect(third.start.adopted).toBe(false);
    expect(third.start.resumedFrom ?? 0).toBeLessThanOrEqual(step);
    expect(third.start.note).toMatch(
      new RegExp(
        `^resumed from step \\d+, \\d+ steps lost \\(step \\d+ is discarded: it was computed with the planned rate throughout, decided was ×0.5 from step ${step} on`,
      ),
    );
    expect(await findTrainer(runDir)).not.toEqual(before);
    expect((await third.result).weights).toBe(weightsOf(changedFrom(step, 0.5)));
  }, 60_000);

  test('is not adopted as a result, nor are the checkpoints before it', async () => {
    const { step } = await changeElsewhere(60);
    await until(() => existsSync(path.join(runDir, 'result.json')));
    const third = await train();
    expect(third.start.adopted).toBe(false);
    expect(third.start.resumedFrom ?? 0).toBeLessThanOrEqual(step);
    expect(third.start.note).toContain(`step ${numSteps} is discarded: `);
    expect(third.start.note).toContain('step 50 is discarded: ');
    expect((await third.result).weights).toBe(weightsOf(changedFrom(step, 0.5)));
    const { chain } = (await readHead(s3.store, trial))!.value;
    for (const entry of chain) {
      const { files } = await readCheckpoint(s3.store, entry);
      const state = JSON.parse(String(await readBlob(s3.store, files['state.json']!))) as object;
      expect(state).toMatchObject({ learningRates: entry.step > step ? [[step, 0.5]] : [] });
    }
  }, 60_000);
});

test('a trainer that computes on at the old rate is ended at its next checkpoint, which does not count', async () => {
  await script({ stepMs: 60, deaf: true });
  const first = await train();
  await until(() => stepOf(first) > 3);
  await ask({ learningRates: [halve] });
  await expect(first.result).rejects.toThrow(
    /^step \d+ is discarded: it was computed with the planned/,
  );
  expect(await findTrainer(runDir)).toEqual([]);
  const { learningRates, chain } = (await readHead(s3.store, trial))!.value;
  const { step } = learningRates[0]!;
  expect(chain.at(-1)?.step).toBeLessThanOrEqual(step);
  await script({ stepMs: 10 });
  const second = await train();
  expect(second.start.resumedFrom).toBe(step);
  expect((await second.result).weights).toBe(weightsOf(changedFrom(step, 0.5)));
}, 40_000);

describe('an execution of a run whose name was used before', () => {
  const at = (second: number) => new Date(second * 1000).toISOString();
  const earlier = { id: 'earlier', startedAt: at(1) };
  const later = { id: 'later', startedAt: at(2) };

  test('starts neither paused nor at an old rate, and its first orders count', async () => {
    await script({ stepMs: 40 });
    await ask({ execution: earlier, learningRates: [halve] });
    const first = await train(s3.store, earlier.id);
    await until(() => first.beats.at(-1)?.learningRateScale === 0.5);
    await ask({ execution: earlier, paused: order, learningRates: [halve] });
    await until(() => paused(first));
    await signalTrainer(await findTrainer(runDir), 'SIGKILL');
    await expect(first.result).rejects.toThrow('died at step');

    await script({ stepMs: 200 });
    const second = await train(s3.store, later.id);
    await until(() => stepOf(second) > stepOf(first));
    revision = 0;
    await ask({ execution: later, learningRates: [{ ...halve, scale: 2 }] });
    const model = await second.result;
    const [before, own] = model.learningRates!;
    expect([before?.order, own?.order]).toEqual([null, 1]);
    const scales = changedFrom(before!.step, 0.5).map((scale, index) =>
      index >= own!.step ? 2 : scale,
    );
    expect(model.weights).toBe(weightsOf(scales));
  }, 40_000);

  test('is not told by a late attempt of the earlier one, and says nothing to that one', async () => {
    const stage = (await open()).stage;
    const isPaused = async (execution?: string) =>
      (
        await activities.openTrainingGeneration({
          trial,
          stage,
          writer: `w${Math.random()}`,
          ...(execution && { execution }),
        })
      ).paused;
    await ask({ execution: earlier, paused: order });
    expect(await isPaused(earlier.id)).toBe(true);
    expect(await isPaused(later.id)).toBeUndefined();
    expect(await isPaused()).toBe(true);
    revision = 0;
    await ask({ execution: later });
    revision = 100;
    await ask({ execution: earlier, paused: order });
    expect(await isPaused()).toBeUndefined();
  });

  test('of a version that named no execution leaves a record that one of today begins anew', async () => {
    revision = 7;
    await ask({ paused: order });
    expect(await readRunControl(s3.store, trial.run, later.id)).toBeNull();
    revision = 0;
    await ask({ execution: later });
    expect(await readRunControl(s3.store, trial.run, later.id)).toMatchObject({ revision: 1 });
  });
});

test('an order that comes late does not take back a newer one', async () => {
  await ask({ paused: order });
  const { recordRunControl } = createRunControlActivities(deps);
  const old = { schemaVersion: 1 as const, revision: 0, paused: null, learningRates: [] };
  await recordRunControl({ run: trial.run, control: old });
  expect((await readRunControl(s3.store, trial.run))?.paused).toEqual(order);
});
