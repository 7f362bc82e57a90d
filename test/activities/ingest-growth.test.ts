import { rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createIngestActivities, type IngestInput } from '../../activities/ingest.ts';
import { FailureType } from '../../config/failures.ts';
import type { DatasetManifest, Document } from '../../config/manifests.ts';
import { runInputsSchema } from '../../config/run-records.ts';
import { shardBytes } from '../../corpus/chunk.ts';
import { readJsonLines } from '../../registry/blobs.ts';
import { getDataset, latestDataset, listDatasets } from '../../registry/datasets.ts';
import { getRunRecord, putRunRecord } from '../../registry/runs.ts';
import { stageDigest } from '../../registry/stages.ts';
import { machine } from '../support/recipes.ts';
import {
  failureOf,
  inActivity,
  pathSource,
  startFixture,
  type Fixture,
} from './corpus-fixtures.ts';

let fixture: Fixture;
let activities: ReturnType<typeof createIngestActivities>;
beforeAll(async () => {
  fixture = await startFixture();
  activities = createIngestActivities(fixture.deps);
});
afterAll(async () => {
  await fixture.stop();
});

/** Half of a shard, so that a few of them make several. */
const long = (what: string) => `${what} `.repeat(shardBytes / 2 / (what.length + 1));
const line = (text: string, more: object = {}) => `${JSON.stringify({ text, ...more })}\n`;

async function read(name: string, more: Partial<IngestInput> = {}) {
  const input = { run: 'r', name, sources: [pathSource(name)], baseDir: fixture.folder, ...more };
  const { result } = await inActivity(activities.ingestCorpus, input);
  return {
    result,
    manifest: (await getDataset(fixture.deps.store, name, result.dataset.version))!,
  };
}

/** The documents of a version by where they lie, with the version in which they first came. */
async function datesOf({ shards }: DatasetManifest): Promise<Record<string, number>> {
  const dates: [string, number][] = [];
  for (const { documents, since = 1 } of shards) {
    const inShard = (await readJsonLines(fixture.deps.store, documents)) as Document[];
    dates.push(...inShard.map(({ source }): [string, number] => [source, since]));
  }
  return Object.fromEntries(dates.toSorted());
}

const shas = ({ shards }: DatasetManifest) => shards.map(({ documents }) => documents.sha256);

test('a first version says nothing of versions: its digest is that of its sources and shards', async () => {
  await fixture.put('first/a.txt', 'one');
  const { manifest } = await read('first');
  const [shard] = manifest.shards;
  expect(Object.keys(shard!)).toEqual(['documents', 'numDocuments']);
  expect(manifest.digest).toBe(stageDigest({ sources: manifest.sources, shards: manifest.shards }));
});

test('new documents lie in shards of their own, and the shards before are the same blobs', async () => {
  for (const at of [1, 2, 3, 4]) await fixture.put(`more/${at}.txt`, long(`text ${at}`));
  const first = await read('more');
  expect(first.manifest.shards.length).toBeGreaterThan(1);
  // In front of all others, where it would move every cut that went by counting.
  await fixture.put('more/0.txt', 'something new');
  const second = await read('more');
  expect(shas(second.manifest).slice(0, -1)).toEqual(shas(first.manifest));
  expect(second.manifest.shards.at(-1)).toMatchObject({ numDocuments: 1, since: 2 });
  await fixture.put('more/00.txt', 'still newer');
  const third = await read('more');
  expect(shas(third.manifest).slice(0, -1)).toEqual(shas(second.manifest));
  expect((await datesOf(third.manifest))['more/00.txt']).toBe(3);
  expect((await read('more')).result).toEqual({ ...third.result, reused: true });
});

test('what is gone is taken out of its shard, and the other shards stay', async () => {
  for (const at of [1, 2, 3, 4, 5]) await fixture.put(`less/${at}.txt`, long(`text ${at}`));
  const first = await read('less');
  await rm(path.join(fixture.folder, 'less/1.txt'));
  const second = await read('less');
  expect(second.result).toMatchObject({ numDocuments: 4, reused: false });
  expect(await datesOf(second.manifest)).toEqual({
    'less/2.txt': 1,
    'less/3.txt': 1,
    'less/4.txt': 1,
    'less/5.txt': 1,
  });
  const same = shas(second.manifest).filter((sha) => shas(first.manifest).includes(sha));
  expect(same.length).toBe(first.manifest.shards.length - 1);
});

