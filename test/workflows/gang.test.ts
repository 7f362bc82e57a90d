import { setTimeout as sleep } from 'node:timers/promises';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import { Worker, type WorkflowBundle } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { GangActivities, TrainerSeen } from '../../activities/gang.ts';
import type { TrainActivities } from '../../activities/train.ts';
import type { Generation, TrainedModel } from '../../activities/training-job.ts';
import { FailureType, PassingFailure } from '../../config/failures.ts';
import type { Gpu } from '../../config/recipe.ts';
import { gpuHostQueue } from '../../config/queues.ts';
import { trainingWorkflow, type TrainingInput } from '../../workflows/training.ts';
import { trainingInput } from '../support/recipes.ts';
import { bundleWorkflows, startTimeSkipping } from '../support/temporal.ts';

let env: TestWorkflowEnvironment;
let stop: () => Promise<void>;
/** What the workers of h1, h2 and h3 work on; nobody works for a host of another name. */
let current: Hosts;
beforeAll(async () => {
  let workflowBundle: WorkflowBundle;
  [env, workflowBundle] = await Promise.all([startTimeSkipping(), bundleWorkflows()]);
  const { nativeConnection: connection } = env;
  const workers = await Promise.all([
    Worker.create({
      connection,
      workflowBundle,
      taskQueue: 'control',
      activities: onHost('control'),
    }),
    ...['h1', 'h2', 'h3'].map((name) =>
      Worker.create({
        connection,
        taskQueue: gpuHostQueue(name),
        activities: onHost(name),
        maxHeartbeatThrottleInterval: '100ms',
      }),
    ),
  ]);
  const running = Promise.all(workers.map((worker) => worker.run()));
  stop = async () => {
    for (const worker of workers) worker.shutdown();
    await running;
  };
}, 120_000);
afterAll(async () => {
  await stop();
  await env.teardown();
});

/** The activities of a host, in whichever world a test has made. */
function onHost(name: string): Record<string, (...args: never[]) => Promise<unknown>> {
  type Named = Record<string, (...args: never[]) => Promise<unknown>>;
  const names = Object.keys(new Hosts().on(name));
  return Object.fromEntries(
    names.map((activity) => [
      activity,
      async (...args: never[]) => await (current.on(name) as unknown as Named)[activity]!(...args),
    ]),
  );
}

const model: TrainedModel = {
  phase: 'pretrain',
  stage: 'a'.repeat(64),
  weights: 'b'.repeat(64),
  numSteps: 100,
  numTokens: 1000,
  finalLoss: 3,
  reused: false,
};
const input: TrainingInput = {
  ...trainingInput,
  recipe: { ...trainingInput.recipe, worldSize: 2 },
  gang: { numHosts: 2, elastic: false },
};

/** Hosts in memory: who lives, who has which, and what was done on each. */
class Hosts {
  living: string[];
  readonly holders = new Map<string, string>();
  /** Each thing that was done: host, what, generation. */
  readonly done: string[] = [];
  fence = 0;
  durableStep = 0;
  seen: (host: string) => TrainerSeen = () => ({ meeting: null, finished: false });
  lead: (generation: Generation, host: string) => Promise<TrainedModel> = async () => model;
  follow: (generation: Generation, host: string) => Promise<void> = async () => {};
  prepare: (generation: Generation, host: string) => Promise<void> = async () => {};
  stopping: (host: string) => Promise<void> = async () => {};
  leasing: (wish: { gpu?: Gpu }) => Promise<void> = async () => {};
  /** Hosts of each generation, the leading one first. */
  readonly gangs: string[][] = [];

  constructor(...living: string[]) {
    this.living = living;
  }

