/** Originals that are sealed and expire, in datasets that grow: what is taken over, and what is not. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import { createIngestActivities, type IngestInput } from '../../activities/ingest.ts';
import { FailureType } from '../../config/failures.ts';
import { blobKey } from '../../registry/blobs.ts';
import { getDataset, latestDataset, markExpired } from '../../registry/datasets.ts';
import { DataKeys } from '../../registry/data-keys.ts';
import { expireDatasets } from '../../registry/expiry.ts';
import { memoryStore } from '../support/memory-store.ts';
import { failureOf, inActivity, pathSource } from './corpus-fixtures.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'temper-originals-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const day = 86_400_000;
const start = Date.parse('2026-11-22T00:00:00.000Z');
let now = start;
const store = memoryStore();
const deps = {
  store,
  home: path.join(folder, '.home'),
  projectDir: path.resolve(import.meta.dirname, '../..'),
  python: 'none',
  host: 'test',
  now: () => new Date(now),
} satisfies Deps;
const { ingestCorpus } = createIngestActivities(deps);

function put(name: string, into = 'docs'): void {
  mkdirSync(path.join(folder, into), { recursive: true });
  writeFileSync(path.join(folder, into, name), `What ${name} says.`);
}

async function ingest(more: Partial<IngestInput>) {
  const input = {
    run: 'r',
    name: 'policy',
    sources: [pathSource('docs')],
    baseDir: folder,
    ...more,
  };
  const { dataset } = (await inActivity(ingestCorpus, input)).result;
  const { shards, expiresAt } = (await getDataset(store, dataset.name, dataset.version))!;
  return {
    version: dataset.version,
    sealed: shards.map(({ documents }) => documents.sealed ?? null),
    names: shards.map(({ documents }) => documents.sha256),
    expiresAt: expiresAt ?? null,
  };
}

test('what is appended is sealed and expires as what it is appended to; what is gone is not taken over', async () => {
  put('a.txt');
  const plain = await ingest({});
  expect(plain).toMatchObject({ version: 1, sealed: [null], expiresAt: null });

  // The plain shard of the version before is not taken for a sealed one.
  const originals = { keep: 30 * day, encrypt: true };
  const sealed = await ingest({ originals });
  const end = new Date(start + 30 * day).toISOString();
  expect(sealed).toMatchObject({ version: 2, sealed: ['new'], expiresAt: end });

  now += day;
  put('b.txt');
  const grown = await ingest({ onto: 2 });
  expect(grown).toMatchObject({ version: 3, sealed: ['new', 'new'], expiresAt: end });
  expect(grown.names[0]).toBe(sealed.names[0]);

  now += 60 * day;
  const inUse = { versions: [], reading: [] };
  const { expired } = await expireDatasets(store, { now: new Date(now), inUse });
  expect(expired.map(({ version }) => version)).toEqual([2, 3]);
  // Of the plain version, which stays, they stay too.
  const left = [...store.objects].filter(([key]) => key.startsWith('stages/shard-ids/'));
  const leftOf = left.map(([, bytes]) => (JSON.parse(String(bytes)) as { of: string }).of);
  expect(leftOf).toEqual(plain.names);
  const onto = {
    run: 'r',
    name: 'policy',
    sources: [pathSource('docs')],
    baseDir: folder,
    onto: 3,
  };
  expect((await failureOf(ingestCorpus, onto)).type).toBe(FailureType.DatasetExpired);

  const again = await ingest({ originals });
  expect(again.version).toBe(4);
  for (const name of again.names) {
    expect(store.objects.has(`blobs/sha256/${name.slice(0, 2)}/${name}`)).toBe(true);
  }
});

test('documents that were deleted while a version of them was registered are put back by the next try', async () => {
  const input = { name: 'holes', run: 'r', sources: [pathSource('docs')], baseDir: folder };
  const made = await ingest(input);
  await markExpired(store, 'others', 1, { at: new Date(now).toISOString(), finished: true });
  for (const name of made.names) store.objects.delete(blobKey(name));
  for (const key of store.objects.keys())
    if (key.startsWith('stages/shard-ids/')) store.objects.delete(key);
  expect(await ingest(input)).toEqual(made);
  for (const name of made.names) expect(store.objects.has(blobKey(name))).toBe(true);
});

test('nothing is added to a version whose time is over, swept or not', async () => {
  const originals = { keep: 30 * day, encrypt: true };
  const { version } = await ingest({ name: 'over', originals });
  now += 30 * day;
  put('c.txt');
  const input = { run: 'r', name: 'over', sources: [pathSource('docs')], baseDir: folder };
  const failure = await failureOf(ingestCorpus, { ...input, onto: version });
  expect([failure.type, failure.message]).toEqual([
    FailureType.DatasetExpired,
    expect.stringMatching(/over@1.*would be deleted with them/),
  ]);
  expect(await getDataset(store, 'over', version + 1)).toBe(null);
});

test('documents that are encrypted from now on are as old as before, also where the key before is gone', async () => {
  const name = 'sealed-later';
  await ingest({ name });
  put('d.txt');
  await ingest({ name });
  const sinceOf = async (version: number) =>
    (await getDataset(store, name, version))!.shards.map(({ since = 1 }) => since);
  const originals = { keep: 'forever' as const, encrypt: true };
  const sealed = await ingest({ name, originals });
  expect([sealed.sealed, await sinceOf(sealed.version)]).toEqual([
    ['new', 'new'],
    [1, 2],
  ]);
  expect((await ingest({ name, originals })).names).toEqual(sealed.names);
  const other = createIngestActivities({ ...deps, store: { ...store, dataKeys: new DataKeys() } });
  for (const key of store.objects.keys())
    if (key.startsWith('stages/shard-ids/')) store.objects.delete(key);
  const input = { run: 'r', name, sources: [pathSource('docs')], baseDir: folder };
  const { dataset } = (await inActivity(other.ingestCorpus, input)).result;
  expect([dataset.version, await sinceOf(dataset.version)]).toEqual([4, [1]]);
});

test('of many versions the newest one alone is read, and what cannot be read of a run is tried again', async () => {
  const read: string[] = [];
  const failing = {
    ...store,
    get: async (key: string) => {
      read.push(key);
      if (key.startsWith('runs/')) throw new Error('the store is away');
      return store.get(key);
    },
  };
  const newest = await latestDataset(failing, 'sealed-later');
  expect(read).toEqual([`datasets/sealed-later/versions/00000${newest!.version}.json`]);
  const { findDataset } = createIngestActivities({ ...deps, store: failing });
  const found = inActivity(findDataset, { run: 'r', dataset: 'sealed-later' });
  await expect(found).rejects.toThrow('the store is away');
});

test('documents that expire while a version is compared with them are no damage: the next try reads without them', async () => {
  put('e.txt', 'late');
  const input = { run: 'r', name: 'late', sources: [pathSource('late')], baseDir: folder };
  const originals = { keep: 30 * day, encrypt: false };
  const { version, names } = await ingest({ ...input, originals });
  now += 30 * day;
  let swept = false;
  const slow = {
    ...store,
    get: async (key: string) => {
      if (key === blobKey(names[0]!) && !swept) {
        swept = true;
        await expireDatasets(store, { now: new Date(now), inUse: { versions: [], reading: [] } });
      }
      return store.get(key);
    },
  };
  const late = createIngestActivities({ ...deps, store: slow });
  for (const key of store.objects.keys())
    if (key.startsWith('stages/shard-ids/')) store.objects.delete(key);
  const first = inActivity(late.ingestCorpus, { ...input, originals });
  await expect(first).rejects.toThrow(/read once more/);
  expect(await ingest({ ...input, originals })).toMatchObject({ version: version + 1, names });
});
