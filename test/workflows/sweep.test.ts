/** Several learning rates, tried as trials: who goes on, on how many hosts, and what ends a search. */
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { ApplicationFailure } from '@temporalio/activity';
import type { WorkflowFailedError } from '@temporalio/client';
import { Worker } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { SweepActivities } from '../../activities/sweep.ts';
import type { TrainActivities } from '../../activities/train.ts';
import { FailureType } from '../../config/failures.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import type { RungOutcome } from '../../config/sweep.ts';
import { planRecipe } from '../../recipes/plan.ts';
import { runStatusQuery, setLearningRateUpdate } from '../../workflows/messages.ts';
import { pipelineWorkflow } from '../../workflows/pipeline.ts';
import { pipelineActivities } from '../support/pipeline-activities.ts';
import { machine, planInputs } from '../support/recipes.ts';
import { bundleWorkflows, startTimeSkipping } from '../support/temporal.ts';

let env: TestWorkflowEnvironment;
let workers: Worker[] = [];
let running: Promise<unknown>;
/** What the test that runs now has its trials do. */
let current: TrainActivities & SweepActivities;
// A run has seven trainings.
vi.setConfig({ testTimeout: 120_000 });
beforeAll(async () => {
  const [started, workflowBundle] = await Promise.all([startTimeSkipping(), bundleWorkflows()]);
  env = started;
  const { nativeConnection: connection } = env;
  const delegated = Object.keys(fakes(bowl).activities).map((name) => [
    name,
    (input: never) => current[name as 'watchTrial'](input),
  ]);
  const activities = {
    ...pipelineActivities().activities,
    planTraining: async () => recipe,
    ...(Object.fromEntries(delegated) as typeof current),
  };
  const control = { connection, workflowBundle, taskQueue: 'control', activities };
  workers = await Promise.all([
    Worker.create(control),
    ...['data', 'gpu', 'gpu-h1', 'gpu-h2'].map((taskQueue) =>
      Worker.create({ connection, taskQueue, activities }),
    ),
  ]);
  running = Promise.all(workers.map((worker) => worker.run()));
}, 120_000);
afterAll(async () => {
  for (const worker of workers) worker.shutdown();
  await running;
  await env.teardown();
}, 60_000);

const learningRate = [0.5, 1, 2, 4];
const recipe = planRecipe({
  ...planInputs,
  goal: 'base',
  budgetMs: 300_000,
  sweep: { learningRate, halving: 2, heldOutTokens: 4000 },
});
const [early, late] = recipe.sweep!.rungs.map(({ step }) => step) as [number, number];
/** Nats a token at the end of a rung, by multiple of the rate; null diverges. */
type Losses = (multiple: number, step: number) => number | null;

interface World {
  /** Who had a host, from when to when: `+2` leases one for trial 2, `-2` gives it back; 0 is the training itself. */
  hosts: string[];
  /** `trial 2 to 40 from 20`, and what trained to the end. */
  trained: string[];
  decided: RungOutcome[];
  /** Learning rate of the training to the end. */
  final: { trial: number; learningRate: number } | null;
}