test('a document that moved or got other metadata is read anew, and is as old as before', async () => {
  await fixture.put('moved/a.jsonl', line('one', { year: 1999 }) + line('two', { year: 2000 }));
  await fixture.put('moved/b.txt', 'three');
  await read('moved');
  await fixture.put('moved/c.txt', 'four');
  await read('moved');
  await rm(path.join(fixture.folder, 'moved/b.txt'));
  await rm(path.join(fixture.folder, 'moved/c.txt'));
  await fixture.put('moved/d.txt', 'three');
  await fixture.put('moved/e.txt', 'four');
  await fixture.put('moved/a.jsonl', line('one', { year: 1998 }) + line('two', { year: 2000 }));
  const { manifest } = await read('moved');
  expect(await datesOf(manifest)).toEqual({
    'moved/a.jsonl#1': 1,
    'moved/a.jsonl#2': 1,
    'moved/d.txt': 1,
    'moved/e.txt': 2,
  });
  const documents = await readJsonLines(fixture.deps.store, manifest.shards[1]!.documents);
  expect(documents).toContainEqual(
    expect.objectContaining({ text: 'one', metadata: { year: 1998 } }),
  );
});

test('a sample that grows into the whole keeps the shards of the sample, and both numbers stay', async () => {
  for (let at = 0; at < 40; at += 1) await fixture.put(`share/${at}.txt`, `text ${at}`);
  const part = await read('share', { sample: 0.4 });
  const whole = await read('share');
  expect(whole.result).toMatchObject({ numDocuments: 40, dataset: { version: 2 } });
  expect(shas(whole.manifest)).toEqual(expect.arrayContaining(shas(part.manifest)));
  expect((await read('share', { sample: 0.4 })).result.dataset).toEqual(part.result.dataset);
  expect((await read('share')).result.dataset).toEqual(whole.result.dataset);
});

test('documents are added to all that was there, and what is there already is told', async () => {
  await fixture.put('grown/a.txt', 'one');
  await fixture.put('grown/b.pdf', '%PDF');
  const first = await read('grown', { onto: 0 });
  expect(first.result).toMatchObject({ reused: false, dataset: { version: 1 } });
  expect(first.result.growth).toMatchObject({ from: null, numNew: 1, numKnown: 0 });
  await rm(path.join(fixture.folder, 'grown/a.txt'));
  await fixture.put('grown/c.txt', 'one');
  await fixture.put('grown/d.txt', 'two');
  await fixture.put('other/e.txt', 'three');
  const sources = [pathSource('grown'), pathSource('other')];
  const second = await read('grown', { onto: 1, sources });
  const { growth, ...result } = second.result;
  expect(result).toMatchObject({ reused: false, numDocuments: 3, dropped: { damaged: 1 } });
  const [before, after] = second.manifest.shards.map(({ documents }) => documents.bytes);
  expect(growth).toEqual({
    from: 1,
    numNew: 2,
    numKnown: 1,
    numShards: 2,
    numShardsReused: 1,
    bytesReused: before,
    bytesWritten: after,
  });
  expect(await datesOf(second.manifest)).toEqual({
    'grown/a.txt': 1,
    'grown/d.txt': 2,
    'other/e.txt': 2,
  });
  expect(second.manifest.sources).toEqual([
    { name: 'grown', license: 'internal', numDocuments: 2, bytes: 6 },
    { name: 'other', license: 'internal', numDocuments: 1, bytes: 5 },
  ]);
  const nothing = await read('grown', { onto: 2, sources });
  expect(nothing.result).toMatchObject({ reused: true, dataset: second.result.dataset });
  expect(nothing.result.growth).toMatchObject({ numNew: 0, numKnown: 3 });
});

test('a file that could not be read once and is read now is dropped no more', async () => {
  await fixture.put('mended/a.txt', 'one');
  await fixture.put('mended/b.txt', '');
  await fixture.put('mended/c.pdf', '%PDF');
  const first = await read('mended', { onto: 0 });
  expect(first.result.dropped).toEqual({ empty: 1, damaged: 1 });
  await fixture.put('mended/b.txt', 'two');
  await fixture.put('mended/d.txt', '');
  const second = await read('mended', { onto: 1 });
  expect(second.result.dropped).toEqual({ damaged: 1, empty: 1 });
  const list = await readJsonLines(fixture.deps.store, second.manifest.droppedDocuments!);
  expect(list.map((one) => (one as Document).source)).toEqual(['mended/c.pdf', 'mended/d.txt']);
  expect((await read('mended', { onto: 1 })).result).toEqual(second.result);
});

