import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import { createGangActivities, tellAcknowledged } from '../../activities/gang.ts';
import { createTrainActivities } from '../../activities/train.ts';
import { CheckpointUploads, uploadCheckpoint } from '../../activities/checkpoint-uploads.ts';
import { Leaving } from '../../activities/leaving.ts';
import { ShardUploads } from '../../activities/shard-uploads.ts';
import { restoreCheckpoint, type TrainerStart } from '../../activities/trainer-start.ts';
import { endTrainer, findTrainer, signalTrainer } from '../../activities/trainer-process.ts';
import type { Generation, TrainedModel } from '../../activities/training-job.ts';
import { FailureType, PassingFailure } from '../../config/failures.ts';
import type { TrainerRun } from '../../config/trainer.ts';
import { reportHost } from '../../registry/hosts.ts';
import { acquireHost } from '../../registry/leases.ts';
import { readHead } from '../../registry/training.ts';
import { machine, recipe } from '../support/recipes.ts';
import { storeCorpus } from '../support/records.ts';
import { openGeneration, scriptedDeps, scriptTrainer, until } from '../support/scripted-host.ts';
import { startS3 } from '../support/s3.ts';

/** The trainers of these hosts train alone, as the scripted one does: what is tested is the side that watches. */
let s3: Awaited<ReturnType<typeof startS3>>;
let corpus: string;
beforeAll(async () => {
  s3 = await startS3();
  corpus = await storeCorpus(s3.store);
}, 60_000);
afterAll(async () => {
  await s3.stop();
});

interface Host {
  name: string;
  deps: Deps;
  runDir: string;
  activities: ReturnType<typeof createTrainActivities> & ReturnType<typeof createGangActivities>;
}
let hosts: Host[];
let names: string[];
let trial: Generation['job']['trial'];
let number = 0;

async function newHost(name: string, gangAddress: string): Promise<Host> {
  const home = await mkdtemp(path.join(os.tmpdir(), 'temper-gang-'));
  const deps = scriptedDeps({ store: s3.store, home, host: name, gangAddress });
  const activities = { ...createTrainActivities(deps), ...createGangActivities(deps) };
  return { name, deps, activities, runDir: path.join(home, 'runs', trial.run, 'pretrain-0-0') };
}

beforeEach(async () => {
  trial = { run: `gang-${++number}`, phase: 'pretrain', round: 0, trial: 0 };
  hosts = await Promise.all([
    newHost(`a${number}`, '127.0.0.2'),
    newHost(`b${number}`, '127.0.0.3'),
  ]);
  names = hosts.map(({ name }) => name);
});
afterEach(async () => {
  for (const { runDir, deps } of hosts) {
    await endTrainer(runDir, 0);
    await rm(deps.home, { recursive: true, force: true });
  }
});

async function script(what: object): Promise<void> {
  for (const { deps } of hosts) await scriptTrainer(deps.home, what);
}

async function open(
  changes: { numSteps?: number; saveEverySteps?: number } = {},
): Promise<Generation> {
  const job = {
    trial,
    recipe: {
      ...recipe.pretrain,
      seed: 5000 + number,
      numSteps: 30,
      saveEverySteps: 10,
      worldSize: 2,
      ...changes,
    },
    shape: recipe.model,
    machine,
    corpus,
    init: null,
  };
  return await openGeneration(hosts[0]!.activities, job);
}

const run = async <Result>(work: (...args: never[]) => Promise<Result>, input: unknown) =>
  (await new MockActivityEnvironment().run(work as never, input)) as Result;

/** Both hosts prepare, as the workflow lets them. */
async function prepare(generation: Generation, adopt = false, gang = names) {
  const [leading, ...others] = hosts.filter(({ name }) => gang.includes(name));
  const start: TrainerStart = await run(leading!.activities.prepareTrainer, {
    ...generation,
    gang: { hosts: gang, adopt },
  });
  const member = { ...generation, gang: { hosts: gang, adopt: start.adopted } };
  for (const { activities } of others) await run(activities.prepareFollower, member);
  return { member, start };
}

