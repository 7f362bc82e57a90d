import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { packShard } from '../../activities/ingest-pack.ts';
import { ShardWriter } from '../../activities/ingest-shards.ts';
import type { Document } from '../../config/manifests.ts';
import { digestOf } from '../../corpus/order.ts';
import { readJsonLines } from '../../registry/blobs.ts';
import { memoryStore, type MemoryStore } from '../support/memory-store.ts';

const documentBytes = 200_000;
const documents = Array.from({ length: 60 }, (_, index): Document => {
  const id = digestOf(String(index)).slice(0, 32);
  return { id, metadata: {}, source: `a/${index}.txt`, text: id.padEnd(documentBytes, '.') };
});

/** Writes all of them; the later a shard, the sooner it is packed. */
async function written(store: MemoryStore, isSlow: boolean) {
  let numPacked = 0;
  const described: string[] = [];
  const writer = new ShardWriter({
    store,
    sealed: undefined,
    async pack(some) {
      numPacked += 1;
      if (isSlow) await sleep(Math.max(0, 12 - 3 * numPacked));
      return packShard(some);
    },
    onWritten: async ({ sha256 }, { languages }) => {
      described.push(`${sha256} ${Object.values(languages).join()}`);
    },
  });
  try {
    for (const [index, document] of documents.entries())
      await writer.add(document, documentBytes, index % 7 === 0 ? 2 : 1);
    return { shards: await writer.finish(), described: described.toSorted() };
  } finally {
    await writer.settled();
  }
}

test('shards are the same, in the same order, however long each takes to be packed', async () => {
  const store = memoryStore();
  const slow = await written(store, true);
  expect(slow).toEqual(await written(memoryStore(), false));
  expect(slow.shards.length).toBeGreaterThan(8);
  expect(slow.described).toHaveLength(slow.shards.length);
  const read = await Promise.all(
    slow.shards.map(async (shard) => (await readJsonLines(store, shard.documents)) as Document[]),
  );
  expect(read.map(({ length }) => length)).toEqual(
    slow.shards.map(({ numDocuments }) => numDocuments),
  );
  expect(new Set(read.flat().map(({ id }) => id)).size).toBe(documents.length);
});

test('a shard that cannot be put fails what reads, and nothing is written after that', async () => {
  let numPut = 0;
  const store = memoryStore((what) => {
    if (what === 'put' && (numPut += 1) === 3) throw new Error('the disk is full');
  });
  await expect(written(store, true)).rejects.toThrow('the disk is full');
  const { size } = store.objects;
  await sleep(30);
  expect(store.objects.size).toBe(size);
});
