import { setTimeout as sleep } from 'node:timers/promises';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import { Worker, type WorkflowBundle } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TrainActivities } from '../../activities/train.ts';
import type { TrainedModel } from '../../activities/training-job.ts';
import { FailureType, PassingFailure } from '../../config/failures.ts';
import { InvalidRecord, NameTaken } from '../../registry/errors.ts';
import { budgetAddedSignal, unpausedSignal } from '../../workflows/messages.ts';
import { trainingWorkflow, type TrainingInput } from '../../workflows/training.ts';
import { bundleWorkflows, startTimeSkipping } from '../support/temporal.ts';
import { trainingInput } from '../support/recipes.ts';

let env: TestWorkflowEnvironment;
let workflowBundle: WorkflowBundle;
beforeAll(async () => {
  [env, workflowBundle] = await Promise.all([startTimeSkipping(), bundleWorkflows()]);
}, 60_000);
afterAll(async () => {
  await env.teardown();
});

const model: TrainedModel = {
  phase: 'pretrain',
  stage: 'a'.repeat(64),
  weights: 'b'.repeat(64),
  numSteps: 100,
  numTokens: 1000,
  finalLoss: 3,
  reused: false,
};

/** A trainer's world in memory: the head of the trial, and what was asked of it. */
function fakes(watch: (attempt: number, world: World) => TrainedModel): {
  activities: TrainActivities;
  world: World;
} {
  const world: World = {
    fence: 0,
    durableStep: 0,
    leased: [],
    released: [],
    stopped: [],
    started: 0,
    watched: 0,
  };
  const activities: TrainActivities = {
    findTrainedModel: async () => ({ stage: model.stage, model: null }),
    leaseHost: async ({ holder }) => {
      world.leased.push(holder);
      return { host: 'h1', busy: null };
    },
    releaseHost: async ({ holder }) => void world.released.push(holder),
    openTrainingGeneration: async () => {
      world.fence += 1;
      return { fence: world.fence, durableStep: world.durableStep };
    },
    prepareTrainer: async () => {
      world.started += 1;
      return { adopted: false, resumedFrom: null, note: null };
    },
    watchTrainer: async () => watch(++world.watched, world),
    stopTrainer: async ({ keepLog }) => void world.stopped.push(keepLog ? 'failed' : 'cancelled'),
  };
  return { activities, world };
}
interface World {
  fence: number;
  durableStep: number;
  leased: string[];
  released: string[];
  /** How the trainings ended whose trainer was stopped. */
  stopped: string[];
  started: number;
  watched: number;
}

let id = 0;
async function train(
  activities: TrainActivities,
  input: TrainingInput = trainingInput,
  meanwhile: (handle: WorkflowHandle<typeof trainingWorkflow>) => Promise<void> = async () => {},
): Promise<TrainedModel> {
  const { nativeConnection: connection } = env;
  const workers = await Promise.all([
    Worker.create({ connection, workflowBundle, taskQueue: 'control', activities }),
    Worker.create({ connection, taskQueue: 'gpu', activities }),
    Worker.create({
      connection,
      taskQueue: 'gpu-h1',
      activities,
      maxHeartbeatThrottleInterval: '100ms',
    }),
  ]);
  const [control, ...others] = workers;
  const running = others.map((worker) => worker.run());
  try {
    return await control!.runUntil(async () => {
      const handle = await env.client.workflow.start(trainingWorkflow, {
        workflowId: `training/test-${++id}`,
        taskQueue: 'control',
        args: [input],
      });
      await meanwhile(handle);
      return await handle.result();
    });
  } finally {
    for (const worker of others) worker.shutdown();
    await Promise.all(running);
  }
}

