/**
 * Parts of buckets that come in any order and are read bucket by bucket. What is more than memory should hold goes to one
 * file, in runs that are ordered by bucket, so that neither files nor writes grow with shards times buckets.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { heldBytes } from '../config/data-memory.ts';
import { placeIn } from '../corpus/words-and-bytes.ts';

/** Of a run, written at a time. */
const pieceBytes = 4_000_000;

interface Part {
  /** Ascending. */
  buckets: Uint32Array;
  /** Where the bytes of each end. */
  ends: Uint32Array;
  bytes: Uint8Array;
}

/** Where each bucket begins in the file, and the last one ends. */
type Run = Float64Array;

export class Spill {
  readonly #path: string;
  readonly #numBuckets: number;
  readonly #limit: number;
  #held: Part[] = [];
  #heldBytes = 0;
  readonly #runs: Run[] = [];
  #file: FileHandle | null = null;
  #end = 0;

  constructor(path: string, numBuckets: number, limit: number = heldBytes.spilled) {
    this.#path = path;
    this.#numBuckets = numBuckets;
    this.#limit = limit;
  }

  /** Takes parts of buckets, ascending, one after the other in `bytes`; one call at a time. */
  async add(buckets: Uint32Array, lengths: Uint32Array, bytes: Uint8Array): Promise<void> {
    const ends = lengths.slice();
    for (let at = 1; at < ends.length; at += 1) ends[at]! += ends[at - 1]!;
    this.#held.push({ buckets, ends, bytes });
    this.#heldBytes += bytes.length;
    if (this.#heldBytes >= this.#limit) await this.#writeHeld();
  }

  /** Whether anything came of a bucket. */
  has(bucket: number): boolean {
    return (
      this.#runs.some((run) => run[bucket]! < run[bucket + 1]!) ||
      this.#held.some((part) => bytesIn(part, bucket).length > 0)
    );
  }

  /** What came of a bucket, in the order in which it came; in memory of its own, to give away. */
  async read(bucket: number): Promise<Buffer<ArrayBuffer>> {
    const held = this.#held.map((part) => bytesIn(part, bucket));
    const runs = this.#runs.map((run) => ({
      from: run[bucket]!,
      length: run[bucket + 1]! - run[bucket]!,
    }));
    const all = Buffer.allocUnsafeSlow(
      [...runs, ...held].reduce((sum, { length }) => sum + length, 0),
    );
    let end = 0;
    for (const { from, length } of runs) {
      await this.#readAt(from, all.subarray(end, end + length));
      end += length;
    }
    for (const bytes of held) {
      all.set(bytes, end);
      end += bytes.length;
    }
    return all;
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  async #readAt(position: number, into: Uint8Array): Promise<void> {
    for (let read = 0; read < into.length;) {
      const { bytesRead } = await this.#file!.read(into, read, into.length - read, position + read);
      if (bytesRead === 0)
        throw new Error(`${this.#path} ended at ${position + read} of ${this.#end} bytes.`);
      read += bytesRead;
    }
  }

  /** What is held becomes a run: bucket by bucket, and of each bucket part by part. */
  async #writeHeld(): Promise<void> {
    this.#file ??= await open(this.#path, 'wx+');
    const run = new Float64Array(this.#numBuckets + 1);
    const piece = Buffer.allocUnsafeSlow(Math.min(pieceBytes, this.#heldBytes));
    let filled = 0;
    let end = this.#end;
    for (let bucket = 0; bucket < this.#numBuckets; bucket += 1) {
      run[bucket] = end;
      for (const part of this.#held) {
        const bytes = bytesIn(part, bucket);
        end += bytes.length;
        for (let taken = 0; taken < bytes.length;) {
          const some = bytes.subarray(taken, taken + piece.length - filled);
          piece.set(some, filled);
          filled += some.length;
          taken += some.length;
          if (filled === piece.length) filled = await this.#write(piece);
        }
      }
    }
    run[this.#numBuckets] = end;
    await this.#write(piece.subarray(0, filled));
    this.#runs.push(run);
    this.#held = [];
    this.#heldBytes = 0;
  }

  /** Appends to the file; nothing of the piece is left then. */
  async #write(piece: Uint8Array): Promise<0> {
    for (let written = 0; written < piece.length;) {
      const { bytesWritten } = await this.#file!.write(
        piece,
        written,
        piece.length - written,
        this.#end,
      );
      written += bytesWritten;
      this.#end += bytesWritten;
    }
    return 0;
  }
}

/** What a part has of a bucket. */
function bytesIn({ buckets, ends, bytes }: Part, bucket: number): Uint8Array {
  const at = placeIn(buckets, bucket);
  if (buckets[at] !== bucket) return nothing;
  return bytes.subarray(at === 0 ? 0 : ends[at - 1]!, ends[at]!);
}

const nothing = new Uint8Array();
