/**
 * Parts of buckets that come in any order and are read bucket by bucket. What is more than memory should hold goes to one
 * file, in runs that are ordered by bucket, so that neither files nor writes grow with shards times buckets.
 */
import { open, type FileHandle } from 'node:fs/promises';

/** Held before a run is written. */
const usualLimit = 48_000_000;

interface Part {
  /** Ascending. */
  buckets: Uint32Array;
  /** Where the bytes of each end. */
  ends: Uint32Array;
  bytes: Uint8Array;
}

/** Where each bucket begins, and the last one ends; in the file from `start` on, or in memory. */
interface Run {
  offsets: Float64Array;
  start: number;
  bytes: Uint8Array | null;
}

export class Spill {
  readonly #path: string;
  readonly #numBuckets: number;
  readonly #limit: number;
  #held: Part[] = [];
  #heldBytes = 0;
  readonly #runs: Run[] = [];
  #file: FileHandle | null = null;
  #end = 0;

  constructor(path: string, numBuckets: number, limit: number = usualLimit) {
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
    if (this.#heldBytes < this.#limit) return;
    const run = this.#takeHeld();
    this.#file ??= await open(this.#path, 'wx+');
    for (let written = 0; written < run.bytes!.length;) {
      const { bytesWritten } = await this.#file.write(
        run.bytes!,
        written,
        undefined,
        this.#end + written,
      );
      written += bytesWritten;
    }
    this.#runs.push({ offsets: run.offsets, start: this.#end, bytes: null });
    this.#end += run.bytes!.length;
  }

  /** Whether anything came of a bucket. */
  has(bucket: number): boolean {
    this.#seal();
    return this.#runs.some(({ offsets }) => offsets[bucket]! < offsets[bucket + 1]!);
  }

  /** The parts of a bucket, in the order in which they came. */
  async read(bucket: number): Promise<Uint8Array[]> {
    this.#seal();
    const parts: Uint8Array[] = [];
    for (const { offsets, start, bytes } of this.#runs) {
      const [from, to] = [offsets[bucket]!, offsets[bucket + 1]!];
      if (from === to) continue;
      // A copy: a part of larger memory would take all of that along to a thread.
      parts.push(
        bytes === null
          ? await this.#readAt(start + from, to - from)
          : new Uint8Array(bytes.subarray(from, to)),
      );
    }
    return parts;
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  /** What is still held becomes the last run. */
  #seal(): void {
    if (this.#held.length > 0) this.#runs.push(this.#takeHeld());
  }

  async #readAt(position: number, length: number): Promise<Uint8Array> {
    const bytes = Buffer.allocUnsafeSlow(length);
    for (let read = 0; read < length;) {
      const { bytesRead } = await this.#file!.read(bytes, read, length - read, position + read);
      if (bytesRead === 0)
        throw new Error(`${this.#path} ended at ${position + read} of ${this.#end} bytes.`);
      read += bytesRead;
    }
    return bytes;
  }

  #takeHeld(): Run {
    const offsets = new Float64Array(this.#numBuckets + 1);
    const eachPart = (use: (bucket: number, bytes: Uint8Array) => void): void => {
      for (const { buckets, ends, bytes } of this.#held) {
        for (const [at, bucket] of buckets.entries())
          use(bucket, bytes.subarray(at === 0 ? 0 : ends[at - 1]!, ends[at]!));
      }
    };
    eachPart((bucket, { length }) => {
      offsets[bucket + 1]! += length;
    });
    for (let bucket = 0; bucket < this.#numBuckets; bucket += 1)
      offsets[bucket + 1]! += offsets[bucket]!;
    const next = offsets.slice();
    const all = Buffer.allocUnsafeSlow(this.#heldBytes);
    eachPart((bucket, bytes) => {
      all.set(bytes, next[bucket]!);
      next[bucket]! += bytes.length;
    });
    this.#held = [];
    this.#heldBytes = 0;
    return { offsets, start: 0, bytes: all };
  }
}
