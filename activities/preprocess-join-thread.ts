/**
 * What the thread of preprocessing does of the steps that bring all shards together: searching duplicates, counting and
 * listing what is kept and dropped, and putting documents into training order. One shard, bucket or list at a time.
 */
import { canonicalJson } from '../config/digest.ts';
import { usualNear, type Near } from '../config/deduplication.ts';
import type { Document, DroppedDocument } from '../config/manifests.ts';
import { sampleOf } from '../corpus/clean-shard.ts';
import { alikePairs, Join, placesOf, type Candidates, type Found } from '../corpus/duplicates.ts';
import { hashesOf } from '../corpus/minhash.ts';
import { nameAt, Names, type Name, type PackedNames } from '../corpus/names.ts';
import { byCodeUnits, digestOf, shareOf } from '../corpus/order.ts';
import { contentLength, readPrints } from '../corpus/prints.ts';
import { Bucket, contentBandOf, edgeLength, scatter, wordsOfDocument } from '../corpus/shuffle.ts';
import { isHeldOut, sidesOf, type Exceptions, type Sides } from '../corpus/split.ts';
import { Tally, type PartCounts } from '../corpus/statistics.ts';
import { bytesOf, placeIn, Words, wordsIn } from '../corpus/words-and-bytes.ts';
import { compressLines, decodeJsonLines, decompressLines } from '../registry/blobs.ts';
import type { FingerprintLine, KeptLine } from './preprocess-records.ts';

/** Which documents of a shard are kept: all of the lines of its fingerprints but those, or the ones that an older version listed. */
export type KeptOf = { printed: Uint8Array; gone: Uint32Array } | { lines: KeptLine[] };

/** What can be asked; fingerprints are those of `corpus/prints.ts`. */
export interface JoinTasks {
  /** Fingerprints of shards, the first of that number, into one list of records a bucket. */
  scatter: {
    input: { fingerprints: Uint8Array[]; firstShard: number; numBuckets: number };
    output: { buckets: Uint8Array[] };
  };
  /** The records of one bucket, from everywhere, to the edges between documents. */
  resolve: { input: { records: Uint8Array[] }; output: { edges: Uint8Array } };
  /** All of it for shards that fit into memory together; documents are numbered through. */
  duplicates: {
    input: { fingerprints: Uint8Array[]; since: number[]; near?: Near };
    output: Found;
  };
  /** What is compared of some documents of a shard; the names of those of which one is asked. */
  pick: {
    input: { fingerprints: Uint8Array; positions: Uint32Array; named: Uint8Array };
    output: { contents: Uint8Array; sketches: Uint8Array; names: PackedNames };
  };
  /** The places of candidates; names of those that have the same text, by candidate, ascending. */
  rank: {
    input: Pick<Candidates, 'since' | 'contents'> & { named: Uint32Array; names: PackedNames };
    output: { places: Uint32Array };
  };
  /** Pairs of one bucket; `numbers` are those of the candidates, `firsts` that of each shard's first document. */
  alike: {
    input: {
      edges: Uint8Array;
      firsts: Uint32Array;
      numbers: Uint32Array;
      places: Uint32Array;
      sketches: Uint8Array;
      near: Near;
    };
    output: { pairs: Uint32Array };
  };
  names: {
    input: { fingerprints: Uint8Array; positions: Uint32Array };
    output: { names: PackedNames };
  };
  /** How the texts of some documents begin. */
  samples: {
    input: { documents: Uint8Array; positions: number[] };
    output: { samples: string[] };
  };
  /** Counts what is kept of a shard, and lists what is dropped: what cleaning refused, then duplicates. */
  conclude: {
    input: {
      fingerprints: Uint8Array;
      dropped: Uint8Array;
      /** Of each duplicate, ascending. */
      gone: Uint32Array;
      exact: Uint8Array;
      survivors: Name[];
      samples: [position: number, sample: string][];
    };
    output: {
      bytes: number;
      characters: number;
      scripts: Record<string, number>;
      part: PartCounts;
      reasons: Record<string, number>;
      dropped: Uint8Array;
    };
  };
  /** Lines of dropped documents by source and id. */
  sortDropped: { input: { lines: Uint8Array[] }; output: { lines: Uint8Array } };
  /** How the kept documents of a shard fall between training and what is held out, and their bytes. */
  sides: {
    input: { kept: KeptOf; share: number };
    output: { sides: Sides };
  };
  /** Takes documents of a shard apart into buckets, each with its rank; the last bucket is held out. */
  cut: {
    input: {
      documents: Uint8Array;
      kept: KeptOf;
      share: number;
      exceptions: Exceptions;
      /** Of the order that the seed gives. */
      salt: string;
      numBuckets: number;
      metadata: boolean;
    };
    output: CutDocuments & { metadata: Document['metadata'][] };
  };
  /** Documents of a bucket, in the order of their ranks. */
  order: {
    input: { parts: Uint8Array[]; compress: boolean };
    output: { lines: Uint8Array };
  };
}