async function watch({ member, start }: Awaited<ReturnType<typeof prepare>>) {
  const [leading, ...others] = hosts.filter(({ name }) => member.gang.hosts.includes(name));
  const trained: Promise<TrainedModel> = run(leading!.activities.watchTrainer, {
    ...member,
    start,
  });
  const followed = others.map(({ activities }) => run(activities.watchFollower, member));
  return await Promise.allSettled([trained, ...followed] as const);
}

const runOf = async ({ runDir }: Host) =>
  JSON.parse(await readFile(path.join(runDir, 'run.json'), 'utf8')) as TrainerRun;
const pidsOf = async () => await Promise.all(hosts.map(({ runDir }) => findTrainer(runDir)));
const failure = async (work: Promise<unknown>) =>
  await work.then(
    () => null,
    (error: unknown) => error as Error & { type?: string; nonRetryable?: boolean },
  );

const bytesOf = (text: string) => {
  const bytes = Buffer.from(text);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { bytes, ref: { sha256, bytes: bytes.length } };
};

/** What each of two hosts holds of a checkpoint that is parted among their ranks: the first one also the list of all. */
async function partedCheckpoint(step: number): Promise<[string, string]> {
  const shards = ['first', 'second'].map((text) =>
    bytesOf(`${text} shard of step ${step} of ${trial.run}`),
  );
  const names = ['shard-00001-of-00002.safetensors', 'shard-00002-of-00002.safetensors'] as const;
  const folders = hosts.map(({ runDir }) => path.join(runDir, 'checkpoints', String(step)));
  for (const [index, folder] of folders.entries()) {
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, names[index]!), shards[index]!.bytes);
  }
  const files = { [names[0]]: shards[0]!.ref, [names[1]]: shards[1]!.ref };
  const state = JSON.stringify({ step, numShards: 2, files });
  await writeFile(path.join(folders[0]!, 'state.json'), state);
  await writeFile(path.join(folders[0]!, 'state.sha256'), bytesOf(state).ref.sha256);
  return folders as [string, string];
}

describe('a checkpoint that is parted among two hosts', () => {
  const opened = async () => {
    const generation = { ...(await open()), gang: { hosts: names, adopt: false } };
    const head = (await readHead(s3.store, trial))!.value;
    return new CheckpointUploads(hosts[0]!.deps, generation, head, async () => {});
  };
  const chain = async () => (await readHead(s3.store, trial))!.value.chain.map(({ step }) => step);

  test('counts when both have brought their shards, and not before', async () => {
    const uploads = await opened();
    const [leading, following] = await partedCheckpoint(10);
    uploads.offer(10, leading);
    await sleep(1200);
    expect(await chain()).toEqual([]);
    expect(uploads.acknowledged).toEqual([]);
    const shards = new ShardUploads(s3.store);
    shards.offer(10, following);
    await uploads.settle();
    expect(await chain()).toEqual([10]);
    expect(shards.acknowledged).toEqual([10]);
    const { value: head } = (await readHead(s3.store, trial))!;
    const { deps, runDir } = hosts[1]!;
    const restore = async () => (await restoreCheckpoint(deps, runDir, head))!.folder;
    const folder = (await new MockActivityEnvironment().run(restore)) as string;
    expect((await readdir(folder)).toSorted()).toEqual([
      'shard-00001-of-00002.safetensors',
      'shard-00002-of-00002.safetensors',
      'state.json',
      'state.sha256',
    ]);
  });

  test('is left out when the other host never brings its own, or other bytes', async () => {
    // It says in the log of its activity what it leaves out.
    await new MockActivityEnvironment().run(async () => {
      const uploads = await opened();
      const [leading, following] = await partedCheckpoint(10);
      uploads.offer(10, leading);
      await writeFile(path.join(following, 'shard-00002-of-00002.safetensors'), 'damaged');
      const shards = new ShardUploads(s3.store);
      shards.offer(10, following);
      await uploads.settle(100);
      expect(await chain()).toEqual([]);
      await partedCheckpoint(20);
      shards.offer(20, path.join(path.dirname(following), '20'));
      await shards.settle();
      uploads.offer(20, path.join(path.dirname(leading), '20'));
      await uploads.settle(10_000);
      expect(await chain()).toEqual([20]);
      expect(uploads.acknowledged).toEqual([10, 20]);
    });
  });

  test('is gone on from where both hosts saved it unwatched', async () => {
    await script({ stepMs: 5000 });
    const generation = await open();
    await run(hosts[0]!.activities.prepareTrainer, {
      ...generation,
      gang: { hosts: names, adopt: false },
    });
    await Promise.all(hosts.map(({ runDir }) => endTrainer(runDir, 0)));
    await partedCheckpoint(10);
    await partedCheckpoint(20);
    for (const { activities } of hosts) await run(activities.seeTrainer, { trial, parted: true });
    const { start } = await prepare(await open());
    expect(start).toMatchObject({ adopted: false, resumedFrom: 20 });
    expect(await chain()).toEqual([20]);
  });

  test('is damaged on a host that trains alone and lacks a shard', async () => {
    const generation = await open();
    const [leading] = await partedCheckpoint(10);
    const upload = uploadCheckpoint(hosts[0]!.deps, generation, { step: 10, folder: leading });
    expect(await failure(upload)).toMatchObject({ name: 'DamagedCheckpoint' });
  });
});

