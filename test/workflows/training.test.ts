import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { WorkflowFailedError } from '@temporalio/client';
import { Worker, type WorkflowBundle } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TrainActivities } from '../../activities/train.ts';
import type { TrainedModel } from '../../activities/training-job.ts';
import { FailureType } from '../../config/failures.ts';
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
    started: 0,
    watched: 0,
  };
  const activities: TrainActivities = {
    findTrainedModel: async () => ({ stage: model.stage, model: null }),
    leaseHost: async ({ holder }) => {
      world.leased.push(holder);
      return { host: 'h1' };
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
  };
  return { activities, world };
}
interface World {
  fence: number;
  durableStep: number;
  leased: string[];
  released: string[];
  started: number;
  watched: number;
}

let id = 0;
async function train(
  activities: TrainActivities,
  input: TrainingInput = trainingInput,
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
    return await control!.runUntil(
      env.client.workflow.execute(trainingWorkflow, {
        workflowId: `training/test-${++id}`,
        taskQueue: 'control',
        args: [input],
      }),
    );
  } finally {
    for (const worker of others) worker.shutdown();
    await Promise.all(running);
  }
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
    expect(world.released).toEqual(world.leased);
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
      throw new Error('the disk is full');
    });
    const failure = (await train(activities).catch(
      (error: unknown) => error,
    )) as WorkflowFailedError;
    expect(failure.cause?.message).toMatch(
      /no checkpoint in 8 generations, the last because the disk is full/,
    );
    expect(world.watched).toBe(8);
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
});