/** Records of documents by bucket, ascending. */
export interface CutDocuments {
  buckets: Uint32Array;
  /** Of each bucket: documents, bytes of their texts, bytes of their records. */
  counts: Uint32Array;
  sizes: Float64Array;
  lengths: Uint32Array;
  records: Uint8Array;
}

type Say = (done: number, total: number) => void;

/** Rank and length of a line, before each. */
const rankLength = 32;
const recordHead = rankLength + 4;

export const joinTasks: {
  [Name in keyof JoinTasks]: (
    input: JoinTasks[Name]['input'],
    say: Say,
  ) => Promise<JoinTasks[Name]['output']>;
} = {
  async scatter({ fingerprints, firstShard, numBuckets }, say) {
    const prints = fingerprints.map(readPrints);
    // A little more than an equal share.
    const numWords = prints.reduce(
      (sum, print) => sum + print.numDocuments * wordsOfDocument(print.shape),
      0,
    );
    const share = Math.ceil((1.1 * numWords) / numBuckets) + 1000;
    const buckets = Array.from({ length: numBuckets }, () => new Words(share));
    for (const [index, print] of prints.entries()) {
      scatter(print, firstShard + index, buckets);
      say(index + 1, fingerprints.length);
    }
    return { buckets: buckets.map((records) => bytesOf(records.all().slice())) };
  },
  async resolve({ records }, say) {
    const bucket = new Bucket(records.reduce((sum, { length }) => sum + length / 4, 0));
    for (const [index, bytes] of records.entries()) {
      bucket.add(wordsIn(bytes));
      say(index + 1, records.length);
    }
    return { edges: bytesOf(bucket.edges().slice()) };
  },
  async duplicates({ fingerprints, since, near = usualNear }, say) {
    const prints = fingerprints.map(readPrints);
    const firsts = new Uint32Array(prints.length + 1);
    for (const [shard, { numDocuments }] of prints.entries())
      firsts[shard + 1] = firsts[shard]! + numDocuments;
    const records = new Words(firsts.at(-1)! * wordsOfDocument(near));
    const sinceOf = new Uint32Array(firsts.at(-1)!);
    for (const [shard, print] of prints.entries()) {
      scatter(print, shard, [records]);
      sinceOf.fill(since[shard]!, firsts[shard]!, firsts[shard + 1]!);
      say(shard + 1, 2 * prints.length);
    }
    const bucket = new Bucket(records.length);
    bucket.add(records.all());
    const contents = Buffer.concat(prints.map((print) => print.contents));
    const sketches = Buffer.concat(prints.map((print) => print.sketches));
    // Names are asked of copies alone.
    const named = copiesAmong(bucket.edges(), firsts, contentBandOf(near));
    const names = new Names();
    for (const [shard, bytes] of fingerprints.entries()) {
      const [from, to] = [firsts[shard]!, firsts[shard + 1]!];
      const mine = named.subarray(placeIn(named, from), placeIn(named, to));
      if (mine.length === 0) continue;
      const lines = await linesOf(bytes);
      for (const number of mine) names.push(nameOf(lines[number - from]!));
    }
    const nameOfNumber = namesBy(named, names.packed());
    const candidates = { since: sinceOf, contents, sketches };
    const places = placesOf(candidates, nameOfNumber, say);
    const join = new Join(candidates, places);
    const indexOf = (shard: number, position: number): number => firsts[shard]! + position;
    join.unite(alikePairs(bucket.edges(), indexOf, { places, sketches, near }, say));
    return join.found();
  },
  async pick({ fingerprints, positions, named }) {
    const { contents, sketches, shape } = readPrints(fingerprints);
    const numHashes = hashesOf(shape);
    const picked = {
      contents: new Uint8Array(positions.length * contentLength),
      sketches: new Uint8Array(positions.length * numHashes),
    };
    const names = new Names();
    for (const [at, position] of positions.entries()) {
      const content = position * contentLength;
      picked.contents.set(contents.subarray(content, content + contentLength), at * contentLength);
      const sketch = position * numHashes;
      picked.sketches.set(sketches.subarray(sketch, sketch + numHashes), at * numHashes);
    }
    if (named.includes(1)) {
      const lines = await linesOf(fingerprints);
      for (const [at, position] of positions.entries())
        if (named[at] === 1) names.push(nameOf(lines[position]!));
    }
    return { ...picked, names: names.packed() };
  },
  async rank({ since, contents, named, names }, say) {
    return { places: placesOf({ since, contents }, namesBy(named, names), say) };
  },
  async alike({ edges, firsts, numbers, places, sketches, near }, say) {
    const indexOf = (shard: number, position: number): number =>
      placeIn(numbers, firsts[shard]! + position);
    return { pairs: alikePairs(wordsIn(edges), indexOf, { places, sketches, near }, say) };
  },
  async names({ fingerprints, positions }) {
    const lines = await linesOf(fingerprints);
    const names = new Names();
    for (const position of positions) names.push(nameOf(lines[position]!));
    return { names: names.packed() };
  },
  async samples({ documents, positions }) {
    const lines = splitLines(await decompressLines(documents));
    const textOf = (position: number): string =>
      (JSON.parse(lines[position]!.toString('utf8')) as Document).text;
    return { samples: positions.map((position) => sampleOf(textOf(position))) };
  },
  async conclude({ fingerprints, dropped, gone, exact, survivors, samples }) {
    const sampleAt = new Map(samples);
    const tally = new Tally();
    const counted = {
      bytes: 0,
      characters: 0,
      scripts: {} as Record<string, number>,
      reasons: {} as Record<string, number>,
    };
    const plus = (counts: Record<string, number>, name: string): void => {
      counts[name] = (counts[name] ?? 0) + 1;
    };
    const refused = await decompressLines(dropped);
    for (const line of splitLines(refused))
      plus(counted.reasons, (JSON.parse(line.toString('utf8')) as DroppedDocument).reason);
    const lines: Buffer[] = [refused];
    let next = 0;
    for (const [position, line] of (await linesOf(fingerprints)).entries()) {
      if (gone[next] !== position) {
        counted.bytes += line.bytes;
        counted.characters += line.characters;
        plus(counted.scripts, line.script);
        tally.add(line.traits, line.characters);
        continue;
      }
      const reason = exact[next] === 1 ? 'duplicate_exact' : 'duplicate_near';
      const [detail, survivor] = survivors[next]!;
      const sample = sampleAt.get(position);
      const { id, source } = line;
      const entry = { detail, id, reason, source, survivor };
      const whole = { ...entry, ...(sample !== undefined && { sample }) };
      lines.push(Buffer.from(`${canonicalJson(whole)}\n`));
      plus(counted.reasons, reason);
      next += 1;
    }
    return { ...counted, part: tally.part(), dropped: Buffer.concat(lines) };
  },
  async sortDropped({ lines: parts }, say) {
    const keyed: { line: Buffer; key: DroppedKey }[] = [];
    for (const [index, part] of parts.entries()) {
      for (const line of splitLines(asBuffer(part))) keyed.push({ line, key: droppedKey(line) });
      say(index + 1, parts.length);
    }
    const sorted = keyed.toSorted((a, b) => compareDropped(a.key, b.key));
    return { lines: Buffer.concat(sorted.map(({ line }) => line)) };
  },
  async sides({ kept, share }) {
    return { sides: sidesOf(await keptOf(kept), share) };
  },
  async cut({ documents, kept, share, exceptions, salt, numBuckets, metadata }) {
    const lines = splitLines(await decompressLines(documents));
    const records = (await keptOf(kept)).map(({ id, position, bytes }) => {
      const rank = digestOf(salt, id);
      const bucket = isHeldOut(id, share, exceptions)
        ? numBuckets - 1
        : Math.floor(shareOf(rank) * (numBuckets - 1));
      return { rank, bucket, bytes, line: lines[position]!, position };
    });
    return {
      ...cutDocuments(records),
      metadata: metadata
        ? records.map(({ line }) => (JSON.parse(line.toString('utf8')) as Document).metadata)
        : [],
    };
  },
  async order({ parts, compress }) {
    const records: { rank: Buffer; line: Buffer }[] = [];
    for (const part of parts.map(asBuffer)) {
      for (let at = 0; at < part.length;) {
        const start = at + recordHead;
        const end = start + part.readUInt32LE(at + rankLength);
        records.push({
          rank: part.subarray(at, at + rankLength),
          line: part.subarray(start, end),
        });
        at = end;
      }
    }
    const sorted = records.toSorted(
      (a, b) => Buffer.compare(a.rank, b.rank) || Buffer.compare(a.line, b.line),
    );
    const lines = Buffer.concat(sorted.map(({ line }) => line));
    return { lines: compress ? await compressLines(lines) : lines };
  },
};

