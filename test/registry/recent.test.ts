import { expect, test } from 'vitest';
import { putBlob, readBlob } from '../../registry/blobs.ts';
import { withRecent, type RecentOptions } from '../../registry/recent.ts';
import { memoryStore } from '../support/memory-store.ts';

/** A store that counts what is asked of it, and what remembers for it. */
function remembering(options: RecentOptions = {}) {
  const asked: string[] = [];
  const memory = memoryStore();
  const get: typeof memory.get = async (key) => {
    asked.push(key);
    return memory.get(key);
  };
  return { asked, memory, store: withRecent({ ...memory, get }, options) };
}

const bytes = (length: number, fill: number): Buffer => Buffer.alloc(length, fill);

test('what was put a moment ago is read without asking the store', async () => {
  const { asked, store } = remembering();
  const ref = await putBlob(store, bytes(1000, 1));
  await store.putIfAbsent('stages/clean-shard/a.json', bytes(10, 2));
  expect(await readBlob(store, ref)).toEqual(bytes(1000, 1));
  expect((await store.get('stages/clean-shard/a.json'))?.bytes).toEqual(bytes(10, 2));
  expect(asked).toEqual([]);
});

test('what may change is always asked for', async () => {
  const { asked, store } = remembering();
  await store.putIfAbsent('datasets/a/versions/000001.json', bytes(3, 1));
  const etag = (await store.get('datasets/a/versions/000001.json'))!.etag;
  await store.replace('datasets/a/versions/000001.json', bytes(3, 2), etag);
  expect((await store.get('datasets/a/versions/000001.json'))?.bytes).toEqual(bytes(3, 2));
  expect(asked).toHaveLength(2);
});

test('of a record that others made first, theirs is read', async () => {
  const { memory, store } = remembering();
  await memory.putIfAbsent('stages/split/a.json', bytes(3, 1));
  expect(await store.putIfAbsent('stages/split/a.json', bytes(3, 2))).toBe(false);
  expect((await store.get('stages/split/a.json'))?.bytes).toEqual(bytes(3, 1));
});

test('after a while, and once it was removed, the store is asked again', async () => {
  let now = 0;
  const { asked, store } = remembering({ maxAgeMs: 1000, clock: () => now });
  const old = await putBlob(store, bytes(10, 1));
  now = 1000;
  await readBlob(store, old);
  expect(asked).toHaveLength(1);
  await putBlob(store, bytes(10, 2));
  await store.putIfAbsent('stages/split/a.json', bytes(3, 1));
  await store.remove('stages/split/a.json');
  expect(await store.get('stages/split/a.json')).toBeNull();
});

test('a record is asked for again in another execution: what it names may be deleted since; a blob is what it was', async () => {
  let scope: string | undefined = 'a';
  const { asked, memory, store } = remembering({ scope: () => scope });
  const record = 'stages/clean-shard/a.json';
  await store.putIfAbsent(record, bytes(3, 1));
  const ref = await putBlob(store, bytes(10, 1));
  expect((await store.get(record))?.bytes).toEqual(bytes(3, 1));
  await memory.remove(record);
  for (scope of ['b', undefined]) {
    expect(await store.get(record)).toBeNull();
    expect(await readBlob(store, ref)).toEqual(bytes(10, 1));
  }
  await store.putIfAbsent(record, bytes(3, 2));
  expect((await store.get(record))?.bytes).toEqual(bytes(3, 2));
  expect(asked).toEqual([record, record, record]);
});

test('no more is remembered than the bound, the newest of it, and nothing that fills it alone', async () => {
  const { asked, store } = remembering({ maxBytes: 800 });
  const refs = [];
  for (let fill = 0; fill < 12; fill += 1) refs.push(await putBlob(store, bytes(100, fill)));
  const large = await putBlob(store, bytes(101, 99));
  for (const ref of refs.slice(4)) await readBlob(store, ref);
  expect(asked).toEqual([]);
  for (const ref of [...refs.slice(0, 4), large]) await readBlob(store, ref);
  expect(asked).toHaveLength(5);
});
