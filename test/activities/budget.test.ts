/** A budget that is held, from the leases of a run to the scripted trainer and back, through deaths of each. */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import { chooseEnding } from '../../activities/ending.ts';
import { createRunControlActivities } from '../../activities/run-control.ts';
import { createTrainActivities } from '../../activities/train.ts';
import { EventTail } from '../../activities/trainer-files.ts';
import { endTrainer, findTrainer, signalTrainer } from '../../activities/trainer-process.ts';
import type { TrainerStart } from '../../activities/trainer-start.ts';
import type { Generation, PhaseBudget, TrainedModel } from '../../activities/training-job.ts';
import { TrainingBudget } from '../../activities/training-budget.ts';
import { modelManifestSchema } from '../../config/manifests.ts';
import type { TrainingProgress } from '../../config/trainer.ts';
import { readCost, spentMs } from '../../registry/costs.ts';
import { findStage } from '../../registry/stages.ts';
import { endingOf, readHead } from '../../registry/training.ts';
import { storeCorpus } from '../support/records.ts';
import { machine, recipe } from '../support/recipes.ts';
import { scriptedDeps, scriptTrainer, until } from '../support/scripted-host.ts';
import { startS3 } from '../support/s3.ts';

const numSteps = 400;
const limit = 600_000;
const workflowExecution = { workflowId: 'training/x', runId: 'r' };
const holder = workflowExecution.workflowId;
let s3: Awaited<ReturnType<typeof startS3>>;
let corpus: string;
let home: string;
let runDir: string;
let trial: Generation['job']['trial'];
let deps: Deps;
let activities: ReturnType<typeof createTrainActivities>;
let number = 700;
/** Added to the clock of the activities, so that a budget is spent within seconds. */
let ahead = 0;

beforeAll(async () => {
  s3 = await startS3();
  corpus = await storeCorpus(s3.store);
}, 60_000);
afterAll(async () => s3.stop());

beforeEach(async () => {
  ahead = 0;
  trial = { run: `budget-${++number}`, phase: 'pretrain', round: 0, trial: 0 };
  home = await mkdtemp(path.join(os.tmpdir(), 'temper-budget-'));
  runDir = path.join(home, 'runs', trial.run, 'pretrain-0-0');
  await mkdir(path.dirname(runDir), { recursive: true });
  deps = scriptedDeps({
    store: s3.store,
    home,
    host: `b${number}`,
    now: () => new Date(Date.now() + ahead),
  });
  activities = createTrainActivities(deps);
  await script({ stepMs: 50 });
});
afterEach(async () => {
  await endTrainer(runDir, 0);
  await rm(home, { recursive: true, force: true });
});

const script = (what: object) => scriptTrainer(home, what);
const budgetOf = (timeMs: number, more: Partial<PhaseBudget> = {}): PhaseBudget => ({
  timeMs,
  usd: null,
  usdPerHour: 0,
  whenSpent: 'finish',
  share: 1,
  ...more,
});

interface Watch {
  start: TrainerStart;
  beats: TrainingProgress[];
  result: Promise<TrainedModel>;
  leave(): Promise<void>;
}

