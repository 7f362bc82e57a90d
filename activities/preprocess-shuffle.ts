/** The shuffle of fingerprints: groups of shards into buckets, and each bucket on its own, with the store in between. */
import type { BlobRef } from '../config/digest.ts';
import { contentBand, edgesOf, wordsIn } from '../corpus/shuffle.ts';
import { putBlob, readBlob } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import { beatsOf, progress } from './preprocess-failures.ts';
import type { Shuffle } from './preprocess-input.ts';
import { inParallel } from './preprocess-parallel.ts';
import type { CleanShard, ResolvedBucket, Scattered } from './preprocess-records.ts';
import type { ThreadPool } from './preprocess-threads.ts';

/** Shards whose fingerprints are brought together by one activity, with no shuffle: some 180 MB of text. */
export const groupSize = 256;

/** How a corpus of so many shards is shuffled; null where one activity can hold it all. */
export function shuffleFor(numShards: number, shardsTogether = groupSize): Shuffle | null {
  if (numShards <= shardsTogether) return null;
  return { groupSize: shardsTogether, numBuckets: Math.ceil(numShards / shardsTogether) };
}

/** Scatters the fingerprints of consecutive shards. */
export async function scatterShards(
  store: Store,
  threads: ThreadPool,
  cleaned: readonly CleanShard[],
  firstShard: number,
  numBuckets: number,
): Promise<Scattered> {
  let done = 0;
  const fingerprints = await inParallel(cleaned, async (shard) => {
    const bytes = await readBlob(store, shard.fingerprints);
    await progress('fingerprints', (done += 1), cleaned.length);
    return bytes;
  });
  const sealed = cleaned.find((shard) => shard.fingerprints.sealed)?.fingerprints.sealed;
  const { buckets } = await threads.run(
    'scatter',
    { fingerprints, firstShard, numBuckets },
    beatsOf('fingerprints'),
  );
  return {
    schemaVersion: 1,
    of: cleaned.flatMap(({ of }) => of ?? []),
    buckets: await inParallel(buckets, async (records) => {
      const ref = await putBlob(store, records, sealed);
      await progress('buckets', (done += 1), cleaned.length + buckets.length);
      return ref;
    }),
  };
}

/** Finds the edges of one bucket, which lies in as many parts as there are groups. */
export async function resolveRecords(
  store: Store,
  threads: ThreadPool,
  parts: readonly BlobRef[],
): Promise<ResolvedBucket> {
  let done = 0;
  const records = await inParallel(parts, async (part) => {
    const bytes = await readBlob(store, part);
    await progress('parts', (done += 1), parts.length);
    return bytes;
  });
  const { edges } = await threads.run('resolve', { records }, beatsOf('parts'));
  return { schemaVersion: 1, edges: await putBlob(store, edges) };
}

/** Documents that share a band, and every document that a duplicate may be of; by number in the corpus. */
export interface Candidates {
  groups: number[][];
  documents: Set<number>;
}

/** Brings the edges of all buckets together; `firsts` holds the number of each shard's first document. */
export async function gatherEdges(
  store: Store,
  buckets: readonly ResolvedBucket[],
  firsts: readonly number[],
): Promise<Candidates> {
  const documents = new Set<number>();
  const groups = new Map<number, number[]>();
  let done = 0;
  const read = await inParallel(buckets, async ({ edges }) => {
    const bytes = await readBlob(store, edges);
    await progress('buckets', (done += 1), buckets.length);
    return bytes;
  });
  for (const bytes of read) {
    for (const { a, b, band } of edgesOf(wordsIn(bytes))) {
      const [first, other] = [firsts[a.shard]! + a.position, firsts[b.shard]! + b.position];
      documents.add(first).add(other);
      if (band === contentBand) continue;
      const key = first * contentBand + band;
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [first, other]);
      else group.push(other);
    }
  }
  return { groups: [...groups.values()], documents };
}
