/** A host that is told to leave: its training is handed over at the very step, and another host goes on from there. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import http from 'node:http';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createGangActivities } from '../../activities/gang.ts';
import { reportHostAgain } from '../../activities/host-reports.ts';
import { Leaving } from '../../activities/leaving.ts';
import { createTrainActivities } from '../../activities/train.ts';
import type { TrainerStart } from '../../activities/trainer-start.ts';
import { endTrainer, findTrainer } from '../../activities/trainer-process.ts';
import type { Generation, TrainedModel } from '../../activities/training-job.ts';
import { PassingFailure } from '../../config/failures.ts';
import { readBlob } from '../../registry/blobs.ts';
import { livingHosts, reportHost } from '../../registry/hosts.ts';
import type { Store } from '../../registry/store.ts';
import { readCheckpoint, readHead } from '../../registry/training.ts';
import {
  fileNotice,
  metadataNotice,
  watchNotices,
  type NoticeSource,
} from '../../workers/leaving-notices.ts';
import { machine, recipe } from '../support/recipes.ts';
import { storeCorpus } from '../support/records.ts';
import { startS3 } from '../support/s3.ts';
import { openGeneration, scriptedDeps, scriptTrainer, until } from '../support/scripted-host.ts';

const token = 'a-token';
/** What the metadata service says; it knows nothing else. */
let notices: Record<string, object> = {};
const refused: string[] = [];
const metadata = http.createServer((request, response) => {
  const { method, url = '', headers } = request;
  if (url === '/latest/api/token') {
    const isAsked = method === 'PUT' && 'x-aws-ec2-metadata-token-ttl-seconds' in headers;
    response.writeHead(isAsked ? 200 : 400).end(isAsked ? token : '');
    return;
  }
  if (headers['x-aws-ec2-metadata-token'] !== token) {
    refused.push(url);
    response.writeHead(401).end();
    return;
  }
  const found = notices[url.replace('/latest/meta-data/', '')];
  response.writeHead(found === undefined ? 404 : 200).end(JSON.stringify(found ?? null));
});

let s3: Awaited<ReturnType<typeof startS3>>;
let corpus: string;
let address: string;
beforeAll(async () => {
  s3 = await startS3();
  corpus = await storeCorpus(s3.store);
  await new Promise<void>((resolve) => metadata.listen(0, '127.0.0.1', resolve));
  address = `http://127.0.0.1:${(metadata.address() as AddressInfo).port}`;
});
afterAll(async () => {
  metadata.close();
  await s3.stop();
});

let number = 0;
let root: string;
let trial: Generation['job']['trial'];
let ended: AbortController;
beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'temper-leaving-'));
  trial = { run: `leaving-${++number}`, phase: 'pretrain', round: 0, trial: 0 };
  ended = new AbortController();
  notices = {};
});
const runDirOf = (home: string) => path.join(home, 'runs', trial.run, 'pretrain-0-0');
afterEach(async () => {
  ended.abort();
  for (const host of ['a', 'b']) await endTrainer(runDirOf(path.join(root, host)), 0);
  await rm(root, { recursive: true, force: true });
});

/** A host with a disk of its own. */
async function hostNamed(name: string, store: Store = s3.store, stepMs = 200) {
  const home = path.join(root, name);
  await scriptTrainer(home, { stepMs });
  const leaving = new Leaving();
  const deps = { ...scriptedDeps({ store, home, host: name }), leaving };
  const activities = createTrainActivities(deps);
  const run = async <Result>(work: (input: never) => Promise<Result>, input: unknown) =>
    (await new MockActivityEnvironment().run(work as never, input)) as Result;
  const prepare = (generation: Generation): Promise<TrainerStart> =>
    run(activities.prepareTrainer, generation);
  const watch = (generation: Generation, start: TrainerStart): Promise<TrainedModel> =>
    run(activities.watchTrainer, { ...generation, start });
  const watchFor = (source: NoticeSource) =>
    watchNotices([source], {
      leaving,
      leavingMs: 120_000,
      now: deps.now,
      signal: ended.signal,
      warn: ({ error }) => {
        throw error;
      },
    });
  const open = () => {
    // Once at 60: only what is handed over counts before.
    const phase = { ...recipe.pretrain, seed: number, numSteps: 90, saveEverySteps: 60 };
    const job = { trial, recipe: phase, shape: recipe.model, machine, corpus, init: null };
    return openGeneration(activities, job);
  };
  const events = path.join(runDirOf(home), 'events.jsonl');
  const reached = (step: number) =>
    until(async () =>
      (await readFile(events, 'utf8').catch(() => '')).includes(`"step","step":${step},`),
    );
  return { home, deps, leaving, activities, prepare, watch, watchFor, open, reached };
}

const failure = async (work: Promise<unknown>) =>
  await work.then(
    () => null,
    (error: unknown) => error as Error & { details: unknown[] },
  );

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
/** The weights that the scripted trainer makes of this seed, whatever happens on the way. */
const undisturbed = () => sha256(sha256(`seed ${number} step 90`).repeat(50));