function fakes(
  losses: Losses,
  { hosts = ['h1'] }: { hosts?: string[] } = {},
): { activities: TrainActivities & SweepActivities; world: World } {
  const world: World = { hosts: [], trained: [], decided: [], final: null };
  const holders = new Map<string, string>();
  const fences = new Map<number, number>();
  const stood = new Map<number, number>();
  const nameOf = (holder: string) => /pretrain\/0\/(\d+)$/.exec(holder)?.[1] ?? 'end';
  const planned = recipe.pretrain.learningRate;
  const activities: TrainActivities & SweepActivities = {
    findTrainedModel: async () => ({ stage: 'a'.repeat(64), model: null }),
    leaseHost: async ({ holder, host: asked }) => {
      const free = asked ?? hosts.find((one) => !holders.has(one));
      if (free === undefined) {
        const [host, by] = [...holders][0]!;
        return { host, busy: { holder: by, expiresAt: new Date(0).toISOString() } };
      }
      holders.set(free, holder);
      world.hosts.push(`+${nameOf(holder)}`);
      return { host: free, busy: null };
    },
    releaseHost: async ({ host, holder }) => {
      holders.delete(host);
      world.hosts.push(`-${nameOf(holder)}`);
    },
    openTrainingGeneration: async ({ trial: { trial } }) => {
      const fence = (fences.get(trial) ?? 0) + 1;
      fences.set(trial, fence);
      return { fence, durableStep: stood.get(trial) ?? 0 };
    },
    prepareTrainer: async ({ job: { trial }, fence }) => {
      const resumedFrom = stood.get(trial.trial) ?? null;
      const note = fence === 1 ? null : `resumed from step ${resumedFrom}, 0 steps lost`;
      return { adopted: false, resumedFrom, note };
    },
    watchTrial: async ({ job, until, start }) => {
      const { trial } = job.trial;
      world.trained.push(`trial ${trial} to ${until} from ${start.resumedFrom ?? 0}`);
      const loss = losses(job.recipe.learningRate / planned, until!);
      if (loss === null) {
        throw ApplicationFailure.nonRetryable('loss nan', FailureType.TrainingDiverged);
      }
      stood.set(trial, until!);
      return { step: until!, loss, valBpb: loss / 2 };
    },
    watchTrainer: async ({ job, start }) => {
      const { trial } = job.trial;
      world.trained.push(`trial ${trial} to the end from ${start.resumedFrom ?? 0}`);
      world.final = { trial, learningRate: job.recipe.learningRate };
      return {
        phase: 'pretrain',
        stage: 'a'.repeat(64),
        weights: 'b'.repeat(64),
        numSteps: job.recipe.numSteps,
        numTokens: 1000,
        finalLoss: 3,
        reused: false,
      };
    },
    stopTrainer: async () => undefined,
    findRung: async () => null,
    recordRung: async ({ outcome }) => {
      world.decided.push(outcome);
      return outcome;
    },
  };
  return { activities, world };
}

let id = 0;
/** Runs a pipeline whose plan tries the rates; the workers are those of the whole file. */
async function run(
  trials: TrainActivities & SweepActivities,
  meanwhile: (workflowId: string) => Promise<unknown> = async () => null,
) {
  current = trials;
  const name = `sweep-${++id}`;
  const handle = await env.client.workflow.start(pipelineWorkflow, {
    workflowId: `pipeline/${name}`,
    taskQueue: 'control',
    args: [
      {
        run: name,
        pipeline: pipelineSchema.parse({
          version: 1,
          name: 'test',
          data: { sources: [{ path: './docs', license: 'internal' }] },
          sweep: { learningRate },
        }),
        baseDir: '/',
        machine,
      },
    ],
  });
  const [outcome] = await Promise.all([
    handle.result().catch((error: unknown) => error as WorkflowFailedError),
    meanwhile(`pipeline/${name}`),
  ]);
  return { outcome, status: await handle.query(runStatusQuery) };
}

/** Best near twice the planned rate. */
const bowl: Losses = (multiple, step) => 5 - step / 1000 + Math.abs(Math.log2(multiple) - 1);

test('the better half goes on after each rung from its own checkpoint, and the last one trains to the end', async () => {
  const { activities, world } = fakes(bowl);
  const { outcome, status } = await run(activities);
  expect(outcome).toMatchObject({ model: { name: 'test' } });
  expect(world.trained).toEqual([
    ...[0, 1, 2, 3].map((trial) => `trial ${trial} to ${early} from 0`),
    // Of the rates ×1 and ×4, which are equal, the smaller number.
    ...[1, 2].map((trial) => `trial ${trial} to ${late} from ${early}`),
    `trial 2 to the end from ${late}`,
  ]);
  expect(world.final).toEqual({ trial: 2, learningRate: 2 * recipe.pretrain.learningRate });
  expect(world.decided.map(({ step, goesOn }) => ({ step, goesOn }))).toEqual([
    { step: early, goesOn: [2, 1] },
    { step: late, goesOn: [2] },
  ]);
  expect(status.sweep).toEqual(
    world.decided.map((decided, rung) => ({ phase: 'pretrain', round: 0, rung, ...decided })),
  );
  expect(status.recipe?.pretrain?.learningRate).toBe(2 * recipe.pretrain.learningRate);
  const notes = status.notes.map(({ text }) => text);
  expect(notes).toHaveLength(2);
  expect(notes[0]).toMatch(
    /^after step \d+ of the sweep ×1 5\.\d+, ×2 4\.\d+ go on; ×0\.5 .* end$/,
  );
  const line = status.stages.find(({ name }) => name === 'pretrain');
  expect(line?.summary).toContain('at ×2 of the rate');
});

test('on one host the trials run one after the other', async () => {
  const { activities, world } = fakes(bowl);
  await run(activities);
  const order = ['0', '1', '2', '3', '1', '2', 'end'];
  expect(world.hosts).toEqual(order.flatMap((trial) => [`+${trial}`, `-${trial}`]));
});