/** One generation, as the workflow runs it. */
async function train(budget: PhaseBudget, execution = 'first'): Promise<Watch> {
  const job = {
    trial,
    recipe: { ...recipe.pretrain, seed: number, numSteps, saveEverySteps: 10 },
    shape: recipe.model,
    machine,
    corpus,
    init: null,
  };
  const { stage } = await activities.findTrainedModel(job);
  await activities.leaseHost({ host: null, holder, unwatchedExitS: 600, trial });
  const writer = `writer-${Math.random()}`;
  const opening = { trial, stage, writer, execution, budget };
  const { fence } = await activities.openTrainingGeneration(opening);
  const generation = { job, stage, fence, writer, execution, budget };
  const env = new MockActivityEnvironment(
    { workflowExecution },
    { logger: new DefaultLogger('ERROR') },
  );
  const beats: TrainingProgress[] = [];
  env.on('heartbeat', (beat: TrainingProgress) => {
    if (beat.kind === 'training') beats.push({ ...beat });
  });
  const start = (await env.run(activities.prepareTrainer, generation)) as TrainerStart;
  const result = env.run(activities.watchTrainer, {
    ...generation,
    start,
  }) as Promise<TrainedModel>;
  result.catch(() => undefined);
  const leave = async () => {
    env.cancel('WORKER_SHUTDOWN');
    await result.catch(() => undefined);
  };
  return { start, beats, result, leave };
}
const giveBack = async () => await activities.releaseHost({ host: deps.host, holder, trial });
const headOf = async () => (await readHead(s3.store, trial))!.value;
const spent = async () => spentMs(await readCost(s3.store, trial.run), deps.now());
/** Until only so much is left: enough to end, and too little for anything else. */
const spendAllBut = async (leftMs = 35_000, of = limit) => {
  ahead += of - leftMs - (await spent());
};
const stepOf = ({ beats }: Watch) => beats.at(-1)?.step ?? 0;

async function add(timeMs: number, id = 'order/1'): Promise<void> {
  const at = new Date().toISOString();
  const added = { id, timeMs, by: 'ann', why: null, at };
  const held = { ...budgetOf(0), shares: { pretrain: 1, sft: 1, dpo: 1 } };
  await createRunControlActivities(deps).recordBudget({ run: trial.run, added, held });
}

/** SHA-256 of what the scripted trainer makes of so many steps. */
function weightsAt(step: number): string {
  const weights = createHash('sha256')
    .update(`seed ${number} step ${step}`)
    .digest('hex')
    .repeat(50);
  return createHash('sha256').update(weights).digest('hex');
}