const in2Minutes = () => new Date(Date.now() + 120_000).toISOString();
const ways: {
  name: string;
  why: RegExp;
  watch: (host: Awaited<ReturnType<typeof hostNamed>>) => void;
  tell: (host: Awaited<ReturnType<typeof hostNamed>>) => Promise<void> | void;
}[] = [
  {
    name: 'a file',
    why: /^host a was told to leave \(maintenance\) at step/,
    watch: ({ home, watchFor }) => watchFor(fileNotice(path.join(home, 'leaving'))),
    tell: ({ home }) => writeFile(path.join(home, 'leaving'), 'maintenance\nat noon'),
  },
  {
    name: 'a spot notice',
    why: /^host a was told to leave \(EC2 will terminate this spot machine\) at step/,
    watch: ({ watchFor }) => watchFor({ ...metadataNotice(address), everyMs: 100 }),
    tell: () => {
      notices['spot/instance-action'] = { action: 'terminate', time: in2Minutes() };
    },
  },
  {
    name: 'a recommendation to rebalance',
    why: /^host a was told to leave \(EC2 recommends to rebalance\) at step/,
    watch: ({ watchFor }) => watchFor({ ...metadataNotice(address), everyMs: 100 }),
    tell: () => {
      notices['events/recommendations/rebalance'] = { noticeTime: in2Minutes() };
    },
  },
];

describe.each(ways)('$name', ({ why, watch, tell }) => {
  test('hands the training over at the very step, and another host goes on from there to the same weights', async () => {
    const a = await hostNamed('a');
    watch(a);
    const generation = await a.open();
    const watching = failure(a.watch(generation, await a.prepare(generation)));
    await a.reached(5);
    expect(a.leaving.notice).toBeNull();
    await tell(a);
    const error = await watching;
    expect(error).toMatchObject({ type: PassingFailure.HostLeaving, nonRetryable: false });
    expect(error!.details).toEqual([{ host: 'a' }]);
    expect(error!.message).toMatch(why);
    const [, step, checkpoint] = /at step (\d+); handed over at checkpoint (\d+), 0 steps lost$/
      .exec(error!.message)!
      .map(Number);
    expect(step).toBe(checkpoint);
    expect(step).toBeLessThan(60);
    expect(await findTrainer(runDirOf(a.home))).toEqual([]);
    const head = (await readHead(s3.store, trial))!.value;
    expect(head.chain).toMatchObject([{ step, fence: generation.fence }]);
    const { files } = await readCheckpoint(s3.store, head.chain[0]!);
    const state = await readBlob(s3.store, files['state.json']!);
    expect(JSON.parse(state.toString())).toMatchObject({ step });

    await rm(a.home, { recursive: true });
    const b = await hostNamed('b', s3.store, 1);
    const next = await b.open();
    const start = await b.prepare(next);
    expect(start).toEqual({
      adopted: false,
      resumedFrom: step,
      note: `resumed from step ${step}, 0 steps lost`,
    });
    const model = await b.watch(next, start);
    expect(model.weights).toBe(undisturbed());
    expect(refused).toEqual([]);
  });
});