test('a watcher whose generation is over tells the trainer nothing, nor one that is told by a newer one', async () => {
  await script({ stepMs: 5000 });
  const generation = await open();
  await prepare(generation);
  const { deps, runDir } = hosts[1]!;
  const file = path.join(runDir, 'control.json');
  const told = async () => JSON.parse(await readFile(file, 'utf8')) as object;
  await tellAcknowledged(deps, generation, [10]);
  const before = await told();
  expect(before).toMatchObject({ fence: 1, acknowledged: [10] });
  await writeFile(file, JSON.stringify({ ...before, fence: 2, acknowledged: [] }));
  await tellAcknowledged(deps, generation, [10, 20]);
  expect(await told()).toMatchObject({ fence: 2, acknowledged: [] });
  await writeFile(file, JSON.stringify(before));
  // While the store is away nobody can tell: the disk must not fill up for that.
  const get = async () => {
    throw new Error('503');
  };
  const away = { ...deps, store: { ...deps.store, get } };
  await new MockActivityEnvironment().run(() => tellAcknowledged(away, generation, [10, 20]));
  expect(await told()).toMatchObject({ acknowledged: [10, 20] });
  await writeFile(file, JSON.stringify(before));
  await open();
  expect(await failure(tellAcknowledged(deps, generation, [10, 20]))).toMatchObject({
    type: FailureType.Fenced,
  });
  expect(await told()).toEqual(before);
});

describe('a training on two hosts whose last checkpoint the other one brings late', () => {
  /** The leading trainer has ended well, and the shards of its last step are here and there. */
  const ended = async () => {
    await script({ stepMs: 5000 });
    const { member, start } = await prepare(await open());
    const { runDir, activities } = hosts[0]!;
    for (const host of hosts) await endTrainer(host.runDir, 0);
    const [leading, following] = await partedCheckpoint(30);
    const saved = { at: 0, event: 'checkpoint', step: 30, path: leading };
    await writeFile(path.join(runDir, 'events.jsonl'), `${JSON.stringify(saved)}\n`);
    await mkdir(path.join(runDir, 'model'));
    await writeFile(path.join(runDir, 'model', 'model.safetensors'), 'weights');
    const facts = { step: 30, numTokens: 1, finalLoss: 1, valBpb: null, model: 'model' };
    await writeFile(path.join(runDir, 'result.json'), JSON.stringify({ ok: true, ...facts }));
    const watching = run(activities.watchTrainer, { ...member, start });
    await sleep(2000);
    return { watching, following };
  };

  test('waits for it, so that the last step counts', async () => {
    const { watching, following } = await ended();
    const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 3_600_000);
    await sleep(1500);
    clock.mockRestore();
    const shards = new ShardUploads(s3.store);
    shards.offer(30, following);
    expect(await watching).toMatchObject({ numSteps: 30 });
    const { value: head } = (await readHead(s3.store, trial))!;
    expect(head.chain.map(({ step }) => step)).toEqual([30]);
  });

  test('waits no more when a newer generation has taken over', async () => {
    const { watching } = await ended();
    const told = failure(watching);
    await open();
    expect(await told).toMatchObject({ type: FailureType.Fenced });
  });
});

