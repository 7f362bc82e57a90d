/** What the thread of preprocessing does to mix sources: a shard or a bucket at a time. */
import { canonicalJson } from '../config/digest.ts';
import { rankOf, sourceFinder } from '../corpus/mixture.ts';
import { digestOf, shareOf } from '../corpus/order.ts';
import type { IndexLine } from '../corpus/pack.ts';
import { readDocuments } from './preprocess-documents.ts';

export interface MixTasks {
  /** Of each document of a shard its source, bytes and tokens, with the one that ends it; or a document that is of no source. */
  origins: {
    input: { documents: Uint8Array; index: Uint8Array; names: string[] };
    output: {
      sources: Int32Array;
      bytes: Uint32Array;
      numTokens: Uint32Array;
      unknown: string | null;
    };
  };
  /** The beginning of the hash of each document of a shard. */
  mixRanks: {
    input: { index: Uint8Array; salt: string };
    output: { high: Uint32Array; low: Uint32Array };
  };
  /** The readings of a shard's documents, by bucket. */
  spread: {
    input: {
      tokens: Uint8Array;
      index: Uint8Array;
      sources: Int32Array;
      readings: Uint32Array;
      /** Of the order that the seed gives. */
      salt: string;
      numBuckets: number;
      width: number;
    };
    output: {
      buckets: Uint32Array;
      lengths: Uint32Array;
      records: Uint8Array;
    };
  };
  /** The readings of a bucket, in order. */
  arrange: {
    input: { parts: Uint8Array[]; width: number };
    output: { tokens: Uint8Array; index: Uint8Array; numDocuments: number; numTokens: number };
  };
}

/** Rank, length of the name, and length of the tokens, before each. */
const rankLength = 32;
const headLength = rankLength + 8;

export const mixTasks: {
  [Name in keyof MixTasks]: (input: MixTasks[Name]['input']) => Promise<MixTasks[Name]['output']>;
} = {
  async origins({ documents, index, names }) {
    const lines = await readDocuments(documents);
    const find = sourceFinder(names);
    const sources = Int32Array.from(lines, ({ source }) => find(source));
    return {
      sources,
      bytes: Uint32Array.from(lines, ({ text }) => Buffer.byteLength(text)),
      numTokens: Uint32Array.from(linesOf(index), ({ num }) => num + 1),
      unknown: lines[sources.indexOf(-1)]?.source ?? null,
    };
  },
  async mixRanks({ index, salt }) {
    const ranks = linesOf(index).map(({ id }) => rankOf(salt, id));
    return {
      high: Uint32Array.from(ranks, ([high]) => high),
      low: Uint32Array.from(ranks, ([, low]) => low),
    };
  },
  async spread({ tokens, index, sources, readings, salt, numBuckets, width }) {
    const records: { rank: string; bucket: number; name: Buffer; tokens: Uint8Array }[] = [];
    for (const [at, { id, first, num }] of linesOf(index).entries()) {
      const own = tokens.subarray(first * width, (first + num + 1) * width);
      const name = Buffer.from(JSON.stringify([id, sources[at]]));
      for (let time = 0; time < readings[at]!; time += 1) {
        // The first reading stands where it would without a mix.
        const rank = digestOf(time === 0 ? salt : `${salt} again ${time}`, id);
        const bucket = Math.floor(shareOf(rank) * numBuckets);
        records.push({ rank, bucket, name, tokens: own });
      }
    }
    const byBucket = [...Map.groupBy(records, ({ bucket }) => bucket)].toSorted(
      ([a], [b]) => a - b,
    );
    const sizeOf = (of: typeof records): number =>
      of.reduce((sum, record) => sum + headLength + record.name.length + record.tokens.length, 0);
    const lengths = Uint32Array.from(byBucket, ([, of]) => sizeOf(of));
    const bytes = Buffer.allocUnsafeSlow(sizeOf(records));
    let end = 0;
    for (const { rank, name, tokens: own } of byBucket.flatMap(([, of]) => of)) {
      bytes.write(rank, end, 'hex');
      bytes.writeUInt32LE(name.length, end + rankLength);
      bytes.writeUInt32LE(own.length, end + rankLength + 4);
      bytes.set(name, end + headLength);
      bytes.set(own, end + headLength + name.length);
      end += headLength + name.length + own.length;
    }
    const buckets = Uint32Array.from(byBucket, ([bucket]) => bucket);
    return { buckets, lengths, records: bytes };
  },
  async arrange({ parts, width }) {
    const records: { rank: Buffer; name: Buffer; tokens: Buffer }[] = [];
    for (const { buffer, byteOffset, length } of parts) {
      const part = Buffer.from(buffer, byteOffset, length);
      for (let at = 0; at < length;) {
        const nameAt = at + headLength;
        const tokensAt = nameAt + part.readUInt32LE(at + rankLength);
        const end = tokensAt + part.readUInt32LE(at + rankLength + 4);
        records.push({
          rank: part.subarray(at, at + rankLength),
          name: part.subarray(nameAt, tokensAt),
          tokens: part.subarray(tokensAt, end),
        });
        at = end;
      }
    }
    const sorted = records.toSorted((a, b) => Buffer.compare(a.rank, b.rank));
    let first = 0;
    const lines: string[] = [];
    for (const { name, tokens } of sorted) {
      const [id, source] = JSON.parse(name.toString('utf8')) as [string, number];
      const numTokens = tokens.length / width;
      lines.push(`${canonicalJson({ first, id, num: numTokens - 1, source })}\n`);
      first += numTokens;
    }
    return {
      tokens: Buffer.concat(sorted.map(({ tokens }) => tokens)),
      index: Buffer.from(lines.join('')),
      numDocuments: sorted.length,
      numTokens: first,
    };
  },
};

function linesOf(index: Uint8Array): IndexLine[] {
  const { buffer, byteOffset, length } = index;
  const lines = Buffer.from(buffer, byteOffset, length).toString('utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as IndexLine);
}
