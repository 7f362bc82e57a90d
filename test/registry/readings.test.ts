/** Documents of readings that became no version: who deletes them, and that whoever reads them again misses nothing. */
import { expect, test } from 'vitest';
import type { BlobRef } from '../../config/digest.ts';
import { blobKey, hasBlob } from '../../registry/blobs.ts';
import { expireDatasets, requireWhole, type InUse } from '../../registry/expiry.ts';
import { encodeRecord } from '../../registry/json.ts';
import {
  beginSweep,
  listNotes,
  notedIn,
  putReadLines,
  sweepState,
} from '../../registry/readings.ts';
import { stageDigest } from '../../registry/stages.ts';
import type { Store } from '../../registry/store.ts';
import { memoryStore } from '../support/memory-store.ts';
import { registerDataset } from '../support/records.ts';

const now = new Date('2026-12-24T00:00:00.000Z');
const nobody: InUse = { versions: [], reading: [] };

/** Writes the documents of a version, a shard each, as ingest does. */
async function read(store: Store, texts: readonly string[]): Promise<BlobRef[]> {
  const refs: BlobRef[] = [];
  for (const text of texts) refs.push(await putReadLines(store, [{ text }]));
  return refs;
}

async function register(
  store: Store,
  name: string,
  refs: readonly BlobRef[],
  expiresAt?: string,
): Promise<number> {
  const shards = refs.map((documents) => ({ documents, numDocuments: 1 }));
  const { version } = await registerDataset(store, {
    schemaVersion: 1,
    name,
    digest: stageDigest({ shards }),
    sources: [],
    shards,
    numDocuments: refs.length,
    bytes: 1,
    dropped: {},
    droppedDocuments: null,
    ...(expiresAt !== undefined && { expiresAt }),
  });
  return version;
}

test('what a reading wrote that became no version is deleted; what a version names stays', async () => {
  const store = memoryStore();
  const [shared, ...lost] = await read(store, ['shared', 'lost', 'lost too']);
  await register(store, 'policy', [shared!, ...(await read(store, ['kept']))]);
  const ofLost = stageDigest({ of: lost[0] });
  store.objects.set(`stages/shard/${ofLost}.json`, encodeRecord({ of: lost[0]!.sha256 }));
  const look = await expireDatasets(store, { now, inUse: nobody, dryRun: true });
  expect(look).toMatchObject({ expired: [], numBlobs: 2, numUnregistered: 2, numShared: 0 });
  expect(await listNotes(store)).toHaveLength(4);
  expect(await expireDatasets(store, { now, inUse: nobody })).toEqual(look);
  expect([...store.objects.keys()].filter((key) => key.startsWith('blobs/'))).toHaveLength(2);
  expect(await hasBlob(store, shared!)).toBe(true);
  expect([...store.objects.keys()].filter((key) => key.startsWith('stages/'))).toEqual([]);
  expect(await listNotes(store)).toEqual([]);
  expect(await sweepState(store)).toBe('over');
});

test('documents of an expired version that were read again, and became none, are deleted again', async () => {
  const store = memoryStore();
  const refs = await read(store, ['promised to go']);
  await register(store, 'policy', refs, '2026-12-23T00:00:00.000Z');
  expect(await expireDatasets(store, { now, inUse: nobody })).toMatchObject({ numBlobs: 1 });
  await read(store, ['promised to go']);
  expect(await expireDatasets(store, { now, inUse: nobody })).toMatchObject({
    expired: [],
    numUnregistered: 1,
  });
  expect(await hasBlob(store, refs[0]!)).toBe(false);
  expect(await listNotes(store)).toEqual([]);
});

test('the notes of a version go without a sweep, and what is read now is left alone', async () => {
  const store = memoryStore();
  await register(store, 'policy', await read(store, ['kept']));
  const [open] = await read(store, ['not yet a version']);
  const reading = { versions: [], reading: ['pipeline/policy-7f3a'] };
  await expireDatasets(store, { now, inUse: reading });
  expect(await listNotes(store)).toHaveLength(1);
  expect(await hasBlob(store, open!)).toBe(true);
  expect(await sweepState(store)).toBeNull();
  // One that was begun is finished, whoever reads: they wait for it.
  await beginSweep(store, 'killed');
  await expireDatasets(store, { now, inUse: reading });
  expect(await hasBlob(store, open!)).toBe(false);
  expect(await sweepState(store)).toBe('over');
});