test('one folder under two licences stays two sources, whatever is added under either', async () => {
  const { store } = fixture.deps;
  await fixture.put('two/a.txt', 'one');
  await fixture.put('two/b.md', 'two');
  const sources = [
    { ...pathSource('two', '*.txt'), license: 'internal' },
    { ...pathSource('two', '*.md'), license: 'CC0-1.0' },
  ];
  await read('two', { onto: 0, sources });
  await fixture.put('two/c.md', 'three');
  await read('two', { onto: 1, sources });
  expect((await latestDataset(store, 'two'))!.sources).toEqual([
    { name: 'two', license: 'internal', numDocuments: 1, bytes: 3 },
    { name: 'two', license: 'CC0-1.0', numDocuments: 2, bytes: 8 },
  ]);
});

test('an attempt after one that died with its version registered says what that one made', async () => {
  await fixture.put('again/a.txt', 'one');
  await read('again', { onto: 0 });
  await fixture.put('again/b.txt', 'two');
  const once = await read('again', { onto: 1 });
  expect((await read('again', { onto: 1 })).result).toEqual(once.result);
  await fixture.put('again/c.txt', 'three');
  const add = { run: 'r', name: 'again', sources: [pathSource('again')], baseDir: fixture.folder };
  const failure = await failureOf(activities.ingestCorpus, { ...add, onto: 0 });
  expect([failure.type, failure.message]).toEqual([
    FailureType.InvalidCorpus,
    expect.stringContaining('npx temper datasets append again PATH'),
  ]);
  expect((await latestDataset(fixture.deps.store, 'again'))!.version).toBe(2);
});

test('two that add at once each get a version: the later one holds what both added, each under its number', async () => {
  await fixture.put('both/a.txt', 'one');
  await read('both', { onto: 0 });
  for (const at of [1, 2, 3]) await fixture.put(`part${at}/x.txt`, `part ${at}`);
  await Promise.all(
    [1, 2, 3].map(async (at) => read('both', { onto: 1, sources: [pathSource(`part${at}`)] })),
  );
  const versions = (await listDatasets(fixture.deps.store)).filter(({ name }) => name === 'both');
  expect(versions.map(({ version }) => version)).toEqual([1, 2, 3, 4]);
  const dates = await datesOf(versions.at(-1)!);
  expect(Object.keys(dates)).toEqual(['both/a.txt', 'part1/x.txt', 'part2/x.txt', 'part3/x.txt']);
  expect(Object.values(dates).toSorted()).toEqual([1, 2, 3, 4]);
  for (const { version, shards } of versions.slice(1)) expect(shards.at(-1)!.since).toBe(version);
});

test('a dataset that a pipeline names is its newest version or the one with the number, kept with the run', async () => {
  const { store } = fixture.deps;
  await fixture.put('named/a.txt', 'one');
  await read('named');
  await fixture.put('named/b.txt', 'two');
  await read('named');
  await putRunRecord(store, 'reads', 'spec', { pipeline: {}, machine });
  const find = async (dataset: string) =>
    (await inActivity(activities.findDataset, { run: 'reads', dataset })).result;
  expect(await find('named@1')).toMatchObject({ numDocuments: 1, dataset: { version: 1 } });
  const newest = await find('named');
  expect(newest).toMatchObject({ numDocuments: 2, reused: true, dataset: { version: 2 } });
  const inputs = await getRunRecord(store, 'reads', 'inputs', runInputsSchema);
  expect(inputs).toEqual({ schemaVersion: 1, ingested: newest });
  for (const [dataset, message] of [
    ['named@9', /found no named@9, expected a version up to 2/],
    ['nobody', /found no dataset "nobody".*datasets add nobody/],
  ] as const) {
    const failure = await failureOf(activities.findDataset, { run: 'reads', dataset });
    expect([failure.type, failure.message]).toEqual([
      FailureType.InvalidCorpus,
      expect.stringMatching(message),
    ]);
  }
});