  on(host: string): TrainActivities & GangActivities {
    const did = (what: string) => void this.done.push(`${host} ${what}`);
    return {
      findTrainedModel: async () => ({ stage: model.stage, model: null }),
      leaseHost: async () => {
        throw new Error('one host is not asked for');
      },
      leaseHosts: async ({ sizes, preferred, holder, ...wish }) => {
        await this.leasing(wish);
        const order = [...preferred, ...this.living.filter((name) => !preferred.includes(name))];
        const free = order.filter(
          (name) => this.living.includes(name) && (this.holders.get(name) ?? holder) === holder,
        );
        const size = sizes.find((wanted) => wanted <= free.length) ?? 0;
        const hosts = free.slice(0, size);
        for (const name of hosts) this.holders.set(name, holder);
        return { hosts, living: this.living };
      },
      releaseHost: async ({ host: name, holder }) => {
        if (this.holders.get(name) === holder) this.holders.delete(name);
        did(`released ${name}`);
      },
      openTrainingGeneration: async () => {
        this.fence += 1;
        return { fence: this.fence, durableStep: this.durableStep };
      },
      seeTrainer: async ({ parted }) => {
        if (parted !== undefined) did('brings its shards');
        return this.seen(host);
      },
      prepareTrainer: async (generation) => {
        this.gangs.push(generation.gang!.hosts);
        const { adopt } = generation.gang!;
        did(`${adopt ? 'adopts' : 'starts'} ${generation.fence}`);
        return { adopted: adopt, resumedFrom: null, note: null };
      },
      prepareFollower: async (generation) => {
        await this.prepare(generation, host);
        did(`${generation.gang!.adopt ? 'adopts' : 'starts'} ${generation.fence}`);
      },
      watchTrainer: async (generation) => await this.lead(generation, host),
      watchFollower: async (generation) => await this.follow(generation, host),
      stopTrainer: async ({ keepFiles, keepLog }) => {
        await this.stopping(host);
        did(keepFiles ? 'stood down' : keepLog ? 'failed' : 'cancelled');
      },
    };
  }
}

let id = 0;
type Handle = WorkflowHandle<typeof trainingWorkflow>;

const start = async (wanted: TrainingInput): Promise<Handle> =>
  await env.client.workflow.start(trainingWorkflow, {
    workflowId: `training/gang-${++id}`,
    taskQueue: 'control',
    args: [wanted],
  });

async function train(
  hosts: Hosts,
  wanted: TrainingInput = input,
  meanwhile: (handle: Handle) => Promise<void> = async () => {},
): Promise<TrainedModel> {
  current = hosts;
  const handle = await start(wanted);
  await meanwhile(handle);
  return await handle.result();
}

/** Stays until the test is over, or the generation. */
async function untilFenced(hosts: Hosts, { fence }: Generation): Promise<never> {
  const context = Context.current();
  while (hosts.fence === fence) {
    context.heartbeat();
    await Promise.race([sleep(50), context.cancelled]);
  }
  throw ApplicationFailure.nonRetryable(`generation ${fence} is over`, FailureType.Fenced);
}