describe('a generation on two hosts', () => {
  test('meets where the leading host decided, and ends everywhere when the model counts', async () => {
    await script({ stepMs: 60 });
    const generation = await open();
    const prepared = await prepare(generation);
    const { gang } = (await readHead(s3.store, trial))!.value;
    expect(gang).toMatchObject({ hosts: names, address: '127.0.0.2', step: 0 });
    const runs = await Promise.all(hosts.map(runOf));
    const { meeting, address, port } = gang!;
    const common = { meeting, numHosts: 2, address, port };
    expect(runs.map((each) => each.gang)).toEqual([
      { ...common, host: 0, localAddress: '127.0.0.2' },
      { ...common, host: 1, localAddress: '127.0.0.3' },
    ]);
    const [trained, followed] = await watch(prepared);
    expect(trained).toMatchObject({ status: 'fulfilled', value: { numSteps: 30 } });
    expect((trained as { value: TrainedModel }).value.worlds).toBeUndefined();
    expect(followed).toMatchObject({ status: 'fulfilled' });
    for (const { runDir } of hosts) expect(await readdir(runDir).catch(() => null)).toBeNull();
    expect(await pidsOf()).toEqual([[], []]);
  });

  test('goes on from the same checkpoint, which a host that lacks it downloads', async () => {
    await script({ dieAt: 27 });
    const [trained, followed] = await watch(await prepare(await open()));
    expect(trained).toMatchObject({ status: 'rejected' });
    expect(followed).toMatchObject({ status: 'rejected' });
    // Another host takes the place of the second one.
    const lost = hosts[1]!;
    hosts[1] = await newHost(`c${number}`, '127.0.0.4');
    await rm(lost.deps.home, { recursive: true });
    names = [names[0]!, hosts[1]!.name];
    const prepared = await prepare(await open());
    expect(prepared.start).toMatchObject({ adopted: false, resumedFrom: 20 });
    const { runDir } = hosts[1]!;
    const resumed = await runOf(hosts[1]!);
    expect(resumed.resumeFrom).toBe(path.join(runDir, 'checkpoints', '20'));
    expect(resumed.gang).toMatchObject({ host: 1, localAddress: '127.0.0.4' });
    const [model] = await watch(prepared);
    expect(model).toMatchObject({ status: 'fulfilled', value: { numSteps: 30 } });
  });

  test('that was fenced off lets its trainers go on, and the next one adopts them all', async () => {
    await script({ stepMs: 5000 });
    const watching = watch(await prepare(await open()));
    await sleep(1000);
    const before = await pidsOf();
    expect(before.map((pids) => pids.length)).toEqual([1, 1]);
    const next = await open();
    for (const ended of await watching)
      expect(ended).toMatchObject({ status: 'rejected', reason: { type: FailureType.Fenced } });
    const seen = await Promise.all(
      hosts.map(({ activities }) => run(activities.seeTrainer, { trial })),
    );
    const { meeting } = (await readHead(s3.store, trial))!.value.gang!;
    expect(seen).toEqual([
      { meeting, finished: false },
      { meeting, finished: false },
    ]);
    const prepared = await prepare(next, true);
    expect(prepared.start.adopted).toBe(true);
    expect(await pidsOf()).toEqual(before);
    for (const { runDir } of hosts) {
      const told = JSON.parse(await readFile(path.join(runDir, 'control.json'), 'utf8')) as object;
      expect(told).toMatchObject({ fence: 2 });
    }
  });

  test('that finds one trainer missing ends the others, and starts them all anew at another meeting', async () => {
    await script({ stepMs: 5000 });
    await prepare(await open());
    const before = await pidsOf();
    const first = (await readHead(s3.store, trial))!.value.gang!;
    await endTrainer(hosts[1]!.runDir, 0);
    // Asked to adopt what is not there, it says so.
    const told = await failure(prepare(await open(), true));
    expect(told?.message).toBe(`the trainer of host ${names[1]} ended while its gang was adopted`);
    await prepare(await open());
    const after = await pidsOf();
    expect(after[0]).not.toEqual(before[0]);
    expect(after.map((pids) => pids.length)).toEqual([1, 1]);
    expect((await readHead(s3.store, trial))!.value.gang!.meeting).not.toBe(first.meeting);
  });

  test('loses with the follower whose trainer fails, for the reason that it gave', async () => {
    await script({ failAt: 5, failWith: 'TrainingDiverged' });
    const { member } = await prepare(await open());
    const told = await failure(run(hosts[1]!.activities.watchFollower, member));
    expect(told).toMatchObject({ type: FailureType.TrainingDiverged, nonRetryable: true });
    expect(told?.message).toBe(`the trainer on host ${names[1]} ended at step 5: as scripted`);
  });

  test('goes on with half as many sequences at once where a follower runs out of memory, and decides so once', async () => {
    await script({ failAt: 5, failWith: 'OutOfMemory' });
    const halvedTo = { type: PassingFailure.MicroBatchHalved, nonRetryable: false };
    for (const size of [4, 2, 1]) {
      const { member, start } = await prepare(await open());
      const told = await failure(run(hosts[1]!.activities.watchFollower, member));
      expect(told).toMatchObject(halvedTo);
      expect(told?.message).toBe(
        `out of memory at step 5: from step 0 on ${size} sequences at once, in the same batch`,
      );
      // The leading host found the same.
      const led = await failure(run(hosts[0]!.activities.watchTrainer, { ...member, start }));
      expect(led).toMatchObject({ ...halvedTo, message: told!.message });
    }
    const { microBatches = [] } = (await readHead(s3.store, trial))!.value;
    expect(microBatches.map(({ size, fence }) => [size, fence])).toEqual([
      [4, 1],
      [2, 2],
      [1, 3],
    ]);
    const { member } = await prepare(await open());
    const told = await failure(run(hosts[1]!.activities.watchFollower, member));
    expect(told).toMatchObject({ type: FailureType.OutOfMemory, nonRetryable: true });
  });

  test('leaves a host that another training took', async () => {
    await script({ stepMs: 200 });
    const { member } = await prepare(await open());
    const holder = 'training/other';
    await acquireHost(s3.store, 'local', names[1]!, { holder, now: new Date(), ttlMs: 60_000 });
    const told = await failure(run(hosts[1]!.activities.watchFollower, member));
    expect(told).toMatchObject({ type: PassingFailure.HostTaken });
    expect(await findTrainer(hosts[1]!.runDir)).toEqual([]);
  });

  test('stops together when the host of a follower leaves, which waits until all of it counts', async () => {
    await script({ stepMs: 200 });
    // Nothing counts before they stop, however long that takes.
    const long = { numSteps: 900, saveEverySteps: 900 };
    const { member, start } = await prepare(await open(long));
    const [leading, leaver] = hosts as [Host, Host];
    const leaving = new Leaving();
    leaver.deps.leaving = leaving;
    const led = failure(run(leading.activities.watchTrainer, { ...member, start }));
    let hasLeft = false;
    const followed = failure(run(leaver.activities.watchFollower, member)).finally(() => {
      hasLeft = true;
    });
    const reached = ({ runDir }: Host, step: number) =>
      until(async () =>
        (await readFile(path.join(runDir, 'events.jsonl'), 'utf8').catch(() => '')).includes(
          `"step","step":${step},`,
        ),
      );
    // Before it there is nothing to save, nor for the other host to wait for.
    await reached(leaver, 1);
    leaving.tell({ why: 'spot', deadline: new Date(Date.now() + 60_000) });
    await until(() => existsSync(path.join(leaver.runDir, 'result.json')));
    const text = await readFile(path.join(leaver.runDir, 'result.json'), 'utf8');
    const { type, step } = JSON.parse(text) as { type: string; step: number };
    expect(type).toBe('Stopped');
    await sleep(600);
    expect(hasLeft).toBe(false);
    // As its ranks do, which hear of it from those of the other host; these trainers count for themselves.
    await reached(leading, step);
    await signalTrainer(await findTrainer(leading.runDir), 'SIGTERM');
    expect(await led).toMatchObject({ type: 'Stopped', nonRetryable: false });
    const told = await followed;
    const { chain } = (await readHead(s3.store, trial))!.value;
    const durable = chain.at(-1)!.step;
    expect(durable).toBeGreaterThanOrEqual(step);
    expect(told).toMatchObject({ type: PassingFailure.HostLeaving, nonRetryable: false });
    expect(told?.message).toBe(
      `host ${names[1]} was told to leave (spot) at step ${step}; handed over at checkpoint ${durable}, 0 steps lost`,
    );
    const refused = await failure(prepare(await open(long)));
    expect(refused).toMatchObject({ type: PassingFailure.HostLeaving });
  });

  test('leaves no trainer on the host of a follower that leaves, and did not end in time', async () => {
    await script({ stepMs: 5000, obstinate: true });
    const { member } = await prepare(await open());
    const leaver = hosts[1]!;
    leaver.deps.leaving = new Leaving();
    leaver.deps.leaving.tell({ why: 'spot', deadline: new Date(Date.now() + 4500) });
    const told = await failure(run(leaver.activities.watchFollower, member));
    expect(told).toMatchObject({ type: PassingFailure.HostLeaving });
    expect(await findTrainer(leaver.runDir)).toEqual([]);
  });

  test('stops its follower when a person cancels, and not when the worker shuts down', async () => {
    await script({ stepMs: 200 });
    const { member } = await prepare(await open());
    const { activities, runDir } = hosts[1]!;
    for (const [reason, left] of [
      ['WORKER_SHUTDOWN', 1],
      ['CANCELLED', 0],
    ] as const) {
      const env = new MockActivityEnvironment();
      const watching = failure(env.run(activities.watchFollower, member));
      await sleep(700);
      env.cancel(reason);
      expect((await watching)?.message).toMatch(left === 1 ? /let go/ : /CANCELLED/);
      expect(await findTrainer(runDir)).toHaveLength(left);
    }
  });

  test('of fewer hosts than planned gives a model that says so and is found by no other run', async () => {
    const generation = await open();
    const prepared = await prepare(generation, false, [names[0]!]);
    const alone = await runOf(hosts[0]!);
    expect(alone.gang).toBeUndefined();
    expect(alone.recipe.worldSize).toBe(1);
    const [model] = await watch(prepared);
    const worlds = [{ step: 0, numHosts: 1 }];
    expect(model).toMatchObject({ status: 'fulfilled', value: { worlds } });
    expect((model as { value: TrainedModel }).value.stage).not.toBe(generation.stage);
    const again = await hosts[0]!.activities.findTrainedModel(generation.job);
    expect(again.model).toBeNull();
  });

  test('is refused by a host without an address, with the name of the setting', async () => {
    delete hosts[0]!.deps.gangAddress;
    const told = await failure(prepare(await open()));
    expect(told).toMatchObject({ type: FailureType.InvalidConfig, nonRetryable: true });
    expect(told?.message).toMatch(/set TEMPER_GANG_ADDRESS/);
  });
});