test('killed before any of its writes and begun again, it ends as undisturbed', async () => {
  let left = Infinity;
  const prepare = async () => {
    const store = memoryStore(() => {
      if (left === 0) throw new Error('killed');
      left -= 1;
    });
    await register(store, 'policy', await read(store, ['kept']));
    await read(store, ['lost', 'lost too']);
    return store;
  };
  const names = (store: { objects: Map<string, Buffer> }) => [...store.objects.keys()].toSorted();
  const undisturbed = await prepare();
  await expireDatasets(undisturbed, { now, inUse: nobody });
  for (let at = 0; ; at += 1) {
    const store = await prepare();
    left = at;
    const ended = await expireDatasets(store, { now, inUse: nobody }).then(
      () => true,
      () => false,
    );
    left = Infinity;
    await expireDatasets(store, { now, inUse: nobody });
    expect(names(store)).toEqual(names(undisturbed));
    if (!ended) continue;
    expect(at).toBeGreaterThan(6);
    break;
  }
});

/** Sweeps, with a reader whose three steps come before these requests of the sweep, or behind all of them. */
async function sweepBeside(at: readonly [number, number, number]) {
  const texts = ['lost', 'lost too'];
  const plain = memoryStore();
  let refs = await read(plain, texts);
  let version = 0;
  let isWhole = false;
  const steps = [
    async () => void (refs = await read(plain, texts)),
    async () => void (version = await register(plain, 'policy', refs)),
    async () =>
      void (isWhole = await requireWhole(plain, 'policy', version).then(
        () => true,
        () => false,
      )),
  ];
  let [numRequests, numSteps] = [0, 0];
  const between = async () => {
    while (numSteps < steps.length && at[numSteps]! <= numRequests) await steps[numSteps++]!();
    numRequests += 1;
  };
  const store: Store = {
    ...plain,
    async get(key) {
      await between();
      return plain.get(key);
    },
    async *list(prefix) {
      await between();
      yield* plain.list(prefix);
    },
    async remove(key) {
      await between();
      await plain.remove(key);
    },
    async replace(key, bytes, etag) {
      await between();
      return plain.replace(key, bytes, etag);
    },
  };
  await expireDatasets(store, { now, inUse: nobody });
  const total = numRequests;
  const objects = [...plain.objects.keys()];
  const noted = objects.filter((key) => key.startsWith('readings/')).map(notedIn);
  const isLost = (sha256: string) => plain.objects.has(blobKey(sha256)) && !noted.includes(sha256);
  // Of a reader that was killed before it registered what it read.
  const isLeft = version === 0 && refs.some(({ sha256 }) => isLost(sha256));
  for (; numSteps < steps.length; numSteps += 1) await steps[numSteps]!();
  return {
    isWhole,
    isLeft,
    total,
    present: refs.every((ref) => plain.objects.has(blobKey(ref.sha256))),
  };
}

test('documents that are read again beside a sweep are there, or the reader is told to read once more', async () => {
  const { total } = await sweepBeside([Infinity, Infinity, Infinity]);
  expect(total).toBeGreaterThan(10);
  const outcomes = { whole: 0, again: 0 };
  for (let first = 0; first <= total; first += 1) {
    for (let second = first; second <= total; second += 1) {
      for (let third = second; third <= total; third += 1) {
        const { isWhole, isLeft, present } = await sweepBeside([first, second, third]);
        // The next sweep finds what a killed reader wrote beside this one.
        expect({ first, isLeft }).toEqual({ first, isLeft: false });
        if (isWhole) expect({ first, second, third, present }).toMatchObject({ present: true });
        outcomes[isWhole ? 'whole' : 'again'] += 1;
      }
    }
  }
  expect(Math.min(outcomes.whole, outcomes.again)).toBeGreaterThan(20);
});