describe('trainingWorkflow on several hosts', () => {
  test('each host prepares and watches its own trainer, in one generation, and all are given back', async () => {
    const hosts = new Hosts('h1', 'h2', 'h3');
    const followed: string[] = [];
    hosts.follow = async (_, host) => void followed.push(host);
    expect(await train(hosts)).toEqual(model);
    expect(hosts.gangs).toEqual([['h1', 'h2']]);
    expect(hosts.done.slice(0, 2)).toEqual(['h1 starts 1', 'h2 starts 1']);
    expect(followed).toEqual(['h2']);
    expect(hosts.done.slice(2).toSorted()).toEqual(['control released h1', 'control released h2']);
    expect(hosts.holders.size).toBe(0);
  });

  test('hosts are asked for with the GPUs that the plan counts on, and by old plans without', async () => {
    const gpu = { name: 'NVIDIA A100', count: 1, memoryBytes: 40e9 };
    const asked: (Gpu | undefined)[] = [];
    const { recipe, machine } = input;
    for (const device of ['cuda', undefined] as const) {
      const hosts = new Hosts('h1', 'h2');
      hosts.leasing = async (wish) => void asked.push(wish.gpu);
      await train(hosts, {
        ...input,
        recipe: { ...recipe, ...(device && { device }) },
        machine: { ...machine, device: device ?? 'cpu', gpu },
      });
    }
    expect(asked).toEqual([gpu, undefined]);
  });

  test('what one host loses opens the next generation for all, on the same hosts', async () => {
    const hosts = new Hosts('h1', 'h2', 'h3');
    hosts.lead = async (generation) =>
      generation.fence === 2 ? model : await untilFenced(hosts, generation);
    hosts.follow = async ({ fence }) => {
      if (fence === 1) throw new Error('the trainer on host h2 died at step 7');
    };
    expect(await train(hosts)).toEqual(model);
    expect(hosts.gangs).toEqual([
      ['h1', 'h2'],
      ['h1', 'h2'],
    ]);
    expect(hosts.fence).toBe(2);
  });

  test('when every trainer of a meeting lives, they are adopted; when one is missing, all start anew', async () => {
    const hosts = new Hosts('h1', 'h2');
    hosts.lead = async ({ fence }) => {
      if (fence === 4) return model;
      throw new Error('the watcher let go');
    };
    hosts.seen = (host) => {
      if (hosts.fence === 2) return { meeting: 'm1', finished: false };
      if (hosts.fence === 3) return { meeting: host === 'h1' ? 'm1' : null, finished: false };
      if (hosts.fence === 4) return { meeting: null, finished: host === 'h1' };
      return { meeting: null, finished: false };
    };
    await train(hosts);
    expect(hosts.done.slice(0, 7)).toEqual([
      'h1 starts 1',
      'h2 starts 1',
      'h1 adopts 2',
      'h2 adopts 2',
      'h1 starts 3',
      'h2 starts 3',
      // The leading host had finished: nobody needs the other's trainer.
      'h1 adopts 4',
    ]);
  });

  test('hosts that each have a part of a checkpoint bring it before they prepare', async () => {
    const hosts = new Hosts('h1', 'h2');
    await train(hosts, { ...input, recipe: { ...input.recipe, parallelism: 'fsdp2' } });
    expect(hosts.done.slice(0, 2).toSorted()).toEqual([
      'h1 brings its shards',
      'h2 brings its shards',
    ]);
    expect(hosts.done.slice(2, 4)).toEqual(['h1 starts 1', 'h2 starts 1']);
  });

  test('trainers of two different meetings are not gone on with', async () => {
    const hosts = new Hosts('h1', 'h2');
    hosts.seen = (host) => ({ meeting: `left on ${host}`, finished: false });
    await train(hosts);
    expect(hosts.done.slice(0, 2)).toEqual(['h1 starts 1', 'h2 starts 1']);
  });

  test('a host that answers no more is replaced, and the others keep their order', async () => {
    const hosts = new Hosts('h1', 'gone', 'h3');
    const training = train(hosts);
    await expect.poll(() => hosts.fence, { timeout: 20_000 }).toBe(1);
    // The time-skipping server does not skip while an activity waits for a worker.
    await sleep(200);
    hosts.living = ['h1', 'h3'];
    await env.sleep('70s');
    expect(await training).toEqual(model);
    expect(hosts.gangs).toEqual([['h1', 'h3']]);
    // Nobody on it could say that no trainer runs there: its lease is left to run out.
    expect([...hosts.holders.keys()]).toEqual(['gone']);
  });

  test('who cannot have all hosts keeps none, and goes on when there are enough', async () => {
    const hosts = new Hosts('h1', 'h2');
    hosts.lead = async (generation) => {
      if (generation.fence > 1) return model;
      hosts.living = ['h1'];
      throw new Error('connection closed by peer');
    };
    await train(hosts, input, async () => {
      await expect.poll(() => hosts.done).toContain('control released h1');
      await expect.poll(() => hosts.holders.size).toBe(0);
      await env.sleep('10m');
      hosts.living = ['h1', 'h3'];
      await env.sleep('2m');
    });
    expect(hosts.done).toContain('h1 stood down');
    expect(hosts.gangs).toEqual([
      ['h1', 'h2'],
      ['h1', 'h3'],
    ]);
  });

  test('a cancellation while hosts stand down still stops their trainers, and gives them back', async () => {
    const hosts = new Hosts('h1', 'h2', 'h3');
    const wanted = { ...input, gang: { numHosts: 3, elastic: false } };
    wanted.recipe = { ...wanted.recipe, worldSize: 3 };
    hosts.lead = async () => {
      hosts.living = ['h1', 'h2'];
      throw new Error('connection closed by peer');
    };
    const stopping: string[] = [];
    hosts.stopping = async (host) => {
      stopping.push(host);
      const context = Context.current();
      for (let part = 0; part < 20; part += 1) {
        context.heartbeat();
        await Promise.race([sleep(50), context.cancelled]);
      }
    };
    const failure = await train(hosts, wanted, async (handle) => {
      await expect.poll(() => stopping.toSorted()).toEqual(['h1', 'h2', 'h3']);
      await handle.cancel();
    }).catch((error: unknown) => error);
    expect((failure as WorkflowFailedError).cause).toBeInstanceOf(CancelledFailure);
    expect(hosts.done.filter((what) => what.endsWith('stood down')).toSorted()).toEqual([
      'h1 stood down',
      'h2 stood down',
      'h3 stood down',
    ]);
    expect(hosts.holders.size).toBe(0);
  });

  test('hosts that cannot be leased again are left without a trainer, and given back', async () => {
    const hosts = new Hosts('h1', 'h2');
    hosts.lead = async () => {
      hosts.leasing = async () => {
        throw ApplicationFailure.nonRetryable('no such bucket', FailureType.InvalidConfig);
      };
      throw new Error('connection closed by peer');
    };
    const failure = await train(hosts).catch((error: unknown) => error);
    expect(String((failure as WorkflowFailedError).cause?.cause)).toContain('no such bucket');
    expect(hosts.done.filter((what) => what.endsWith('failed')).toSorted()).toEqual([
      'h1 failed',
      'h2 failed',
    ]);
    expect(hosts.holders.size).toBe(0);
  });

  test('two runs that want the same hosts train one after the other', async () => {
    const hosts = new Hosts('h1', 'h2', 'h3');
    let training = 0;
    let most = 0;
    hosts.lead = async () => {
      most = Math.max(most, (training += 1));
      for (let part = 0; part < 5; part += 1) {
        Context.current().heartbeat();
        await sleep(50);
      }
      training -= 1;
      return model;
    };
    current = hosts;
    for (const handle of await Promise.all([start(input), start(input)])) await handle.result();
    expect(most).toBe(1);
    expect(hosts.gangs).toHaveLength(2);
    expect(hosts.holders.size).toBe(0);
  });

  test('a verdict of the leading host counts, though another one noticed the end first', async () => {
    const hosts = new Hosts('h1', 'h2');
    hosts.lead = async () => {
      await sleep(500);
      throw ApplicationFailure.nonRetryable('loss is NaN', FailureType.TrainingDiverged);
    };
    hosts.follow = async () => {
      throw new Error('connection closed by peer');
    };
    const failure = await train(hosts).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(WorkflowFailedError);
    expect(String((failure as WorkflowFailedError).cause?.cause)).toContain('loss is NaN');
    expect(hosts.fence).toBe(1);
    expect(hosts.done.filter((what) => what.endsWith('failed'))).toHaveLength(2);
  });

  test('a host that is upgraded later than the one that leads is waited for, far beyond eight generations', async () => {
    const hosts = new Hosts('h1', 'h2');
    hosts.prepare = async ({ fence }) => {
      if (fence === 20) return;
      const message = 'host h2 has other code of the trainer';
      throw ApplicationFailure.create({ message, type: PassingFailure.OtherCode });
    };
    const before = await env.currentTimeMs();
    expect(await train(hosts)).toEqual(model);
    expect(hosts.fence).toBe(20);
    // 1, 2, 5, 10, 20, 40, then 60 seconds each time.
    expect((await env.currentTimeMs()) - before).toBeGreaterThanOrEqual(858_000);
  });

  test('a model that counts is not lost with a host that fails at the very end', async () => {
    const hosts = new Hosts('h1', 'h2');
    hosts.lead = async () => {
      await sleep(500);
      return model;
    };
    hosts.follow = async () => {
      throw new Error('connection closed by peer');
    };
    expect(await train(hosts)).toEqual(model);
    expect(hosts.fence).toBe(1);
  });

  test('a return to an earlier step is not held against the generation, whoever noticed the end first', async () => {
    const hosts = new Hosts('h1', 'h2');
    hosts.lead = async ({ fence }) => {
      if (fence === 12) return model;
      await sleep(20);
      const message = 'loss 7.12 since step 31: taken back to step 30';
      throw ApplicationFailure.create({ message, type: PassingFailure.RolledBack });
    };
    hosts.follow = async () => {
      throw new Error('connection closed by peer');
    };
    expect(await train(hosts)).toEqual(model);
    expect(hosts.fence).toBe(12);
  });

  test.each([
    {
      leaver: 'h1',
      gangs: [
        ['h1', 'h2'],
        ['h2', 'h3'],
      ],
    },
    {
      leaver: 'h2',
      gangs: [
        ['h1', 'h2'],
        ['h1', 'h3'],
      ],
    },
  ])(
    'a gang goes on without $leaver, which leaves, and gives that back alone',
    async ({ leaver, gangs }) => {
      const hosts = new Hosts('h1', 'h2', 'h3');
      const leave = async ({ fence }: Generation, host: string) => {
        if (fence > 1) return;
        const message = `host ${host} was told to leave; handed over at checkpoint 7, 0 steps lost`;
        if (host !== leaver) throw ApplicationFailure.create({ message: 'asked', type: 'Stopped' });
        await sleep(300);
        hosts.living = hosts.living.filter((name) => name !== leaver);
        const type = PassingFailure.HostLeaving;
        throw ApplicationFailure.create({ message, type, details: [{ host }] });
      };
      hosts.follow = leave;
      hosts.lead = async (generation, host) => {
        await leave(generation, host);
        return model;
      };
      expect(await train(hosts)).toEqual(model);
      expect(hosts.gangs).toEqual(gangs);
      const given = hosts.done.filter((what) => what.includes('released'));
      expect(given[0]).toContain(`released ${leaver}`);
      expect(hosts.done.filter((what) => what.includes('stand'))).toEqual([]);
    },
  );

  test('a cancellation waits until the leading host has saved, then stops and gives back every host', async () => {
    const hosts = new Hosts('h1', 'h2');
    let saved = false;
    hosts.lead = async () => {
      const context = Context.current();
      const beat = setInterval(() => context.heartbeat(), 50);
      try {
        await context.cancelled;
      } catch (reason) {
        await sleep(1000);
        // None may have fenced it off.
        saved = hosts.done.every((what) => !what.endsWith('cancelled'));
        throw reason;
      } finally {
        clearInterval(beat);
      }
      throw new Error('never');
    };
    hosts.follow = async () => {
      const context = Context.current();
      const beat = setInterval(() => context.heartbeat(), 50);
      await context.cancelled.finally(() => clearInterval(beat));
    };
    const failure = await train(hosts, input, async (handle) => {
      await expect.poll(() => hosts.done).toContain('h2 starts 1');
      await sleep(200);
      await handle.cancel();
    }).catch((error: unknown) => error);
    expect((failure as WorkflowFailedError).cause).toBeInstanceOf(CancelledFailure);
    expect(saved).toBe(true);
    expect(hosts.done.filter((what) => what.endsWith('cancelled')).toSorted()).toEqual([
      'h1 cancelled',
      'h2 cancelled',
    ]);
    expect(hosts.holders.size).toBe(0);
  });

  test('where the pipeline allows it, a run that waited a minute for hosts goes on with fewer', async () => {
    const hosts = new Hosts('h1', 'h2', 'h3');
    const wanted = { ...input, gang: { numHosts: 4, elastic: true } };
    const before = await env.currentTimeMs();
    expect(await train(hosts, wanted)).toEqual(model);
    expect((await env.currentTimeMs()) - before).toBeGreaterThanOrEqual(60_000);
    // Of a batch of 16, three hosts could not train equal parts.
    expect(wanted.recipe.batchSize % 3).not.toBe(0);
    expect(hosts.gangs).toEqual([['h1', 'h2']]);
  });
});