test('the hosts of a gang are those that say they live, the ones it had before first', async () => {
  for (const { name, deps } of hosts) {
    const address = deps.gangAddress!;
    const at = new Date().toISOString();
    await reportHost(s3.store, 'local', { schemaVersion: 1, host: name, address, at });
  }
  const { leaseHosts } = hosts[0]!.activities;
  const ask = { sizes: [2], holder: 'training/x', unwatchedExitS: 600 };
  const preferred = ['gone', names[1]!];
  const { hosts: leased, living } = await leaseHosts({ ...ask, preferred });
  expect(leased).toEqual([names[1], names[0]]);
  expect(living).toEqual(names);
  expect(await leaseHosts({ ...ask, holder: 'training/y', preferred })).toMatchObject({
    hosts: [],
  });
});

test('hosts without the GPUs that a plan counts on are not leased', async () => {
  const gpu = { name: 'NVIDIA A100', count: 2, memoryBytes: 40e9 };
  for (const [index, { name, deps }] of hosts.entries()) {
    const said = { schemaVersion: 1 as const, host: name, address: deps.gangAddress! };
    const at = new Date().toISOString();
    await reportHost(s3.store, 'local', { ...said, at, ...(index === 1 && { gpu }) });
  }
  const { leaseHosts } = hosts[0]!.activities;
  const ask = { sizes: [2, 1], preferred: names, holder: 'training/gpus', unwatchedExitS: 600 };
  expect(await leaseHosts({ ...ask, gpu: { ...gpu, count: 4 } })).toEqual({
    hosts: [],
    living: [],
  });
  expect(await leaseHosts({ ...ask, gpu })).toEqual({ hosts: [names[1]], living: [names[1]] });
});
