/** Datasets that grow without a run: the real workflow and ingest, a real server and store, the client and the command line. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createIngestActivities } from '../../activities/ingest.ts';
import { sourcesOf } from '../../client/cli/dataset-growth.ts';
import { planLines } from '../../client/cli/plan.ts';
import { connectTemper, type TemperClient } from '../../client/client.ts';
import { planPipeline } from '../../client/plan.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import { sourceSchema } from '../../config/sources.ts';
import { latestDataset } from '../../registry/datasets.ts';
import { runCommand } from '../support/command.ts';
import { machine } from '../support/recipes.ts';
import { startS3, type TestS3 } from '../support/s3.ts';
import { workflowsPath } from '../support/temporal.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
let server: TestWorkflowEnvironment;
let s3: TestS3;
let workers: Worker[];
let working: Promise<unknown>;
let temper: TemperClient;
let folder: string;
/** Reading begins when this does. */
let reading: Promise<void> = Promise.resolve();

beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'temper-growth-'));
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  [server, s3] = await Promise.all([
    TestWorkflowEnvironment.createLocal({
      server: {
        executable: { type: 'existing-path', path: path.join(projectDir, '.venv/bin/temporal') },
        extraArgs: ['--search-attribute', 'dataset=Keyword'],
      },
    }),
    startS3(),
  ]);
  const deps = {
    store: s3.store,
    home: path.join(folder, '.home'),
    python: '',
    projectDir,
    host: 'test',
    now: () => new Date(0),
  };
  const { ingestCorpus } = createIngestActivities(deps);
  const activities: Pick<ReturnType<typeof createIngestActivities>, 'ingestCorpus'> = {
    async ingestCorpus(input) {
      await reading;
      return await ingestCorpus(input);
    },
  };
  const { nativeConnection: connection } = server;
  workers = await Promise.all([
    Worker.create({ connection, taskQueue: 'data', activities }),
    Worker.create({ connection, taskQueue: 'control', workflowsPath }),
  ]);
  working = Promise.all(workers.map((worker) => worker.run()));
  temper = await connectTemper({ address: server.address, namespace: 'default', store: s3.store });
}, 60_000);
afterAll(async () => {
  await temper?.close();
  for (const worker of workers ?? []) worker.shutdown();
  await working;
  s3?.store.close();
  await Promise.all([server?.teardown(), s3?.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

function put(name: string, text: string): void {
  mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
  writeFileSync(path.join(folder, name), text);
}
const source = (place: string) => sourceSchema.parse({ path: place, license: 'internal' });
const request = (name: string, ...places: string[]) => ({
  name,
  sources: places.map(source),
  baseDir: folder,
});
const command = (...args: string[]) =>
  runCommand(s3, ['datasets', ...args], { temporal: server.address, cwd: folder });

test('the command line makes a dataset, adds to it, and says what was new and what is the same', async () => {
  put('docs/a.txt', 'the first text');
  put('docs/b.txt', 'the second text');
  const added = await command('add', 'policy', 'docs', '--license', 'internal');
  expect([added.exitCode, added.stdout]).toEqual([
    0,
    expect.stringContaining('✓ policy@1: 2 documents\n'),
  ]);
  put('docs/c.txt', 'the third text');
  const more = await command('append', 'policy', './docs/');
  expect(more.stdout.split('\n').slice(1, 4)).toEqual([
    '✓ policy@2: 1 document more than version 1; 2 documents were there already',
    '  in all 3 documents, 43 bytes of text',
    expect.stringMatching(
      /^ {2}1 of 2 shards are those of policy@1 \(\d+ bytes\); \d+ bytes were written$/,
    ),
  ]);
  const again = await command('append', 'policy', path.join(folder, 'docs'), '--json');
  expect(JSON.parse(again.stdout)).toMatchObject({
    workflowId: 'dataset/policy',
    dataset: { name: 'policy', version: 2 },
    reused: true,
    growth: { from: 2, numNew: 0, numKnown: 3, numShards: 2, numShardsReused: 2, bytesWritten: 0 },
  });
  expect((await latestDataset(s3.store, 'policy'))!.sources).toEqual([
    { name: './docs', license: 'internal', numDocuments: 3, bytes: 43 },
  ]);
}, 60_000);

test('a name that is taken, one that there is not and a place that holds nothing end with 2, and say what to do', async () => {
  put('laws/a.txt', 'a law');
  await (await temper.datasets.add(request('laws', 'laws'))).result();
  const cases: [args: string[], said: string][] = [
    [['add', 'laws', 'laws', '--license', 'x'], 'npx temper datasets append laws PATH'],
    [
      ['append', 'lawz', 'laws'],
      'Did you mean laws? To make it: npx temper datasets add lawz PATH',
    ],
    [['append', 'laws', 'lows'], 'PATH: found nothing at lows, expected a file or a folder.'],
    [['add', 'Laws', 'laws', '--license', 'x'], 'expected 3 to 40 lowercase letters'],
    [['add', 'more-laws', 'laws'], "required option '--license <licence>' not specified"],
  ];
  const ended = await Promise.all(cases.map(async ([args]) => command(...args)));
  for (const [at, { exitCode, stderr }] of ended.entries())
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining(cases[at]![1])]);
}, 60_000);

test('while documents are read into a dataset, a second reading is refused; it needs nobody to wait', async () => {
  const begin = Promise.withResolvers<void>();
  reading = begin.promise;
  put('busy/a.txt', 'busy');
  const first = await temper.datasets.add(request('busy', 'busy'));
  expect(first.workflowId).toBe('dataset/busy');
  await expect(temper.datasets.add(request('busy', 'busy'))).rejects.toMatchObject({
    kind: 'input',
    message: expect.stringContaining('being read into it already, by dataset/busy') as string,
  });
  begin.resolve();
  reading = Promise.resolve();
  expect((await first.result()).dataset.version).toBe(1);
  const details = await server.client.workflow.getHandle('dataset/busy').describe();
  expect(await details.staticSummary()).toBe('busy: its first version');
});

test('sources that hold nothing fail for good, with the reason', async () => {
  put('empty/a.txt', '');
  const { result } = await temper.datasets.add(request('hollow', 'empty'));
  await expect(result()).rejects.toMatchObject({
    kind: 'failed',
    message: expect.stringMatching(/dataset hollow: .*found no readable text in 1 files/) as string,
  });
  expect(await latestDataset(s3.store, 'hollow')).toBeNull();
});

test('words of the command line are folders, pages, buckets and work trees, each under one name', async () => {
  put('tree/a.txt', 'x');
  const places = ['https://example.org/sitemap.xml', 's3://bucket/laws', 'git+tree', 'tree/', '.'];
  const sources = await sourcesOf(places, { license: 'x', include: '*.txt' }, folder);
  const shared = { license: 'x', include: '*.txt', textField: 'text' };
  expect(sources).toEqual([
    { url: 'https://example.org/sitemap.xml', ...shared },
    { s3: 'bucket/laws', ...shared },
    { git: './tree', ...shared },
    { path: './tree', ...shared },
    { path: '.', ...shared },
  ]);
  const known = await sourcesOf(['./tree'], { license: 'x' }, folder, [{ name: 'tree' }]);
  expect(known[0]).toMatchObject({ path: 'tree' });
  for (const place of ['http://example.org/', 'ftp://x/y', 's3://B', 'https://u@example.org/'])
    await expect(sourcesOf([place], { license: 'x' }, folder)).rejects.toMatchObject({
      kind: 'input',
      message: expect.stringContaining('expected a file or folder, https://') as string,
    });
});

test('a plan on a dataset goes by what is registered of the version that is named', async () => {
  put('plan/a.txt', 'x'.repeat(300_000));
  await (await temper.datasets.add(request('planned', 'plan'))).result();
  put('plan/b.txt', 'y'.repeat(300_000));
  await (await temper.datasets.append(request('planned', 'plan'))).result();
  const plan = (dataset: string, store: TestS3['store'] | null = s3.store) =>
    planPipeline({
      pipeline: pipelineSchema.parse({ version: 1, name: 'mine', data: { dataset } }),
      baseDir: folder,
      projectDir: folder,
      machine,
      store,
      look: () => Promise.reject(new Error('nothing to look at')),
    });
  const newest = await plan('planned');
  expect(newest.corpus).toMatchObject({ bytes: 600_000, numDocuments: 2, estimated: true });
  expect(planLines(newest).join('\n')).toContain('an estimate from the text of planned@2');
  expect((await plan('planned@1')).corpus.bytes).toBe(300_000);
  await expect(plan('planed')).rejects.toThrow('data.dataset: found "planed"');
  await expect(plan('planned@7')).rejects.toThrow('found no version 7, expected 1, 2.');
  await expect(plan('planned', null)).rejects.toThrow('Start the stack: npx temper up');
});
