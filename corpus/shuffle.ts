/**
 * Finding near duplicates in parts: fingerprints are scattered into buckets by their bands, so that documents
 * that share a band meet in one bucket, and each bucket is resolved on its own. Numbers are 32 bits.
 */
import { contentLength } from './prints.ts';
import { Words } from './words-and-bytes.ts';

/** Stands for the text's digest, as if it were the band behind the last. */
export function contentBandOf({ bands }: { bands: number }): number {
  return bands;
}
/** Band, both halves of its hash, shard and position of the document. */
const recordLength = 5;
/** Numbers that a document adds to all buckets together. */
export function wordsOfDocument(shape: { bands: number }): number {
  return (contentBandOf(shape) + 1) * recordLength;
}
/** Shard and position of two documents, and the band that they share. */
export const edgeLength = 5;

/** The records of one shard's documents, added to those of each bucket; every document has as many bands. */
export function scatter(
  { contents, bands }: { contents: Uint8Array; bands: Uint32Array },
  shard: number,
  buckets: readonly Words[],
): void {
  const digests = Buffer.from(contents.buffer, contents.byteOffset, contents.byteLength);
  const add = (band: number, high: number, low: number, position: number): void => {
    const bucket = ((high ^ Math.imul(band + 1, 0x9e3779b1)) >>> 0) % buckets.length;
    buckets[bucket]!.push(band, high, low, shard, position);
  };
  const numDocuments = contents.byteLength / contentLength;
  const bandWords = numDocuments === 0 ? 0 : bands.length / numDocuments;
  const numBands = bandWords / 2;
  const contentBand = contentBandOf({ bands: numBands });
  for (let position = 0; position < numDocuments; position += 1) {
    for (let band = 0; band < numBands; band += 1) {
      const at = position * bandWords + band * 2;
      add(band, bands[at]!, bands[at + 1]!, position);
    }
    const digest = position * contentLength;
    add(contentBand, digests.readUInt32BE(digest), digests.readUInt32BE(digest + 4), position);
  }
}

/**
 * Which documents of one bucket share a band: each is joined to the first of its group. Records stay where they lie,
 * with some ten bytes each to find them by.
 */
export class Bucket {
  readonly #records: Words;
  readonly #edges = new Words();
  /** Number of a group's first record and 1, where its band points; 0: none. */
  #slots = new Uint32Array(1024);
  #numGroups = 0;

  /** For records of so many numbers, or more. */
  constructor(numWords = 0) {
    this.#records = new Words(numWords);
  }

  /** Takes records of one group of shards. */
  add(records: Uint32Array): void {
    const from = this.#records.length;
    this.#records.append(records);
    const all = this.#records.all();
    for (let at = from; at < all.length; at += recordLength) {
      if (2 * this.#numGroups >= this.#slots.length) this.#widen(all);
      const slot = this.#slotOf(all, at);
      const met = this.#slots[slot]! - 1;
      if (met < 0) {
        this.#slots[slot] = at / recordLength + 1;
        this.#numGroups += 1;
        continue;
      }
      const first = met * recordLength;
      this.#edges.push(all[first + 3]!, all[first + 4]!, all[at + 3]!, all[at + 4]!, all[at]!);
    }
  }

  /** Shard and position of the first of a group and of another of it, and their band; that of `contentBandOf` where the texts' digests begin alike. */
  edges(): Uint32Array {
    return this.#edges.all();
  }

  /** The slot of the group that a record is of, or would be. */
  #slotOf(all: Uint32Array, at: number): number {
    const [band, high, low] = [all[at]!, all[at + 1]!, all[at + 2]! >>> 11];
    const mask = this.#slots.length - 1;
    // Both halves: the high one has chosen the bucket.
    let slot = (Math.imul(high ^ Math.imul(band + 1, 0x85ebca6b), 0x9e3779b1) ^ low) & mask;
    for (; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const other = (this.#slots[slot]! - 1) * recordLength;
      // 53 of the 64 bits, as many as a number holds exactly.
      if (all[other + 1] === high && all[other + 2]! >>> 11 === low && all[other] === band) break;
    }
    return slot;
  }

  #widen(all: Uint32Array): void {
    const before = this.#slots;
    this.#slots = new Uint32Array(before.length * 2);
    for (const number of before) {
      if (number === 0) continue;
      this.#slots[this.#slotOf(all, (number - 1) * recordLength)] = number;
    }
  }
}
