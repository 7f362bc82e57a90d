/**
 * Where one shard of documents ends and the next begins. The cut depends on the documents near it, not
 * on a count from the start, so a document added in front changes the shard it falls into and no other.
 */
import { hashShare } from './order.ts';

/** Expected bytes of text in a shard: enough to be worth an activity, little enough to lose. */
export const shardBytes = 700_000;

/** Groups documents into shards of about `shardBytes`, by their ids and sizes alone. */
export class Chunker {
  #bytes = 0;

  /** True when a shard ends after this document. */
  endsAfter(document: { id: string; bytes: number }): boolean {
    this.#bytes += document.bytes;
    const pastLeast = this.#bytes >= shardBytes / 2;
    const chosen = (): boolean =>
      hashShare('shard', document.id) < (2 * document.bytes) / shardBytes;
    const ends = this.#bytes >= 2 * shardBytes || (pastLeast && chosen());
    if (ends) this.#bytes = 0;
    return ends;
  }
}
