/** Expiry: what goes, what others keep, and that a kill at any write changes nothing of the outcome. */
import { expect, test } from 'vitest';
import {
  cleanShardSchema,
  deduplicatedSchema,
  type CleanShard,
} from '../../activities/preprocess-records.ts';
import type { BlobRef } from '../../config/digest.ts';
import type { DatasetManifest } from '../../config/manifests.ts';
import { blobKey, putJsonLines } from '../../registry/blobs.ts';
import { getExpiry, markExpired } from '../../registry/datasets.ts';
import { DatasetExpired } from '../../registry/errors.ts';
import {
  dueVersions,
  expireDatasets,
  requireUnexpired,
  requireWhole,
  type InUse,
} from '../../registry/expiry.ts';
import { encodeRecord } from '../../registry/json.ts';
import { recordStage, stageDigest } from '../../registry/stages.ts';
import type { Store } from '../../registry/store.ts';
import { memoryStore, type MemoryStore } from '../support/memory-store.ts';
import { registerDataset } from '../support/records.ts';

const now = new Date('2026-12-24T00:00:00.000Z');
const past = '2026-12-23T23:59:59.000Z';
const future = '2026-12-24T00:00:01.000Z';
const nobody: InUse = { versions: [], reading: [] };

/** Registers a version of some texts, a shard each. */
async function version(
  store: Store,
  name: string,
  texts: readonly string[],
  expiresAt?: string,
): Promise<DatasetManifest> {
  const shards = await Promise.all(
    texts.map(async (text) => ({
      documents: await putJsonLines(store, [{ text }]),
      numDocuments: 1,
    })),
  );
  return registerDataset(store, {
    schemaVersion: 1,
    name,
    digest: stageDigest({ shards }),
    sources: [],
    shards,
    numDocuments: texts.length,
    bytes: 1,
    dropped: {},
    droppedDocuments: await putJsonLines(store, [{ notRead: texts }]),
    ...(expiresAt !== undefined && { expiresAt }),
  });
}

/** What preprocessing keeps of a version: cleaned shards, what was dropped, and training shards. */
async function preprocessed(store: Store, dataset: DatasetManifest) {
  const cleaned: CleanShard[] = [];
  for (const { documents } of dataset.shards) {
    const of = documents.sha256;
    const key = stageDigest({ documents });
    cleaned.push(
      await recordStage(store, 'clean-shard', key, cleanShardSchema, {
        schemaVersion: 1,
        of,
        documents: await putJsonLines(store, [{ cleaned: of }]),
        fingerprints: await putJsonLines(store, [{ print: of }]),
        // Of most shards nothing is dropped: the same bytes for all of them.
        dropped: await putJsonLines(store, []),
        numDocuments: 1,
        kept: 1,
        redacted: {},
      }),
    );
  }
  const of = cleaned.flatMap((shard) => shard.of ?? []);
  const dropped = await putJsonLines(store, [{ samples: of }]);
  await recordStage(store, 'deduplicate', stageDigest({ of }), deduplicatedSchema, {
    schemaVersion: 1,
    of,
    shards: cleaned.map(({ documents }) => documents),
    kept: await putJsonLines(store, [{ ids: of }]),
    dropped,
    statistics: {
      numDocuments: 1,
      kept: 1,
      dropped: {},
      redacted: {},
      bytes: 1,
      characters: 1,
      scripts: {},
    },
  });
  const training = await putJsonLines(store, [{ training: of }]);
  const { name, version: number, digest } = dataset;
  const record = {
    dataset: { name, version: number, digest },
    shards: [{ tokens: training }],
    droppedDocuments: dropped,
  };
  await store.putIfAbsent(`stages/preprocess/${digest}.json`, encodeRecord(record));
  return { cleaned, dropped, training };
}

const holds = (store: MemoryStore, { sha256 }: BlobRef) => store.objects.has(blobKey(sha256));
const raw = ({ shards }: DatasetManifest) => shards.map(({ documents }) => documents);

test('the documents of a version whose time is over are deleted, with what was dropped and cleaned', async () => {
  const store = memoryStore();
  const old = await version(store, 'policy', ['ann', 'ben'], past);
  const made = await preprocessed(store, old);
  const report = await expireDatasets(store, { now, inUse: nobody });
  expect(report).toMatchObject({
    expired: [{ name: 'policy', version: 1 }],
    held: [],
    waitsFor: [],
    numShared: 0,
  });
  const gone = [
    ...raw(old),
    old.droppedDocuments!,
    made.dropped,
    ...made.cleaned.flatMap(({ documents, fingerprints, dropped }) => [
      documents,
      fingerprints,
      dropped,
    ]),
  ];
  for (const ref of gone) expect(holds(store, ref)).toBe(false);
  expect(holds(store, made.training)).toBe(true);
  const keys = [...store.objects.keys()].filter((key) => !key.startsWith('blobs/'));
  expect(keys).toEqual([
    'datasets/policy/versions/000001.json',
    `stages/preprocess/${old.digest}.json`,
    'datasets/policy/expired/000001.json',
  ]);
  expect(await getExpiry(store, 'policy', 1)).toEqual({
    schemaVersion: 1,
    version: 1,
    beganAt: now.toISOString(),
    finishedAt: now.toISOString(),
  });
});