/** What the workflow itself failed with. */
async function failureOf(training: Promise<unknown>): Promise<ApplicationFailure> {
  const failure = await training.then(
    () => null,
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(WorkflowFailedError);
  return (failure as WorkflowFailedError).cause as ApplicationFailure;
}

describe('trainingWorkflow', () => {
  test('a trained model of the same job is reused and no host is leased', async () => {
    const { activities, world } = fakes(() => model);
    const found = { ...model, reused: true };
    const result = await train({
      ...activities,
      findTrainedModel: async () => ({ stage: model.stage, model: found }),
    });
    expect(result).toEqual(found);
    expect(world.leased).toEqual([]);
  });

  test('a lost trainer opens the next generation, with a higher fence, and the host is released at the end', async () => {
    const { activities, world } = fakes((attempt, state) => {
      if (attempt === 3) return model;
      state.durableStep += 10;
      throw new Error('the trainer died');
    });
    expect(await train(activities)).toEqual(model);
    expect(world).toMatchObject({ fence: 3, started: 3, watched: 3 });
    expect(world.released).toEqual(['training/test-2']);
    expect(world.stopped).toEqual([]);
  });

  test('being fenced off is a loss like any other', async () => {
    const { activities, world } = fakes((attempt) => {
      if (attempt === 1)
        throw ApplicationFailure.nonRetryable('generation 1 is over', FailureType.Fenced);
      return model;
    });
    expect(await train(activities)).toEqual(model);
    expect(world.fence).toBe(2);
  });

  test('what no retry can cure ends the training at once and releases the host', async () => {
    const { activities, world } = fakes(() => {
      throw ApplicationFailure.nonRetryable('loss is NaN at step 7', FailureType.TrainingDiverged);
    });
    const failure = await train(activities).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(WorkflowFailedError);
    expect(String((failure as WorkflowFailedError).cause?.cause)).toContain(
      'loss is NaN at step 7',
    );
    expect(world).toMatchObject({ fence: 1, watched: 1 });
    expect(world.released).toHaveLength(1);
  });

  test('generations without a new checkpoint are bounded, and the last reason is told', async () => {
    const { activities, world } = fakes(() => {
      throw new Error('the trainer died at step 3');
    });
    const failure = await failureOf(train(activities));
    expect(failure).toMatchObject({ type: FailureType.TrainingStuck, nonRetryable: true });
    expect(failure.message).toMatch(
      /no checkpoint in 8 generations, the last because the trainer died at step 3\..*under a new name/,
    );
    expect(world.watched).toBe(8);
    expect(world.stopped).toEqual(['failed']);
  });

  test('what is lost while a person has paused the run is not held against it', async () => {
    const { activities, world } = fakes((attempt) => {
      if (attempt === 20) return model;
      throw new Error('the worker was restarted');
    });
    const { openTrainingGeneration } = activities;
    await train({
      ...activities,
      openTrainingGeneration: async (input) => ({
        ...(await openTrainingGeneration(input)),
        paused: true,
      }),
    });
    expect(world.watched).toBe(20);
  });

  /** A trainer that cannot start, in a run that is paused while `pause.isOn`. */
  function unable() {
    const { activities, world } = fakes(() => model);
    const triedAt: number[] = [];
    const pause = { isOn: true };
    const tries: TrainActivities = {
      ...activities,
      openTrainingGeneration: async (input) => ({
        ...(await activities.openTrainingGeneration(input)),
        ...(pause.isOn && { paused: true }),
      }),
      async prepareTrainer(generation) {
        triedAt.push(await env.currentTimeMs());
        if (triedAt.length > 12) return await activities.prepareTrainer(generation);
        throw new Error('no such program');
      },
    };
    const waitsS = () =>
      triedAt.slice(1).map((time, index) => Math.floor((time - triedAt[index]!) / 1000));
    /** Until it waits for an hour; the clock runs ahead no more. */
    const longWait = async () => {
      await env.sleep('1400s');
      await expect.poll(() => waitsS()).toEqual([1, 2, 5, 10, 20, 40, 60, 300, 900]);
      await sleep(300);
    };
    return { activities: tries, world, pause, waitsS, longWait };
  }

  test('a trainer that cannot start in a pause is tried ever more rarely, and an unpause ends the wait', async () => {
    const { activities, world, pause, waitsS, longWait } = unable();
    const trained = await train(activities, trainingInput, async (handle) => {
      await longWait();
      pause.isOn = false;
      await handle.signal(unpausedSignal);
      await expect.poll(() => waitsS().length, { timeout: 5000 }).toBe(10);
    });
    expect(trained).toEqual(model);
    // What was lost in the pause makes no later wait longer.
    expect(waitsS().slice(10)).toEqual([1, 2]);
    expect(world).toMatchObject({ watched: 1, stopped: [] });
  });

  test('a trainer that stood in a pause for a while is soon followed by another', async () => {
    const { activities } = fakes(() => model);
    const endedAt: number[] = [];
    const waitsS: number[] = [];
    await train({
      ...activities,
      openTrainingGeneration: async (input) => ({
        ...(await activities.openTrainingGeneration(input)),
        paused: true,
      }),
      async watchTrainer(generation) {
        const now = await env.currentTimeMs();
        if (endedAt.length > 0) waitsS.push(Math.floor((now - endedAt.at(-1)!) / 1000));
        if (endedAt.length === 5) return await activities.watchTrainer(generation);
        // Its heartbeats must keep up with the clock.
        for (let part = 0; endedAt.length === 3 && part < 7; part += 1) {
          Context.current().heartbeat();
          await sleep(300);
          await env.sleep('10s');
        }
        endedAt.push(await env.currentTimeMs());
        throw new Error('the worker was restarted');
      },
    });
    expect(waitsS).toEqual([1, 2, 5, 1, 2]);
  });

  test('a cancellation ends the wait of a trainer that could not start in a pause', async () => {
    const { activities, world, waitsS, longWait } = unable();
    const failure = await train(activities, trainingInput, async (handle) => {
      await longWait();
      await handle.cancel();
      await expect.poll(() => world.released.length, { timeout: 5000 }).toBe(1);
    }).catch((error: unknown) => error);
    expect((failure as WorkflowFailedError).cause).toBeInstanceOf(CancelledFailure);
    expect(waitsS()).toHaveLength(9);
  });

  test('before each further generation it pauses longer, and a new checkpoint makes the pauses short again', async () => {
    const startedAt: number[] = [];
    const { activities } = fakes((attempt, state) => {
      if (attempt === 7) return model;
      if (attempt === 5) state.durableStep = 50;
      throw new Error('the trainer died');
    });
    const { prepareTrainer } = activities;
    await train({
      ...activities,
      async prepareTrainer(generation) {
        startedAt.push(await env.currentTimeMs());
        return await prepareTrainer(generation);
      },
    });
    const pauses = startedAt.slice(1).map((at, index) => (at - startedAt[index]!) / 1000);
    for (const [index, expected] of [1, 2, 5, 10, 20, 1].entries()) {
      expect(pauses[index]).toBeGreaterThanOrEqual(expected);
      expect(pauses[index]).toBeLessThan(expected + 0.9);
    }
  });

  test('a training that is taken back is gone on from at once, and its generation is not held against it', async () => {
    const before = await env.currentTimeMs();
    const { activities, world } = fakes((attempt, state) => {
      if (attempt === 12) return model;
      state.durableStep = 30 - attempt;
      const message = 'loss 7.12 since step 31, at most 4.20 expected: taken back to step 30';
      throw ApplicationFailure.create({ message, type: PassingFailure.RolledBack });
    });
    expect(await train(activities)).toEqual(model);
    expect(world).toMatchObject({ fence: 12, watched: 12, stopped: [] });
    expect((await env.currentTimeMs()) - before).toBeLessThan(30_000);
  });

  test('a training that ran out of memory goes on at once, and its generation is not held against it', async () => {
    const { activities, world } = fakes((attempt) => {
      if (attempt === 11) return model;
      const message = 'out of memory at step 31: from step 30 on 8 sequences at once';
      throw ApplicationFailure.create({ message, type: PassingFailure.MicroBatchHalved });
    });
    expect(await train(activities)).toEqual(model);
    expect(world).toMatchObject({ fence: 11, watched: 11, stopped: [] });
  });

  test('a full disk is waited for, far beyond eight generations', async () => {
    const { activities, world } = fakes((attempt) => {
      if (attempt === 30) return model;
      throw ApplicationFailure.create({ message: 'disk full', type: PassingFailure.DiskFull });
    });
    expect(await train(activities)).toEqual(model);
    expect(world.watched).toBe(30);
  });

  test('a disk that stays full for an hour ends the training as DiskFull', async () => {
    const before = await env.currentTimeMs();
    const { activities, world } = fakes(() => {
      throw ApplicationFailure.create({
        message: 'the disk of host h1 is full: 1 MB free',
        type: PassingFailure.DiskFull,
      });
    });
    const failure = await failureOf(train(activities));
    expect(failure).toMatchObject({ type: PassingFailure.DiskFull, nonRetryable: true });
    expect(failure.message).toMatch(/1 MB free, then run the pipeline under a new name/);
    expect((await env.currentTimeMs()) - before).toBeGreaterThan(3_600_000);
    expect(world.released).toHaveLength(1);
  });

  test('a host that is gone costs no fruitless generation, and another is leased', async () => {
    const { activities, world } = fakes(() => model);
    const asked: (string | null)[] = [];
    const training = train({
      ...activities,
      async leaseHost({ host }) {
        asked.push(host);
        return { host: asked.length < 10 ? 'gone' : 'h1', busy: null };
      },
    });
    for (let fence = 1; fence < 10; fence += 1) {
      // A slow machine may be a generation further by the time that one looks.
      await expect.poll(() => world.fence, { timeout: 20_000 }).toBeGreaterThanOrEqual(fence);
      // The time-skipping server does not skip while an activity waits for a worker.
      await sleep(200);
      await env.sleep('6m');
    }
    expect(await training).toEqual(model);
    expect(asked).toEqual(Array.from({ length: 10 }, () => null));
    expect(world).toMatchObject({ fence: 10, watched: 1 });
    expect(world.released).toHaveLength(1);
  });

  test('a host that another training took is left for whichever is free', async () => {
    const { activities, world } = fakes((attempt) => {
      if (attempt === 2) return model;
      throw ApplicationFailure.create({
        message: 'leased by another',
        type: PassingFailure.HostTaken,
      });
    });
    const asked: (string | null)[] = [];
    await train({
      ...activities,
      async leaseHost({ host }) {
        asked.push(host);
        const busy = { holder: 'training/other', expiresAt: '2026-01-01T00:00:00Z' };
        return { host: 'h1', busy: host === null ? null : busy };
      },
    });
    expect(asked).toEqual([null, 'h1', null]);
    expect(world.watched).toBe(2);
  });

  test('a host that leaves is given back at once and not asked again, and that is no fruitless generation', async () => {
    const { activities, world } = fakes((attempt) => {
      if (attempt === 10) return model;
      throw ApplicationFailure.create({
        message: 'host h1 was told to leave; handed over at checkpoint 7, 0 steps lost',
        type: PassingFailure.HostLeaving,
        details: [{ host: 'h1' }],
      });
    });
    const asked: (string | null)[] = [];
    expect(
      await train({
        ...activities,
        async leaseHost({ host }) {
          asked.push(host);
          return { host: 'h1', busy: null };
        },
      }),
    ).toEqual(model);
    expect(asked).toEqual(Array.from({ length: 10 }, () => null));
    expect(world.released).toHaveLength(10);
    expect(world.stopped).toEqual([]);
  });

  test('a busy host is waited for, and the details say who has it', async () => {
    const { activities, world } = fakes(() => model);
    let asked = 0;
    let details = '';
    const result = await train({
      ...activities,
      async leaseHost({ holder }) {
        asked += 1;
        if (asked === 40) {
          const metadata = await env.client.workflow
            .getHandle(holder)
            .query<{ currentDetails?: string }>('__temporal_workflow_metadata');
          details = metadata.currentDetails ?? '';
        }
        const busy = { holder: 'training/other', expiresAt: '2026-01-01T00:00:00Z' };
        return { host: 'h1', busy: asked < 40 ? busy : null };
      },
    });
    expect(result).toEqual(model);
    expect(details).toContain('waiting for host h1, which `training/other` has leased');
    expect(world.fence).toBe(1);
  });

  test('leases that cannot be read end the training with that reason', async () => {
    const { activities, world } = fakes(() => model);
    let asked = 0;
    const leaseHost = async (): Promise<never> => {
      asked += 1;
      throw new InvalidRecord('leases/local.json is not JSON');
    };
    const failure = await train({ ...activities, leaseHost }).catch((error: unknown) => error);
    expect(String((failure as WorkflowFailedError).cause?.cause)).toContain('is not JSON');
    expect({ asked, released: world.released }).toEqual({ asked: 1, released: [] });
  });

  test('a name that another job holds ends the training at once, and nothing of that job is stopped', async () => {
    const { activities, world } = fakes(() => model);
    let asked = 0;
    const openTrainingGeneration = async (): Promise<never> => {
      asked += 1;
      throw new NameTaken('head.json holds the training of another job');
    };
    const failure = await train({ ...activities, openTrainingGeneration }).catch(
      (error: unknown) => error,
    );
    expect(String((failure as WorkflowFailedError).cause?.cause)).toContain('another job');
    expect(asked).toBe(1);
    expect(world).toMatchObject({ started: 0, stopped: [] });
    expect(world.released).toHaveLength(1);
  });

  test('a cancelled training waits for the trainer to save, opens no other generation and releases the host', async () => {
    const { activities, world } = fakes(() => model);
    let saved = false;
    const watchTrainer: TrainActivities['watchTrainer'] = async () => {
      world.watched += 1;
      const context = Context.current();
      const beat = setInterval(() => context.heartbeat(), 50);
      try {
        await env.client.workflow.getHandle(`training/test-${id}`).cancel();
        return await context.cancelled;
      } finally {
        clearInterval(beat);
        saved = true;
      }
    };
    const failure = await train({ ...activities, watchTrainer }).catch((error: unknown) => error);
    expect((failure as WorkflowFailedError).cause).toBeInstanceOf(CancelledFailure);
    expect({ saved, ...world }).toMatchObject({ saved: true, watched: 1, fence: 1 });
    expect(world.released).toHaveLength(1);
  });

  test('a cancellation while the trainer is prepared stops it before the host is given back', async () => {
    const { activities, world } = fakes(() => model);
    const order: string[] = [];
    const failure = await train({
      ...activities,
      async prepareTrainer(generation) {
        await env.client.workflow.getHandle(`training/test-${id}`).cancel();
        const context = Context.current();
        while (!context.cancellationSignal.aborted) {
          context.heartbeat();
          await sleep(50);
        }
        // It had started the trainer already.
        return await activities.prepareTrainer(generation);
      },
      async stopTrainer(stop) {
        order.push('stop');
        await activities.stopTrainer(stop);
      },
      async releaseHost(lease) {
        order.push('release');
        await activities.releaseHost(lease);
      },
    }).catch((error: unknown) => error);
    expect((failure as WorkflowFailedError).cause).toBeInstanceOf(CancelledFailure);
    expect(world).toMatchObject({ started: 1, watched: 0, stopped: ['cancelled'] });
    expect(order).toEqual(['stop', 'release']);
  });

  test('a cancellation while a generation is opened stops that one or the one before', async () => {
    const { activities } = fakes(() => {
      throw new Error('the watcher was lost');
    });
    const writers: string[] = [];
    const stopped: unknown[] = [];
    const failure = await train({
      ...activities,
      async openTrainingGeneration(input) {
        writers.push(input.writer);
        const opened = await activities.openTrainingGeneration(input);
        if (writers.length === 1) return opened;
        await env.client.workflow.getHandle(`training/test-${id}`).cancel();
        throw new Error('the answer is lost');
      },
      stopTrainer: async ({ after }) => void stopped.push(after),
    }).catch((error: unknown) => error);
    expect((failure as WorkflowFailedError).cause).toBeInstanceOf(CancelledFailure);
    expect(stopped).toEqual([writers.slice(0, 2)]);
  });

  test('a lease that is under way at a cancellation is waited for, and given back', async () => {
    const { activities, world } = fakes(() => model);
    const failure = await train({
      ...activities,
      async leaseHost(wish) {
        await env.client.workflow.getHandle(`training/test-${id}`).cancel();
        await sleep(500);
        return await activities.leaseHost(wish);
      },
    }).catch((error: unknown) => error);
    expect((failure as WorkflowFailedError).cause).toBeInstanceOf(CancelledFailure);
    expect(world.started).toBe(0);
    expect(world.released).toHaveLength(1);
  });

  test.each([
    ['whose lease is not answered yet is left without a trainer', false],
    ['that another training has taken meanwhile is not touched', true],
  ])('at a cancellation the host of the generation before %s', async (_, isTaken) => {
    const { activities, world } = fakes(() => {
      throw new Error('the watcher was lost');
    });
    const busy = { holder: 'training/other', expiresAt: '2026-01-01T00:00:00Z' };
    let asked = 0;
    const failure = await train({
      ...activities,
      async leaseHost(wish) {
        asked += 1;
        if (asked === 1) return await activities.leaseHost(wish);
        if (wish.host !== null && isTaken) return { host: 'h1', busy };
        await env.client.workflow.getHandle(`training/test-${id}`).cancel();
        throw new Error('the store is away');
      },
    }).catch((error: unknown) => error);
    expect((failure as WorkflowFailedError).cause).toBeInstanceOf(CancelledFailure);
    expect(world.stopped).toEqual(isTaken ? [] : ['cancelled']);
    expect(world.released).toHaveLength(isTaken ? 0 : 1);
  });

  test('a host on which the trainer could not be stopped is not given back', async () => {
    const { activities, world } = fakes(() => {
      throw ApplicationFailure.nonRetryable('loss is NaN', FailureType.TrainingDiverged);
    });
    const stopTrainer = async (): Promise<never> => {
      throw new Error('/proc cannot be read');
    };
    const failure = await train({ ...activities, stopTrainer }).catch((error: unknown) => error);
    expect(String((failure as WorkflowFailedError).cause?.cause)).toContain('loss is NaN');
    expect(world.released).toEqual([]);
  });

  test('a trained model counts even if its host cannot be given back', async () => {
    const { activities } = fakes(() => model);
    const releaseHost = async (): Promise<never> => {
      throw new InvalidRecord('leases/local.json is not JSON');
    };
    expect(await train({ ...activities, releaseHost })).toEqual(model);
  });
});

describe('a budget that is spent', () => {
  const budget = {
    timeMs: 60_000,
    usd: null,
    usdPerHour: 0,
    whenSpent: 'finish' as const,
    share: 1,
  };
  const spent = () =>
    ApplicationFailure.create({ message: 'the budget is spent', type: PassingFailure.BudgetSpent });

  test('has its model made by the next generation, at once and on the same host', async () => {
    const { activities, world } = fakes((attempt) => {
      if (attempt > 10) return { ...model, ended: { step: 40, numSteps: 100 } };
      throw spent();
    });
    const opened: unknown[] = [];
    const result = await train(
      {
        ...activities,
        openTrainingGeneration: async (input) => {
          opened.push(input.budget);
          return activities.openTrainingGeneration(input);
        },
      },
      { ...trainingInput, budget },
    );
    expect(result.ended).toEqual({ step: 40, numSteps: 100 });
    // However often: an end is no loss that anybody gives up over.
    expect(world.fence).toBe(11);
    expect(opened).toEqual(Array.from({ length: 11 }, () => budget));
    expect(world.released).toHaveLength(1);
  });

  test('is waited for without a host, until more is added', async () => {
    const { activities, world } = fakes((attempt) => {
      if (attempt === 3) return model;
      throw spent();
    });
    await train(
      activities,
      { ...trainingInput, budget: { ...budget, whenSpent: 'wait' } },
      async (handle) => {
        for (const waited of [1, 2]) {
          await expect.poll(() => world.released.length, { timeout: 5000 }).toBe(waited);
          await sleep(200);
          expect(world.watched).toBe(waited);
          await handle.signal(budgetAddedSignal);
        }
      },
    );
    expect(world.stopped).toEqual(['cancelled', 'cancelled']);
    expect(world.leased).toHaveLength(3);
    expect(world.released).toHaveLength(3);
  });

  test('is waited for until the run is cancelled, and nothing is left leased', async () => {
    const { activities, world } = fakes(() => {
      throw spent();
    });
    const ended = train(
      activities,
      { ...trainingInput, budget: { ...budget, whenSpent: 'wait' } },
      async (handle) => {
        await expect.poll(() => world.released.length, { timeout: 5000 }).toBe(1);
        await handle.cancel();
      },
    );
    expect(await failureOf(ended)).toBeInstanceOf(CancelledFailure);
    expect(world.leased).toHaveLength(1);
  });
});
