/** The shuffle of fingerprints: groups of shards into buckets, and each bucket on its own, with the store in between. */
import { usualNear, type Near } from '../config/deduplication.ts';
import type { BlobRef } from '../config/digest.ts';
import { contentLength } from '../corpus/prints.ts';
import { contentBandOf, edgeLength, wordsOfDocument } from '../corpus/shuffle.ts';
import { hashesOf } from '../corpus/minhash.ts';
import { wordsIn } from '../corpus/words-and-bytes.ts';
import { putBlob, readBlob } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import { beatsOf, progress } from './preprocess-failures.ts';
import type { Shuffle } from './preprocess-input.ts';
import { inTurn } from './preprocess-in-turn.ts';
import { inParallel } from './preprocess-parallel.ts';
import type { CleanShard, ResolvedBucket, Scattered } from './preprocess-records.ts';
import type { ThreadTasks } from './preprocess-thread.ts';
import type { ThreadPool } from './preprocess-threads.ts';

/** Shards whose fingerprints are brought together by one activity, with no shuffle: some 180 MB of text. */
export const groupSize = 256;
/** Documents likewise, where they are short: a thread holds some kilobyte for each. */
const documentsTogether = 50_000;

/** What is compared of a document, and its records. */
function bytesOfDocument(near: Near): number {
  return contentLength + near.bands * 8 + hashesOf(near) + wordsOfDocument(near) * 4;
}

/** How a corpus of these shards is shuffled; null where one activity can hold it all. */
export function shuffleFor(
  shards: readonly { numDocuments: number }[],
  shardsTogether = groupSize,
  near = usualNear,
): Shuffle | null {
  const documents = shards.reduce((sum, { numDocuments }) => sum + numDocuments, 0);
  const larger = Math.max(1, bytesOfDocument(near) / bytesOfDocument(usualNear));
  const parts = larger * Math.max(shards.length / shardsTogether, documents / documentsTogether);
  if (parts <= 1) return null;
  return {
    groupSize: Math.max(1, Math.floor(shards.length / parts)),
    numBuckets: Math.ceil(parts),
  };
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

/** Which documents may be duplicates, ascending by number; 1 for each that may have the text of another. */
export interface Marked {
  numbers: Uint32Array;
  copies: Uint8Array;
}

/** Marks what the edges of all buckets join; `firsts` holds the number of each shard's first document. */
export async function markCandidates(
  store: Store,
  buckets: readonly ResolvedBucket[],
  firsts: Uint32Array,
  near: Near,
): Promise<Marked> {
  const contentBand = contentBandOf(near);
  /** By number: 1 for a candidate, 3 for one that may have the text of another. */
  const marks = new Uint8Array(firsts.at(-1)!);
  let count = 0;
  const mark = (shard: number, position: number, kind: number): void => {
    const number = firsts[shard]! + position;
    if (marks[number] === 0) count += 1;
    marks[number]! |= kind;
  };
  await inTurn(
    buckets,
    async ({ edges }) => wordsIn(await readBlob(store, edges)),
    async (edges, bucket) => {
      for (let at = 0; at < edges.length; at += edgeLength) {
        const kind = edges[at + 4] === contentBand ? 3 : 1;
        mark(edges[at]!, edges[at + 1]!, kind);
        mark(edges[at + 2]!, edges[at + 3]!, kind);
      }
      await progress('buckets', bucket + 1, buckets.length);
    },
  );
  const numbers = new Uint32Array(new SharedArrayBuffer(count * 4));
  const copies = new Uint8Array(count);
  let next = 0;
  for (const [number, mark] of marks.entries()) {
    if (mark === 0) continue;
    numbers[next] = number;
    copies[next] = mark === 3 ? 1 : 0;
    next += 1;
  }
  return { numbers, copies };
}

/** Compares the candidates of each bucket, and gives the pairs that are alike to `use`. */
export async function alikeInBuckets(
  store: Store,
  threads: ThreadPool,
  buckets: readonly ResolvedBucket[],
  known: Omit<ThreadTasks['alike']['input'], 'edges'>,
  use: (pairs: Uint32Array) => void,
): Promise<void> {
  const beat = beatsOf('buckets');
  await inTurn(
    buckets,
    async ({ edges }) =>
      threads.run('alike', { ...known, edges: await readBlob(store, edges) }, beat),
    async ({ pairs }, bucket) => {
      use(pairs);
      await progress('buckets', bucket + 1, buckets.length);
    },
  );
}
