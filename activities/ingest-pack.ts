/** A shard of raw documents as it is stored, and what they are like: here, or in a thread while the next ones are read. */
import type { Document } from '../config/manifests.ts';
import { describeShard } from '../corpus/describe-shard.ts';
import type { PartCounts } from '../corpus/statistics.ts';
import { encodeJsonLines } from '../registry/blobs.ts';
import type { ThreadPool } from './preprocess-threads.ts';

export interface PackedShard {
  /** JSON lines, zstd. */
  lines: Uint8Array;
  counts: PartCounts;
}

export type PackShard = (documents: readonly Document[]) => Promise<PackedShard>;

export async function packShard(documents: readonly Document[]): Promise<PackedShard> {
  return { lines: await encodeJsonLines(documents), counts: describeShard(documents) };
}

/** The same by threads, so that as many cores read. */
export function packIn(threads: ThreadPool): PackShard {
  return async (documents) => threads.run('pack', { documents });
}