test('what a version that stays shares is kept, with all that was made of it', async () => {
  const store = memoryStore();
  const old = await version(store, 'policy', ['ann', 'ben'], past);
  const young = await version(store, 'policy', ['ben', 'chloe'], future);
  const other = await version(store, 'another', ['ben'], undefined);
  const before = await preprocessed(store, old);
  const after = await preprocessed(store, young);
  const report = await expireDatasets(store, { now, inUse: nobody });
  expect(report.expired).toEqual([{ name: 'policy', version: 1 }]);
  expect(report.numShared).toBeGreaterThan(0);
  expect(raw(old).map((ref) => holds(store, ref))).toEqual([false, true]);
  for (const ref of [...raw(young), ...raw(other), young.droppedDocuments!, after.dropped]) {
    expect(holds(store, ref)).toBe(true);
  }
  expect(before.cleaned.map(({ documents }) => holds(store, documents))).toEqual([false, true]);
  for (const { documents, fingerprints, dropped } of after.cleaned) {
    for (const ref of [documents, fingerprints, dropped]) expect(holds(store, ref)).toBe(true);
  }
  expect(holds(store, before.dropped)).toBe(false);
});

test('killed before any of its writes and begun again, it ends as undisturbed', async () => {
  let left = Infinity;
  let writes = 0;
  const killed = new Error('killed');
  const prepare = async () => {
    const store = memoryStore(() => {
      writes += 1;
      if (left === 0) throw killed;
      left -= 1;
    });
    left = Infinity;
    const old = await version(store, 'policy', ['ann', 'ben'], past);
    await version(store, 'policy', ['ben'], future);
    await preprocessed(store, old);
    return store;
  };
  const undisturbed = await prepare();
  writes = 0;
  await expireDatasets(undisturbed, { now, inUse: nobody });
  const numWrites = writes;
  expect(numWrites).toBeGreaterThan(8);
  for (let at = 0; at < numWrites; at += 1) {
    const store = await prepare();
    left = at;
    await expect(expireDatasets(store, { now, inUse: nobody })).rejects.toThrow(killed);
    left = Infinity;
    await expireDatasets(store, { now, inUse: nobody });
    expect(Object.fromEntries(store.objects)).toEqual(Object.fromEntries(undisturbed.objects));
  }
});

test('twice at once, and a second time, it does the same', async () => {
  const store = memoryStore();
  const old = await version(store, 'policy', ['ann', 'ben'], past);
  await preprocessed(store, old);
  await Promise.all([1, 2].map(async () => expireDatasets(store, { now, inUse: nobody })));
  const objects = Object.fromEntries(store.objects);
  const again = await expireDatasets(store, { now, inUse: nobody });
  expect(again).toMatchObject({ expired: [], numBlobs: 0 });
  expect(Object.fromEntries(store.objects)).toEqual(objects);
});

test('a look says what would be deleted, and changes nothing', async () => {
  const store = memoryStore();
  const old = await version(store, 'policy', ['ann'], past);
  await preprocessed(store, old);
  const objects = Object.fromEntries(store.objects);
  const look = await expireDatasets(store, { now, inUse: nobody, dryRun: true });
  expect(Object.fromEntries(store.objects)).toEqual(objects);
  expect(await expireDatasets(store, { now, inUse: nobody })).toEqual(look);
  expect(look.numBlobs).toBeGreaterThan(4);
});

test('a version that a run at work has read waits, and so does all while documents are read', async () => {
  const store = memoryStore();
  await version(store, 'policy', ['ann'], past);
  const objects = Object.fromEntries(store.objects);
  const used = { versions: [{ name: 'policy', version: 1 }], reading: [] };
  expect(await expireDatasets(store, { now, inUse: used })).toMatchObject({
    expired: [],
    held: [{ name: 'policy', version: 1 }],
  });
  const reading = { versions: [], reading: ['pipeline/policy-7f3a'] };
  expect(await expireDatasets(store, { now, inUse: reading })).toMatchObject({
    expired: [],
    waitsFor: ['pipeline/policy-7f3a'],
  });
  expect(Object.fromEntries(store.objects)).toEqual(objects);
});

