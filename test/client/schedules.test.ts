/** Schedules on a real server: what Temporal holds of them, and what a start does. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createRetentionActivities } from '../../activities/retention.ts';
import { connectTemper, type TemperClient } from '../../client/client.ts';
import type { ScheduleDetails, ScheduledStart } from '../../client/schedules.ts';
import { pipelineSchema, type PipelineFile } from '../../config/pipeline.ts';
import { machine } from '../support/recipes.ts';
import { memoryStore } from '../support/memory-store.ts';
import { workflowsPath } from '../support/temporal.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
const main = path.join(projectDir, 'client/cli/main.ts');
const file: PipelineFile = {
  version: 1,
  name: 'policy',
  data: { sources: [{ path: 'docs', license: 'internal' }] },
};
const pipeline = { pipeline: pipelineSchema.parse(file), baseDir: projectDir };
const daily = { pipeline, machine, cron: '0 3 * * *', timezone: 'Asia/Taipei' };

let server: TestWorkflowEnvironment;
let workers: Worker[] = [];
let working: Promise<unknown>;
let temper: TemperClient;
let home: string;
/** What a start reads: the champion's own dataset, until a test says otherwise. */
let digest = 'd'.repeat(64);
/** Reading ends when this does. */
let reading: Promise<void> = Promise.resolve();

beforeAll(async () => {
  home = mkdtempSync(path.join(os.tmpdir(), 'temper-schedule-'));
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const attributes = ['run', 'model', 'dataset', 'stage'];
  server = await TestWorkflowEnvironment.createLocal({
    server: {
      executable: { type: 'existing-path', path: path.join(projectDir, '.venv/bin/temporal') },
      extraArgs: attributes.flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
    },
  });
  const activities = {
    findChampion: async () => ({
      name: 'policy',
      version: 3,
      dataset: { name: 'policy', version: 1, digest: 'd'.repeat(64) },
    }),
    ingestCorpus: async () => {
      await reading;
      if (digest === '') throw new RangeError('the documents are gone');
      return { dataset: { name: 'policy', version: 1, digest }, numDocuments: 1204, dropped: {} };
    },
  };
  const { nativeConnection: connection, client } = server;
  const deps = { store: memoryStore(), now: () => new Date(), client };
  const retention = createRetentionActivities(deps as never);
  const data = await Worker.create({ connection, taskQueue: 'data', activities });
  workers = [
    data,
    await Worker.create({
      connection,
      taskQueue: 'control',
      workflowsPath,
      activities: { ...activities, ...retention },
    }),
  ];
  working = Promise.all(workers.map((worker) => worker.run()));
  temper = await connectTemper({ address: server.address, namespace: 'default' });
});
afterAll(async () => {
  await temper?.close();
  for (const worker of workers) worker.shutdown();
  await working;
  await server?.teardown();
  rmSync(home, { recursive: true, force: true });
});

async function ended(name: string): Promise<ScheduledStart> {
  await expect
    .poll(async () => (await temper.showSchedule(name)).starts[0]?.state)
    .not.toBe('running');
  return (await temper.showSchedule(name)).starts[0]!;
}

test('a schedule holds the resolved pipeline, skips overlaps, makes up for one period and pauses on failure', async () => {
  const made = await temper.createSchedule(daily);
  expect(made).toMatchObject({
    name: 'policy',
    model: 'policy',
    cron: '0 3 * * *',
    when: 'every day at 03:00',
    timezone: 'Asia/Taipei',
    paused: false,
    catchUpMs: 86_400_000,
    started: 0,
    starts: [],
  });
  expect(made.next).toHaveLength(5);
  for (const time of made.next) expect(new Date(time).toISOString()).toContain('T19:00:00.000Z');
  expect(made.next[1]! - made.next[0]!).toBe(86_400_000);
  const { policies, action } = await server.client.schedule
    .getHandle('continuous/policy')
    .describe();
  expect(policies).toMatchObject({ overlap: 'SKIP', pauseOnFailure: true });
  expect(action.args).toEqual([{ ...pipeline, machine }]);
});

test('days that both fields name must fit both, as the words say', async () => {
  const { next, when } = await temper.createSchedule({
    ...daily,
    pipeline: { ...pipeline, pipeline: { ...pipeline.pipeline, name: 'weekly' } },
    cron: '0 3 13 * 5',
    timezone: 'UTC',
    name: 'fridays',
  });
  expect(when).toBe('at 03:00 on Friday if it is day 13 of the month');
  for (const time of next) {
    expect([new Date(time).getUTCDay(), new Date(time).getUTCDate()]).toEqual([5, 13]);
  }
  await temper.deleteSchedule('fridays');
});