describe('a host that leaves', () => {
  const told = (leaving: Leaving, ms: number) =>
    leaving.tell({ why: 'SIGTERM', deadline: new Date(Date.now() + ms) });

  test('whose store does not answer in time says from where another goes on', async () => {
    let isAway = false;
    const away = async () => {
      if (isAway) throw new Error('503');
    };
    const { store } = s3;
    const a = await hostNamed('a', {
      ...store,
      putFileIfAbsent: async (...args) => {
        await away();
        return await store.putFileIfAbsent(...args);
      },
      putIfAbsent: async (...args) => {
        await away();
        return await store.putIfAbsent(...args);
      },
    });
    const generation = await a.open();
    const watching = failure(a.watch(generation, await a.prepare(generation)));
    await a.reached(3);
    isAway = true;
    told(a.leaving, 6000);
    const error = await watching;
    expect(error).toMatchObject({ type: PassingFailure.HostLeaving });
    const lost = /at step (\d+); no later checkpoint was stored in time than that of step 0, (\d+)/;
    const [, step, steps] = lost.exec(error!.message)!.map(Number);
    expect(steps).toBe(step);
    expect((await readHead(store, trial))!.value.chain).toEqual([]);
  });

  /** A store that can be away: all of it, or what is written to it. */
  const awayStore = () => {
    const away: { is: 'no' | 'writing' | 'all' } = { is: 'no' };
    const { store } = s3;
    const at =
      <Args extends unknown[], Result>(
        when: typeof away.is,
        work: (...args: Args) => Promise<Result>,
      ) =>
      async (...args: Args) => {
        if (away.is === 'all' || away.is === when) throw new Error('503');
        return await work(...args);
      };
    const held: Store = {
      ...store,
      get: at('all', store.get),
      putIfAbsent: at('writing', store.putIfAbsent),
      putFileIfAbsent: at('writing', store.putFileIfAbsent),
    };
    return { away, held };
  };

  test.each(['no', 'all'] as const)(
    'leaves no trainer there that did not end in time, with a store that is away: %s',
    async (is) => {
      const { away, held } = awayStore();
      const a = await hostNamed('a', held);
      await scriptTrainer(a.home, { stepMs: 200, obstinate: true });
      const generation = await a.open();
      const watching = failure(a.watch(generation, await a.prepare(generation)));
      await a.reached(2);
      away.is = is;
      told(a.leaving, 4500);
      expect(await watching).toMatchObject({ type: PassingFailure.HostLeaving });
      expect(await findTrainer(runDirOf(a.home))).toEqual([]);
    },
  );

  test('hands over what counts when its time ends while it stores the model', async () => {
    const { away, held } = awayStore();
    const a = await hostNamed('a', held, 5);
    const generation = await a.open();
    const start = await a.prepare(generation);
    away.is = 'writing';
    const watching = failure(a.watch(generation, start));
    await until(() => existsSync(path.join(runDirOf(a.home), 'result.json')));
    await sleep(1500);
    told(a.leaving, 4500);
    const error = await watching;
    expect(error).toMatchObject({ type: PassingFailure.HostLeaving });
    expect(error!.message).toContain('at step 90; no later checkpoint was stored in time');
    expect((await readHead(s3.store, trial))!.value.finished).toBeNull();
  });

  test('is not leased again, even by who had it before', async () => {
    const a = await hostNamed('a');
    const report = { schemaVersion: 1 as const, host: 'again', at: new Date().toISOString() };
    await reportHost(s3.store, 'local', { ...report, leaving: 'SIGTERM' });
    const ask = { host: 'again', holder: 'training/again', unwatchedExitS: 60 };
    const { busy } = await a.activities.leaseHost(ask);
    expect(busy).toMatchObject({ lacks: 'time left' });
    await reportHost(s3.store, 'local', report);
    expect(await a.activities.leaseHost(ask)).toEqual({ host: 'again', busy: null });
  });

  test('is told so when a trainer is to be started there, or the host to be leased', async () => {
    const a = await hostNamed('a');
    const generation = await a.open();
    told(a.leaving, 60_000);
    const refusals = [
      failure(a.prepare(generation)),
      failure(a.activities.leaseHost({ host: null, holder: 'training/a', unwatchedExitS: 60 })),
    ];
    for (const error of await Promise.all(refusals)) {
      expect(error).toMatchObject({ type: PassingFailure.HostLeaving, nonRetryable: false });
      expect(error!.message).toBe('host a was told to leave (SIGTERM); nothing is begun on it');
    }
    expect(await findTrainer(runDirOf(a.home))).toEqual([]);
  });

  test('adopts the trainer that its last worker left, to hand it over', async () => {
    const a = await hostNamed('a');
    await a.prepare(await a.open());
    await a.reached(3);
    told(a.leaving, 60_000);
    const next = await a.open();
    const start = await a.prepare(next);
    expect(start).toMatchObject({ adopted: true });
    const error = await failure(a.watch(next, start));
    expect(error?.message).toMatch(/handed over at checkpoint \d+, 0 steps lost/);
  });

  test('is taken for no gang any more, as soon as it is told', async () => {
    const { deps, leaving } = await hostNamed('a');
    const living = async () =>
      (await livingHosts(s3.store, 'local', new Date())).map(({ host }) => host);
    await reportHostAgain({ ...deps, gangAddress: '127.0.0.1' });
    await until(async () => (await living()).includes('a'));
    const gang = createGangActivities(deps);
    const ask = { sizes: [1], preferred: ['a'], holder: 'training/g', unwatchedExitS: 60 };
    told(leaving, 60_000);
    await until(async () => !(await living()).includes('a'));
    expect(await gang.leaseHosts(ask)).toEqual({ hosts: [], living: [] });
  });
});

test('a deadline that EC2 names after it has recommended to rebalance is heard', async () => {
  const leaving = new Leaving();
  notices['events/recommendations/rebalance'] = { noticeTime: in2Minutes() };
  const said: unknown[] = [];
  watchNotices([{ ...metadataNotice(address), everyMs: 20 }], {
    leaving,
    leavingMs: 900_000,
    now: () => new Date(),
    signal: ended.signal,
    warn: ({ error }) => said.push(error),
  });
  await until(() => leaving.notice !== null);
  const time = in2Minutes();
  notices['spot/instance-action'] = { action: 'terminate', time };
  await until(() => leaving.notice!.deadline.toISOString() === time);
  expect(leaving.notice!.why).toBe('EC2 recommends to rebalance');
  expect(said).toEqual([]);
});

test('of two notices the earlier deadline counts', () => {
  const leaving = new Leaving();
  leaving.tell({ why: 'rebalance', deadline: new Date(2000) });
  leaving.tell({ why: 'spot', deadline: new Date(1000) });
  leaving.tell({ why: 'SIGTERM', deadline: new Date(3000) });
  expect(leaving.notice).toEqual({ why: 'rebalance', deadline: new Date(1000) });
});
