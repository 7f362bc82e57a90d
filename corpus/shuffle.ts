/**
 * Finding near duplicates in parts: fingerprints are scattered into buckets by their bands, so that documents
 * that share a band meet in one bucket, and each bucket is resolved on its own. Numbers are 32 bits, little-endian.
 */
import type { Fingerprint } from './duplicates.ts';
import { numBands } from './minhash.ts';

/** Stands for the text's digest, as if it were a band. */
export const contentBand = numBands;
/** Band, both halves of its hash, shard and position of the document. */
const recordLength = 5;
/** Shard and position of two documents, and the band that they share. */
const edgeLength = 5;

export interface Edge {
  /** The same one in all edges of those that share a band. */
  a: DocumentPlace;
  b: DocumentPlace;
  /** `contentBand` where the beginning of the texts' digests is the same, so that the texts may be. */
  band: number;
}

export interface DocumentPlace {
  shard: number;
  position: number;
}

/** The records of one shard's documents, added to those of each bucket. */
export function scatter(
  fingerprints: readonly Pick<Fingerprint, 'content' | 'bands'>[],
  shard: number,
  buckets: readonly number[][],
): void {
  const add = (band: number, high: number, low: number, position: number): void => {
    const bucket = ((high ^ Math.imul(band + 1, 0x9e3779b1)) >>> 0) % buckets.length;
    buckets[bucket]!.push(band, high, low, shard, position);
  };
  for (const [position, { content, bands }] of fingerprints.entries()) {
    for (let band = 0; band < numBands; band += 1)
      add(band, bands[band * 2]!, bands[band * 2 + 1]!, position);
    const half = (from: number): number => Number.parseInt(content.slice(from, from + 8), 16);
    add(contentBand, half(0), half(8), position);
  }
}

/**
 * Which documents of one bucket share a band: each is joined to the first of its group, which is of the oldest version,
 * for the shards of a dataset come oldest first.
 */
export class Bucket {
  readonly #first = Array.from({ length: contentBand + 1 }, () => new Map<number, DocumentPlace>());
  readonly #edges: number[] = [];

  /** Takes records of one group of shards. */
  add(records: Uint32Array): void {
    for (let at = 0; at < records.length; at += recordLength) {
      const band = records[at]!;
      const shard = records[at + 3]!;
      const position = records[at + 4]!;
      // 53 of the 64 bits: what a number holds exactly.
      const key = records[at + 1]! * 2 ** 21 + (records[at + 2]! >>> 11);
      const met = this.#first[band]!.get(key);
      if (met === undefined) this.#first[band]!.set(key, { shard, position });
      else this.#edges.push(met.shard, met.position, shard, position, band);
    }
  }

  edges(): Uint32Array {
    return Uint32Array.from(this.#edges);
  }
}

/** The edges that a bucket found. */
export function* edgesOf(numbers: Uint32Array): Generator<Edge> {
  for (let at = 0; at < numbers.length; at += edgeLength) {
    const [shardA, positionA, shardB, positionB, band] = numbers.subarray(at, at + edgeLength);
    yield {
      a: { shard: shardA!, position: positionA! },
      b: { shard: shardB!, position: positionB! },
      band: band!,
    };
  }
}

/** Numbers as bytes, for a blob. */
export function bytesOf(numbers: Uint32Array): Uint8Array {
  const bytes = Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  return littleEndian ? bytes : Buffer.from(bytes).swap32();
}

/** The numbers of `bytesOf`. */
export function wordsIn(bytes: Uint8Array): Uint32Array {
  const aligned = Uint8Array.from(bytes);
  if (!littleEndian) Buffer.from(aligned.buffer).swap32();
  return new Uint32Array(aligned.buffer);
}

const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