/** By what dropped documents are listed: of the same name, those that cleaning refused come first. */
export interface DroppedKey {
  source: string;
  id: string;
  isDuplicate: boolean;
}

export function droppedKey(line: Buffer): DroppedKey {
  const { source, id, reason } = JSON.parse(line.toString('utf8')) as DroppedDocument;
  return { source, id, isDuplicate: reason.startsWith('duplicate_') };
}

export function compareDropped(a: DroppedKey, b: DroppedKey): number {
  return (
    byCodeUnits(a.source, b.source) ||
    byCodeUnits(a.id, b.id) ||
    Number(a.isDuplicate) - Number(b.isDuplicate)
  );
}

interface CutRecord {
  rank: string;
  bucket: number;
  bytes: number;
  line: Buffer;
}

function cutDocuments(records: readonly CutRecord[]): CutDocuments {
  const byBucket = [...Map.groupBy(records, ({ bucket }) => bucket)].toSorted(([a], [b]) => a - b);
  const length = records.reduce((sum, { line }) => sum + recordHead + line.length, 0);
  const bytes = Buffer.allocUnsafeSlow(length);
  const lengths = new Uint32Array(byBucket.length);
  let end = 0;
  for (const [at, [, some]] of byBucket.entries()) {
    const start = end;
    for (const { rank, line } of some) {
      bytes.write(rank, end, 'hex');
      bytes.writeUInt32LE(line.length, end + rankLength);
      end += recordHead + line.copy(bytes, end + recordHead);
    }
    lengths[at] = end - start;
  }
  return {
    buckets: Uint32Array.from(byBucket, ([bucket]) => bucket),
    counts: Uint32Array.from(byBucket, ([, some]) => some.length),
    sizes: Float64Array.from(byBucket, ([, some]) =>
      some.reduce((sum, record) => sum + record.bytes, 0),
    ),
    lengths,
    records: bytes,
  };
}