test('a model that embeds is refused: it goes on from no champion', async () => {
  const finder = { ...pipeline.pipeline, name: 'finder', goal: 'embeddings' as const };
  await expect(
    temper.createSchedule({ ...daily, pipeline: { ...pipeline, pipeline: finder } }),
  ).rejects.toMatchObject({
    kind: 'input',
    message: expect.stringContaining('goal: found embeddings, expected base, adapt') as string,
  });
});

test('one version of a dataset is refused: there is never anything new in it', async () => {
  const { sources: _, ...data } = pipeline.pipeline.data;
  const fixed = { ...pipeline.pipeline, name: 'fixed', data: { ...data, dataset: 'laws@3' } };
  await expect(
    temper.createSchedule({ ...daily, pipeline: { ...pipeline, pipeline: fixed } }),
  ).rejects.toMatchObject({
    kind: 'input',
    message: expect.stringContaining('data.dataset: found laws@3, expected laws:') as string,
  });
});

test('phases that read no documents are refused: nothing of them is new to a champion', async () => {
  const tuning = { ...pipeline.pipeline, name: 'tuning', phases: ['sft' as const] };
  await expect(
    temper.createSchedule({ ...daily, pipeline: { ...pipeline, pipeline: tuning } }),
  ).rejects.toMatchObject({
    kind: 'input',
    message: expect.stringContaining('phases: found [sft], expected pretrain first') as string,
  });
});

test('a second schedule of one model is refused, and the first is named', async () => {
  const listed = async () => (await temper.listSchedules()).map(({ name }) => name);
  await expect.poll(listed).toContain('policy');
  await expect(temper.createSchedule({ ...daily, name: 'nightly' })).rejects.toMatchObject({
    kind: 'input',
    message:
      'schedule: model policy has one already, "policy", expected one a model. Look at it: npx temper schedule show policy. ' +
      'To replace it: npx temper schedule delete policy. Nothing was changed.',
  });
  await expect(temper.showSchedule('nightly')).rejects.toThrow('found no "nightly"');
});

test('a start with nothing new ends at once, under a name that says when', async () => {
  const start = await temper.triggerSchedule('policy');
  expect(start.workflowId).toMatch(/^continuous\/policy-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  expect(start.run).toMatch(/^policy-\d{4}-\d\d-\d\dt\d\d-\d\d(-\d\d)?$/);
  expect(await ended('policy')).toMatchObject({
    run: start.run,
    state: 'finished',
    result: {
      outcome: 'nothing-new',
      reason: 'nothing new since policy@3: 1,204 documents, the same digest',
    },
  });
});

test('while one is at work, no other is started', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  reading = promise;
  await temper.triggerSchedule('policy');
  await expect(temper.triggerSchedule('policy')).rejects.toThrow(
    /^schedule policy: continuous\/policy-\S+ is still at work, and two never run at once/,
  );
  resolve();
  expect(await ended('policy')).toMatchObject({ state: 'finished' });
});

test('a start that fails pauses the schedule, and the note says why', async () => {
  digest = '';
  await temper.triggerSchedule('policy');
  expect(await ended('policy')).toMatchObject({
    state: 'failed',
    failure: 'the documents are gone',
  });
  await expect.poll(async () => (await temper.showSchedule('policy')).paused).toBe(true);
  expect((await temper.showSchedule('policy')).note).toMatch(/fail/i);
  digest = 'd'.repeat(64);
  await temper.unpauseSchedule('policy', 'mended');
  expect(await temper.showSchedule('policy')).toMatchObject({ paused: false, note: 'mended' });
});

