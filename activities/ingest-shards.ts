/**
 * Documents as they are read, into shards: those of each version of the dataset in which they first came apart. A shard
 * that is full is packed, described and put while the next ones are read.
 */
import { heldBytes } from '../config/data-memory.ts';
import type { BlobRef } from '../config/digest.ts';
import type { Document } from '../config/manifests.ts';
import { Chunker } from '../corpus/chunk.ts';
import type { PartCounts } from '../corpus/statistics.ts';
import { putRead } from '../registry/readings.ts';
import type { Store } from '../registry/store.ts';
import type { DatasetShard } from './ingest-before.ts';
import type { PackShard } from './ingest-pack.ts';
import { Ahead } from './preprocess-parallel.ts';

/** Shards that are packed and put at once. */
const mostInFlight = 4;

interface Open {
  chunker: Chunker;
  documents: Document[];
  bytes: number;
}

/** What becomes of a shard. */
export interface ShardSteps {
  store: Store;
  /** Id of the data key that shards are sealed with; undefined: they stay plain. */
  sealed: string | undefined;
  pack: PackShard;
  /** Hears of each that is written, with what its documents are like. */
  onWritten: (documents: BlobRef, counts: PartCounts) => Promise<void>;
}

export class ShardWriter {
  readonly #steps: ShardSteps;
  readonly #open = new Map<number, Open>();
  readonly #written = new Ahead<DatasetShard>(mostInFlight);
  #waiting = 0;

  constructor(steps: ShardSteps) {
    this.#steps = steps;
  }

  async add(document: Document, bytes: number, since: number): Promise<void> {
    const open = this.#open.get(since) ?? { chunker: new Chunker(), documents: [], bytes: 0 };
    this.#open.set(since, open);
    open.documents.push(document);
    open.bytes += bytes;
    this.#waiting += bytes;
    if (open.chunker.endsAfter({ id: document.id, bytes })) await this.#end(since, open);
    if (this.#waiting <= heldBytes.waiting) return;
    const [largest] = [...this.#open].toSorted(([, a], [, b]) => b.bytes - a.bytes);
    await this.#end(...largest!);
  }

  /** All of them, in the order in which they were full; none may follow. */
  async finish(): Promise<DatasetShard[]> {
    for (const [since, open] of this.#open) await this.#end(since, open);
    return this.#written.results();
  }

  /** Waits until nothing is written any more, however that ends. */
  async settled(): Promise<void> {
    await this.#written.settled();
  }

  async #end(since: number, { documents, bytes }: Open): Promise<void> {
    this.#open.delete(since);
    this.#waiting -= bytes;
    const { store, sealed, pack, onWritten } = this.#steps;
    await this.#written.begin(async () => {
      const { lines, counts } = await pack(documents);
      const ref = await putRead(store, lines, sealed);
      await onWritten(ref, counts);
      return { documents: ref, numDocuments: documents.length, ...(since > 1 && { since }) };
    });
  }
}