async function keptOf(kept: KeptOf): Promise<Omit<KeptLine, 'shard'>[]> {
  if ('lines' in kept) return kept.lines;
  const all = (await decodeJsonLines(kept.printed)) as FingerprintLine[];
  let next = 0;
  return all.flatMap(({ id, bytes }, position) => {
    if (kept.gone[next] !== position) return [{ id, bytes, position }];
    next += 1;
    return [];
  });
}

async function linesOf(fingerprints: Uint8Array): Promise<FingerprintLine[]> {
  return (await decodeJsonLines(readPrints(fingerprints).lines)) as FingerprintLine[];
}

function nameOf({ id, source }: FingerprintLine): Name {
  return [id, source];
}

/** The names of some documents, by their numbers. */
function namesBy(
  numbers: Uint32Array,
  names: PackedNames,
): (number: number) => { id: string; source: string } {
  return (number) => {
    const [id, source] = nameAt(names, placeIn(numbers, number));
    return { id, source };
  };
}

/** Documents that may have the text of another one, ascending. */
function copiesAmong(edges: Uint32Array, firsts: Uint32Array, contentBand: number): Uint32Array {
  const copies = new Set<number>();
  for (let at = 0; at < edges.length; at += edgeLength) {
    if (edges[at + 4] !== contentBand) continue;
    copies.add(firsts[edges[at]!]! + edges[at + 1]!);
    copies.add(firsts[edges[at + 2]!]! + edges[at + 3]!);
  }
  return Uint32Array.from(copies).sort();
}

/** Each with its line feed. */
function splitLines(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let start = 0; start < bytes.length;) {
    const found = bytes.indexOf(0x0a, start);
    const end = found === -1 ? bytes.length : found + 1;
    lines.push(bytes.subarray(start, end));
    start = end;
  }
  return lines;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
