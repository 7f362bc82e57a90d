/** Documents as they are read, into shards: those of each version of the dataset in which they first came apart. */
import type { Document } from '../config/manifests.ts';
import { Chunker } from '../corpus/chunk.ts';
import { putReadLines } from '../registry/readings.ts';
import type { Store } from '../registry/store.ts';
import type { DatasetShard } from './ingest-before.ts';

/** Text that may wait for its shard to be full, of all versions together. */
const mostWaiting = 64_000_000;

interface Open {
  chunker: Chunker;
  documents: Document[];
  bytes: number;
}

export class ShardWriter {
  readonly #store: Store;
  readonly #sealed: string | undefined;
  readonly #open = new Map<number, Open>();
  readonly #written: DatasetShard[] = [];
  #waiting = 0;

  /** `sealed`: id of the data key that they are sealed with; left out, they stay plain. */
  constructor(store: Store, sealed?: string) {
    this.#store = store;
    this.#sealed = sealed;
  }

  async add(document: Document, bytes: number, since: number): Promise<void> {
    const open = this.#open.get(since) ?? { chunker: new Chunker(), documents: [], bytes: 0 };
    this.#open.set(since, open);
    open.documents.push(document);
    open.bytes += bytes;
    this.#waiting += bytes;
    if (open.chunker.endsAfter({ id: document.id, bytes })) await this.#end(since, open);
    if (this.#waiting <= mostWaiting) return;
    const [largest] = [...this.#open].toSorted(([, a], [, b]) => b.bytes - a.bytes);
    await this.#end(...largest!);
  }

  /** All of them, in the order in which they were written; none may follow. */
  async finish(): Promise<DatasetShard[]> {
    for (const [since, open] of this.#open) await this.#end(since, open);
    return this.#written;
  }

  async #end(since: number, { documents, bytes }: Open): Promise<void> {
    this.#open.delete(since);
    this.#waiting -= bytes;
    this.#written.push({
      documents: await putReadLines(this.#store, documents, this.#sealed),
      numDocuments: documents.length,
      ...(since > 1 && { since }),
    });
  }
}