test('on two hosts two trials train at once', async () => {
  const { activities, world } = fakes(bowl, { hosts: ['h1', 'h2'] });
  let inside = 0;
  let most = 0;
  const both = Promise.withResolvers<void>();
  const { watchTrial } = activities;
  activities.watchTrial = async (generation) => {
    inside += 1;
    most = Math.max(most, inside);
    if (most === 2) both.resolve();
    // The first waits for the second: were they to take turns, it would wait for ever.
    await both.promise;
    try {
      return await watchTrial(generation);
    } finally {
      inside -= 1;
    }
  };
  await run(activities);
  expect(most).toBe(2);
  expect(world.final?.trial).toBe(2);
});

test('a trial that diverges loses its rung, and the run goes on', async () => {
  const { activities, world } = fakes((multiple, step) =>
    multiple >= 2 ? null : bowl(multiple, step),
  );
  const { outcome, status } = await run(activities);
  expect(outcome).toMatchObject({ model: { name: 'test' } });
  expect(world.decided[0]).toMatchObject({
    goesOn: [1, 0],
    trials: [{ loss: 6.9 }, {}, { loss: null, failure: 'loss nan' }, { loss: null }].map(
      (one, trial) => (trial === 0 ? { trial } : { trial, ...one }),
    ),
  });
  expect(world.final?.trial).toBe(1);
  expect(status.notes[0]!.text).toContain('×4 diverged end');
});

test('one that alone has not diverged trains to the end without another rung', async () => {
  const { activities, world } = fakes((multiple) => (multiple === 4 ? 3 : null));
  await run(activities);
  expect(world.decided).toHaveLength(1);
  expect(world.final?.trial).toBe(3);
  expect(world.trained.at(-1)).toBe(`trial 3 to the end from ${early}`);
});

test('when all diverge the run fails, and says of each rate what it found', async () => {
  const { activities } = fakes(() => null);
  const { outcome, status } = await run(activities);
  expect(outcome).toBeInstanceOf(Error);
  expect(status.state).toBe('failed');
  expect(status.failure).toMatch(
    new RegExp(
      `^sweep: all 4 learning rates diverged before step ${early}\\..*×4 \\(.*\\): loss nan`,
    ),
  );
});

test('any other failure of a trial is that of the run, and no other trial keeps its host', async () => {
  const { activities, world } = fakes(bowl);
  const { watchTrial } = activities;
  activities.watchTrial = async (generation) => {
    if (generation.job.trial.trial === 1) {
      throw ApplicationFailure.nonRetryable('no memory left', FailureType.OutOfMemory);
    }
    return await watchTrial(generation);
  };
  const { status } = await run(activities);
  expect(status).toMatchObject({ state: 'failed', failure: 'no memory left' });
  const given = world.hosts.filter((one) => one.startsWith('-')).length;
  expect(given).toBe(world.hosts.length - given);
});

test('a rung that was decided before is not trained again', async () => {
  const { activities, world } = fakes(bowl);
  const before: RungOutcome = {
    step: early,
    trials: learningRate.map((multiple, trial) => ({
      trial,
      multiple,
      learningRate: multiple * recipe.pretrain.learningRate,
      loss: 4,
      valBpb: 2,
    })),
    goesOn: [0, 3],
  };
  await run({ ...activities, findRung: async ({ rung }) => (rung === 0 ? before : null) });
  expect(world.trained.map((text) => text.replace(/ from.*/, ''))).toEqual([
    `trial 0 to ${late}`,
    `trial 3 to ${late}`,
    'trial 3 to the end',
  ]);
});

test('while rates are tried another one is refused with the reason', async () => {
  const { activities } = fakes(bowl);
  const asked = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const { watchTrial } = activities;
  activities.watchTrial = async (generation) => {
    begun.resolve();
    await asked.promise;
    return await watchTrial(generation);
  };
  let refusal = '';
  await run(activities, async (workflowId) => {
    await begun.promise;
    const wish = { factor: 0.5, by: 'ann', why: null };
    const handle = env.client.workflow.getHandle(workflowId);
    refusal = await handle.executeUpdate(setLearningRateUpdate, { args: [wish] }).then(
      () => 'obeyed',
      (error: Error) => String((error.cause as Error).message),
    );
    asked.resolve();
  });
  expect(refusal).toContain('tries 4 learning rates now');
});