describe('a training whose budget is spent', () => {
  test('ends within it with a model of its newest checkpoint, and goes on to the same bits when more is added', async () => {
    const first = await train(budgetOf(limit));
    await until(() => stepOf(first) > 25);
    await spendAllBut();
    await expect(first.result).rejects.toThrow(
      /^the budget is spent: 9m \d+s of 10m of machine time; pretrain ends with the checkpoint of step \d+ of 400 \(the newest: /,
    );
    const ending = endingOf(await headOf())!;
    expect(ending.step).toBe(ending.newest);
    const second = await train(budgetOf(limit));
    const model = await second.result;
    await giveBack();
    expect(await spent()).toBeLessThanOrEqual(limit);
    expect(model).toMatchObject({
      numSteps: ending.step,
      weights: weightsAt(ending.step),
      ended: { step: ending.step, numSteps },
    });
    const kept = await findStage(s3.store, 'pretrain', model.stage, modelManifestSchema);
    expect(kept?.ended).toEqual({ step: ending.step, numSteps });

    // Asked again with the same budget, it is the same end.
    expect((await (await train(budgetOf(limit), 'again')).result).stage).toBe(model.stage);
    await giveBack();

    // Not a new run, nor a new trial: the same head, from the checkpoint.
    await script({ stepMs: 2 });
    await add(600_000);
    const third = await train(budgetOf(limit), 'more');
    expect(third.start).toMatchObject({ adopted: false, resumedFrom: ending.step });
    const whole = await third.result;
    expect(whole).toMatchObject({ numSteps, weights: weightsAt(numSteps) });
    expect(whole.ended).toBeUndefined();
    const head = await headOf();
    expect(head.endings).toMatchObject([{ step: ending.step, limitMs: limit }]);
    expect(head.endings![0]!.continuedAt).toBeDefined();
  }, 60_000);

  test('though its trainer was killed and its watcher lost on the way, has spent no more than that', async () => {
    const first = await train(budgetOf(limit));
    await until(() => stepOf(first) > 15);
    ahead += 200_000;
    await signalTrainer(await findTrainer(runDir), 'SIGKILL');
    await expect(first.result).rejects.toThrow('died at step');
    const second = await train(budgetOf(limit));
    await until(() => stepOf(second) > 30);
    await second.leave();
    await spendAllBut();
    const third = await train(budgetOf(limit));
    expect(third.start.adopted).toBe(true);
    await expect(third.result).rejects.toThrow('the budget is spent');
    const model = await (await train(budgetOf(limit))).result;
    await giveBack();
    expect(model.weights).toBe(weightsAt(model.numSteps));
    expect(model.numSteps).toBeGreaterThan(30);
    expect(await spent()).toBeLessThanOrEqual(limit);
    // Generations, kills and an adoption: one lease all the while.
    expect((await readCost(s3.store, trial.run)).leases).toHaveLength(1);
  }, 60_000);

  test('by its own clock, where nobody is there to tell it, saves and exits; the next generation ends it', async () => {
    await script({ stepMs: 50, obstinate: true });
    const first = await train(budgetOf(15_000));
    await first.leave();
    await until(async () => (await findTrainer(runDir)).length === 0);
    const steps = (await new EventTail(runDir).read()).filter(({ event }) => event === 'step');
    expect(steps.length).toBeLessThan(numSteps);
    ahead = 15_000;
    const second = await train(budgetOf(15_000));
    expect(endingOf(await headOf())?.step).toBe(steps.length);
    expect((await second.result).weights).toBe(weightsAt(steps.length));
  }, 60_000);

  test('by what is added while it goes, goes on', async () => {
    const watch = await train(budgetOf(limit));
    await until(() => stepOf(watch) > 5);
    await watch.leave();
    await add(600_000);
    await add(600_000);
    await spendAllBut();
    const next = await train(budgetOf(limit));
    const step = stepOf(watch);
    await until(() => stepOf(next) > step + 20);
    expect(next.beats.at(-1)?.budget?.limitMs).toBe(1_200_000);
    expect((await headOf()).endings).toBeUndefined();
    await next.leave();
  }, 60_000);

  test('ends with an earlier checkpoint where held-out text has got less likely since, and keeps the newest to go on from', async () => {
    await script({ stepMs: 100, heldOut: { 10: 3, 20: 2, 30: 2.5 } });
    const first = await train(budgetOf(limit));
    await until(() => stepOf(first) > 31);
    await spendAllBut();
    await expect(first.result).rejects.toThrow(
      /step 20 of 400 \(the best on held-out text: 2.000 nats a token, and 2.500 at step 30\)/,
    );
    const { newest } = endingOf(await headOf())!;
    expect(newest).toBeGreaterThan(30);
    const model = await (await train(budgetOf(limit))).result;
    expect(model).toMatchObject({ numSteps: 20, weights: weightsAt(20) });
    await script({ stepMs: 2 });
    await add(600_000);
    const third = await train(budgetOf(limit), 'more');
    expect(third.start.resumedFrom).toBe(newest);
    expect((await third.result).weights).toBe(weightsAt(numSteps));
  }, 60_000);

  test('that is to wait makes no model: it says where it stands, and goes on from there when more is added', async () => {
    const waiting = budgetOf(limit, { whenSpent: 'wait' });
    const first = await train(waiting);
    await until(() => stepOf(first) > 5);
    await spendAllBut(3_000);
    await expect(first.result).rejects.toThrow(
      /^the budget is spent: .*; pretrain waits at step \d+ of 400$/,
    );
    await giveBack();
    const before = await spent();
    ahead += 3_600_000;
    expect(await spent()).toBe(before);
    const { chain } = await headOf();
    expect(endingOf(await headOf())).toBeUndefined();
    await script({ stepMs: 2 });
    await add(600_000);
    const second = await train(waiting);
    expect(second.start.resumedFrom).toBe(chain.at(-1)!.step);
    expect((await second.result).weights).toBe(weightsAt(numSteps));
  }, 60_000);

  test('without a checkpoint cannot end with a model, and says how it goes on', async () => {
    await expect(train(budgetOf(1000))).rejects.toThrow(
      `pretrain has made no checkpoint that a model could be made of. Add to it: npx temper budget add ${trial.run} 30m`,
    );
  }, 20_000);
});

describe('what one training knows of its budget', () => {
  /** Ten steps of a second each, of so many. */
  async function budgetAfter(steps: number, budget: PhaseBudget): Promise<TrainingBudget> {
    const job = {
      trial,
      recipe: { ...recipe.pretrain, numSteps: steps },
      shape: recipe.model,
      machine,
      corpus,
      init: null,
    };
    await activities.leaseHost({ host: null, holder, unwatchedExitS: 600, trial });
    const generation = {
      job,
      stage: 'a'.repeat(64),
      fence: 1,
      writer: 'w',
      execution: 'e',
      budget,
    };
    const known = (await TrainingBudget.open(deps, generation, runDir))!;
    for (let step = 1; step <= 10; step += 1) {
      const figures = { loss: 1, lr: 1, grad_norm: 1, tokens_per_second: 1, num_tokens: 1 };
      known.see({ event: 'step', step, ...figures, at: 1000 + step });
    }
    known.see({ event: 'working', what: 'evaluating', at: 1011 });
    known.see({ event: 'eval', step: 10, val_loss: 1, val_bpb: 1, at: 1012 });
    return known;
  }
  const after = (ms: number) => new Date(deps.now().getTime() + ms);

  test('the last steps are not cut off when what is left suffices for them, as measured', async () => {
    const [short, long] = [
      await budgetAfter(15, budgetOf(limit)),
      await budgetAfter(400, budgetOf(limit)),
    ];
    const at = after(limit - 40_000);
    expect([short.isDue(at, 100), long.isDue(at, 100)]).toEqual([false, true]);
    expect(short.isDue(after(limit - 10_000), 100)).toBe(true);
    expect(long.isDue(after(limit / 2), 100)).toBe(false);
  });

  test('one that only waits afterwards is stopped later than one of which a model is made', async () => {
    const at = after(limit - 30_000);
    expect((await budgetAfter(400, budgetOf(limit))).isDue(at, 100)).toBe(true);
    const waiting = await budgetAfter(400, budgetOf(limit, { whenSpent: 'wait' }));
    expect(waiting.isDue(at, 100)).toBe(false);
    expect(waiting.stopAt(deps.now(), 100)).toBeLessThanOrEqual(after(limit).getTime() / 1000);
  });

  test('dollars count by the price of the machine, and a share is of what was left when it began', async () => {
    const dollars = budgetOf(0, { timeMs: null, usd: 2, usdPerHour: 4, share: 0.5 });
    const known = await budgetAfter(400, dollars);
    expect(known.totals(deps.now()).limitMs).toBe(1_800_000);
    expect(known.leftMs(deps.now()) / 900_000).toBeCloseTo(1, 2);
  });
});

describe('the checkpoint that a training ends with', () => {
  test.each<[string, number[], [number, number][], number | null]>([
    ['is the newest where nothing was measured', [10, 20], [], 20],
    [
      'is the newest while held-out text gets likelier',
      [10, 20, 30],
      [
        [10, 3],
        [20, 2],
      ],
      30,
    ],
    [
      'is the best where a later look was worse',
      [10, 20, 30],
      [
        [10, 2],
        [20, 3],
      ],
      10,
    ],
    [
      'is the newest where the best look fell between checkpoints',
      [10, 20],
      [
        [15, 1],
        [18, 2],
      ],
      20,
    ],
    [
      'is not chosen by a look after the newest',
      [10, 20],
      [
        [10, 2],
        [25, 3],
      ],
      20,
    ],
    ['is none where there is none', [], [[5, 1]], null],
  ])('%s', (_, checkpoints, measured, step) => {
    const looks = measured.map(([at, loss]) => ({ step: at, loss }));
    expect(chooseEnding(checkpoints, looks)?.step ?? null).toBe(step);
  });
});