test('pausing twice, unpausing what runs, a name that exists and an unknown one are told apart', async () => {
  await expect(temper.unpauseSchedule('policy', '')).rejects.toThrow('is not paused');
  await temper.pauseSchedule('policy', 'moving');
  await expect(temper.pauseSchedule('policy', '')).rejects.toThrow('paused already (moving)');
  await expect(temper.createSchedule(daily)).rejects.toThrow(
    'schedule: "policy" exists. Look at it: npx temper schedule show policy.',
  );
  await expect
    .poll(async () => (await temper.listSchedules()).map(({ name }) => name))
    .toEqual(['policy']);
  await expect(temper.showSchedule('polcy')).rejects.toThrow(
    'schedule: found no "polcy". Did you mean policy?',
  );
  await expect(temper.deleteSchedule('other')).rejects.toThrow('npx temper schedule list');
  await expect(temper.createSchedule({ ...daily, timezone: 'Asia/Taipe' })).rejects.toThrow(
    'timezone: found "Asia/Taipe", expected a name such as UTC, Asia/Taipei or Europe/Paris. Did you mean Asia/Taipei?',
  );
  await expect(temper.createSchedule({ ...daily, name: 'A' })).rejects.toThrow('3 to 40 lowercase');
});

test('the sweep of a stack is scheduled once, is no schedule of a pipeline, and can be asked for', async () => {
  await temper.scheduleRetention();
  await temper.scheduleRetention();
  const { spec, policies } = await server.client.schedule.getHandle('retention').describe();
  expect(spec.intervals).toMatchObject([{ every: 86_400_000 }]);
  expect(policies).toMatchObject({ overlap: 'SKIP', catchupWindow: 86_400_000 });
  expect((await temper.listSchedules()).map(({ name }) => name)).toEqual(['policy']);
  const nothing = {
    expired: [],
    held: [],
    waitsFor: [],
    numBlobs: 0,
    bytes: 0,
    numUnregistered: 0,
    numShared: 0,
  };
  expect(await temper.expireDatasets({ dryRun: true })).toEqual(nothing);
  const both = [temper.expireDatasets(), temper.expireDatasets()];
  expect(await Promise.all(both)).toEqual([nothing, nothing]);
});

test('the command line makes, shows and deletes one, and ends with 2 for what is wrong', async () => {
  const run = (...args: string[]) =>
    execa(process.execPath, [main, 'schedule', ...args], {
      cwd: home,
      reject: false,
      env: { TEMPORAL_ADDRESS: server.address, TEMPER_HOME: path.join(home, 'h'), NO_COLOR: '1' },
    });
  writeFileSync(path.join(home, 'a.txt'), 'text');
  writeFileSync(
    path.join(home, 'pipeline.yaml'),
    'version: 1\nname: manual\ndata: { sources: [{ path: a.txt, license: internal }] }\n',
  );
  const create = ['create', '--cron', '30 2 * * 1', '--timezone', 'UTC', 'pipeline.yaml'];
  const made = await run(...create);
  expect(made.stderr).toBe('');
  expect(made.exitCode).toBe(0);
  const lines = made.stdout.split('\n');
  expect(lines[0]).toBe('schedule manual: at 02:30 on Monday, UTC   [30 2 * * 1]');
  expect(lines[1]).toMatch(/^ {2}next {6}Mon \d\d \w{3,4} \d{4} 02:30$/);
  expect(lines.filter((line) => line.endsWith(' 02:30'))).toHaveLength(5);
  expect(made.stdout).toContain('a missed start is made up for within 7 days');
  expect((await run(...create)).exitCode).toBe(2);
  const wrong = await run('create', '--cron', '30 25 * * 1', 'pipeline.yaml');
  expect([wrong.exitCode, wrong.stderr]).toEqual([
    2,
    'cron: hour: found "25", expected 0 to 23, *, a list, a range or a step such as */2. Nothing was started.',
  ]);
  const missing = await run('create', '--cron', '30 2 * * 1', 'pipelin.yaml');
  expect([missing.exitCode, missing.stdout]).toEqual([2, '']);
  expect(missing.stderr).toContain('pipelin.yaml: found no such file, expected a pipeline file.');
  expect((await run('show', 'manul')).stderr).toContain('Did you mean manual?');

  const shown = JSON.parse((await run('show', 'manual', '--json')).stdout) as ScheduleDetails;
  expect(shown).toMatchObject({ name: 'manual', when: 'at 02:30 on Monday', starts: [] });
  expect((await run('pause', 'manual', '--why', 'holidays')).exitCode).toBe(0);
  expect((await run('show', 'manual')).stdout).toMatch(/note: paused by \S+: holidays/);
  const deleted = await run('delete', 'manual');
  expect([deleted.exitCode, deleted.stdout]).toEqual([
    0,
    'schedule manual is deleted; its models stay, and a run at work goes on.',
  ]);
  expect((await run('show', 'manual')).exitCode).toBe(2);
}, 60_000);