test('a deletion that was begun is finished, whoever reads: they wait for it', async () => {
  const store = memoryStore();
  const old = await version(store, 'policy', ['ann'], past);
  await markExpired(store, 'policy', 1, { at: past, finished: false });
  const inUse = { versions: [{ name: 'policy', version: 1 }], reading: ['pipeline/policy-7f3a'] };
  await expireDatasets(store, { now, inUse });
  expect(holds(store, raw(old)[0]!)).toBe(false);
  expect(await getExpiry(store, 'policy', 1)).toMatchObject({
    beganAt: past,
    finishedAt: now.toISOString(),
  });
});

test('the same documents read again are another version, which waits for the deletion and misses nothing', async () => {
  const store = memoryStore();
  const old = await version(store, 'policy', ['ann'], past);
  await markExpired(store, 'policy', 1, { at: past, finished: false });
  const again = await version(store, 'policy', ['ann'], future);
  expect(again).toMatchObject({ version: 2, digest: old.digest, expiresAt: future });
  await expect(requireWhole(store, 'policy', 2)).rejects.toThrow(/policy@1.*being deleted/);
  // Registered before the sweep looked: it keeps what it needs.
  await expireDatasets(store, { now, inUse: nobody });
  await requireWhole(store, 'policy', 2);
  expect(holds(store, raw(again)[0]!)).toBe(true);
  // Registered after: it notices what is missing.
  store.objects.delete(blobKey(raw(again)[0]!.sha256));
  await expect(requireWhole(store, 'policy', 2)).rejects.toThrow(/read once more/);
});

test('a version keeps the time that it was registered with; one without a time is another', async () => {
  const store = memoryStore();
  const first = await version(store, 'policy', ['ann'], future);
  expect(await version(store, 'policy', ['ann'], '2027-01-01T00:00:00.000Z')).toEqual(first);
  expect(await version(store, 'policy', ['ann'])).toMatchObject({ version: 2 });
  expect(await dueVersions(store, now)).toEqual([]);
  expect(await dueVersions(store, new Date('2028-01-01'))).toMatchObject([{ version: 1 }]);
});

test('whoever wants an expired version is told when it expired and what to do, once and for all', async () => {
  const store = memoryStore();
  await version(store, 'policy', ['ann'], past);
  await requireUnexpired(store, 'policy', 1);
  await expireDatasets(store, { now, inUse: nobody });
  const refused = requireUnexpired(store, 'policy', 1);
  await expect(refused).rejects.toThrow(DatasetExpired);
  await expect(refused).rejects.toThrow(/policy@1.*2026-12-24.*npx temper run/);
});

test('what was dropped of shards that a later version took over is deleted with that one', async () => {
  const store = memoryStore();
  const old = await version(store, 'policy', ['ann'], past);
  const young = await version(store, 'policy', ['ann', 'ben'], future);
  const before = await preprocessed(store, old);
  const after = await preprocessed(store, young);
  await expireDatasets(store, { now, inUse: nobody });
  expect(holds(store, before.dropped)).toBe(true);
  await expireDatasets(store, { now: new Date('2027-01-01'), inUse: nobody });
  const dropped = [before.dropped, after.dropped];
  expect(dropped.map((ref) => holds(store, ref))).toEqual([false, false]);
  expect(holds(store, before.training)).toBe(true);
});

test('a version whose list of what was not read is being deleted waits, and notices that it is gone', async () => {
  const store = memoryStore();
  const old = await version(store, 'policy', ['ann'], past);
  await markExpired(store, 'policy', 1, { at: past, finished: false });
  const { version: _, ...rest } = await version(store, 'laws', ['ben'], future);
  const droppedDocuments = old.droppedDocuments!;
  const digest = stageDigest({ of: 'laws, again' });
  await registerDataset(store, { ...rest, digest, droppedDocuments });
  await expect(requireWhole(store, 'laws', 2)).rejects.toThrow(/policy@1.*being deleted/);
  await markExpired(store, 'policy', 1, { at: past, finished: true });
  store.objects.delete(blobKey(droppedDocuments.sha256));
  await expect(requireWhole(store, 'laws', 2)).rejects.toThrow(/read once more/);
});

test('a sweep that was overtaken by another deletes nothing that was read again since', async () => {
  const store = memoryStore();
  await version(store, 'policy', ['ann'], past);
  let overtaken = false;
  const slow: Store = {
    ...store,
    async *list(prefix) {
      if (prefix === 'models/' && !overtaken) {
        overtaken = true;
        await expireDatasets(store, { now, inUse: nobody });
        const again = await version(store, 'policy', ['ann'], future);
        await requireWhole(store, 'policy', again.version);
      }
      yield* store.list(prefix);
    },
  };
  await expireDatasets(slow, { now, inUse: nobody });
  await requireWhole(store, 'policy', 2);
  expect(overtaken).toBe(true);
});
