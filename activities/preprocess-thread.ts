/** The thread that does the CPU-heavy work of preprocessing, so that the event loop of the worker stays free for heartbeats. */
import { parentPort } from 'node:worker_threads';
import { Tokenizer } from 'tokenizers';
import type { Compression } from '../config/compression.ts';
import type { LearningCurve } from '../config/learning-curve.ts';
import type { Document } from '../config/manifests.ts';
import { canonicalJson } from '../config/digest.ts';
import type { Questions } from '../config/questions.ts';
import { bpeEncoder, type BpeEncoder } from '../corpus/bpe.ts';
import { cleanShard, type CleanOptions } from '../corpus/clean-shard.ts';
import { measureCompression, type Encode } from '../corpus/compression.ts';
import {
  packGrams,
  readGrams,
  type Contamination,
  type EvaluationText,
  type PackedGrams,
} from '../corpus/contamination.ts';
import {
  makeConversations,
  type ConversationOptions,
  type Conversations,
} from '../corpus/conversations.ts';
import { findDuplicates, type Duplicate, type Fingerprint } from '../corpus/duplicates.ts';
import { makeInstructions, type Instructions } from '../corpus/instructions.ts';
import { learningCurve, tokensIn } from '../corpus/learning-curve.ts';
import { numBands, numHashes } from '../corpus/minhash.ts';
import { sourceFinder } from '../corpus/mixture.ts';
import { endOfText, Packer, tokenWidth } from '../corpus/pack.ts';
import { Bucket, bytesOf, scatter, wordsIn } from '../corpus/shuffle.ts';
import { traitsOf } from '../corpus/statistics.ts';
import {
  compressLines,
  decodeJsonLines,
  decompressLines,
  encodeJsonLines,
} from '../registry/blobs.ts';
import { readDocuments } from './preprocess-documents.ts';
import type { FingerprintLine } from './preprocess-records.ts';

/** Of evaluation sets, packed, under their digest. */
interface Grams {
  digest: string;
  packed: Uint8Array;
}

/** What can be asked of the thread. Bytes are JSON lines, zstd. */
export interface ThreadTasks {
  clean: {
    input: {
      documents: Uint8Array;
      options: CleanOptions;
      grams?: Grams;
    };
    output: {
      documents: Uint8Array;
      fingerprints: Uint8Array;
      dropped: Uint8Array;
      numDocuments: number;
      kept: number;
      redacted: Record<string, number>;
      cleaned: Record<string, number>;
    };
  };
  grams: { input: { texts: EvaluationText[] }; output: PackedGrams };
  conversations: {
    input: {
      files: { records: unknown[]; maxTokens: number }[];
      options: Omit<ConversationOptions, 'contamination'>;
      grams?: Grams;
    };
    output: Conversations;
  };
  encode: {
    /** The tokenizer's file, under its digest. */
    input: { documents: Uint8Array; sha256: string; tokenizer: Uint8Array; vocabSize: number };
    /** Null where only the tokenizer's library knows how to encode these documents. */
    output: {
      tokens: Uint8Array;
      index: Uint8Array;
      numDocuments: number;
      numTokens: number;
    } | null;
  };
  /** What the tokens of held-out text stand for, language by language. */
  compression: {
    input: {
      documents: Uint8Array;
      sha256: string;
      tokenizer: Uint8Array;
      reference: { name: string; tokenizer: Uint8Array } | null;
    };
    output: { compression: Compression };
  };
  /** How hard held-out tokens are to foretell, after some of those of shards. */
  learningCurve: {
    input: {
      shards: Uint8Array[];
      heldOut: Uint8Array;
      heldOutBytes: number;
      width: 2 | 4;
      vocabSize: number;
    };
    output: { curve: LearningCurve | null };
  };
  /** The source of each document, and its bytes; or a document that is of none of them. */
  origins: {
    input: { documents: Uint8Array; names: string[] };
    output: { sources: Int32Array; bytes: Uint32Array; unknown: string | null };
  };
  /** Takes lines of a shard apart into buckets, as they are. */
  cut: {
    input: {
      documents: Uint8Array;
      /** Lines, ascending, and the bucket of each. */
      positions: Uint32Array;
      buckets: Uint32Array;
      metadata: boolean;
    };
    output: { buckets: [number, Uint8Array][]; metadata: Document['metadata'][] };
  };
  /** Lines in another order. */
  order: {
    input: { lines: Uint8Array; order: Uint32Array; compress: boolean };
    output: { lines: Uint8Array };
  };
  /** Fingerprints of shards, the first of that number, into one list of records a bucket. */
  scatter: {
    input: { fingerprints: Uint8Array[]; firstShard: number; numBuckets: number };
    output: { buckets: Uint8Array[] };
  };
  /** The records of one bucket, from everywhere, to the edges between documents. */
  resolve: { input: { records: Uint8Array[] }; output: { edges: Uint8Array } };
  /** `since`: of each shard, the version of the dataset in which its documents first came. */
  duplicates: {
    input: { fingerprints: Uint8Array[]; since: number[] };
    output: { duplicates: Duplicate[] };
  };
  instructions: {
    input: { metadata: Document['metadata'][]; questions: Questions[]; seed: number };
    output: { instructions: Instructions };
  };
}
export type TaskName = keyof ThreadTasks;

export interface ThreadRequest<Name extends TaskName = TaskName> {
  task: Name;
  input: ThreadTasks[Name]['input'];
}
export type ThreadReply =
  | { kind: 'progress'; done: number; total: number }
  | { kind: 'done'; output: ThreadTasks[TaskName]['output'] }
  | { kind: 'failed'; name: string; message: string; stack: string | undefined };

const tasks: {
  [Name in TaskName]: (input: ThreadTasks[Name]['input']) => Promise<ThreadTasks[Name]['output']>;
} = {
  async clean({ documents, options, grams }) {
    const raw = (await decodeJsonLines(documents)) as Document[];
    const known = grams === undefined ? {} : { contamination: contaminationOf(grams) };
    const cleaned = cleanShard(raw, { ...options, ...known }, (done) => {
      sayProgress(done, raw.length);
    });
    const fingerprints = cleaned.documents.map(({ id, source }, index): FingerprintLine => ({
      id,
      source,
      content: cleaned.contents[index]!,
      bands: packed(cleaned.bands.subarray(index * numBands * 2, (index + 1) * numBands * 2)),
      sketch: Buffer.from(
        cleaned.sketches.subarray(index * numHashes, (index + 1) * numHashes),
      ).toString('base64'),
      ...cleaned.sizes[index]!,
      traits: traitsOf(cleaned.documents[index]!, cleaned.documents[index]!.text),
    }));
    return {
      documents: await encodeJsonLines(cleaned.documents),
      fingerprints: await encodeJsonLines(fingerprints),
      dropped: await encodeJsonLines(cleaned.dropped),
      numDocuments: raw.length,
      kept: cleaned.documents.length,
      redacted: cleaned.redacted,
      cleaned: cleaned.cleaned,
    };
  },
  async encode({ documents, sha256, tokenizer, vocabSize }) {
    const encoder = encoderOf(sha256, tokenizer);
    const end = encoder?.idOf(endOfText) ?? null;
    if (encoder === null || end === null) return null;
    const lines = await readDocuments(documents);
    const packer = new Packer(tokenWidth(vocabSize), end);
    for (const [index, { id, text }] of lines.entries()) {
      const tokens = encoder.knows(text) ? encoder.encode(text) : null;
      if (tokens === null) return null;
      packer.add(id, tokens);
      sayProgress(index + 1, lines.length);
    }
    const index = packer.index.map((line) => `${canonicalJson(line)}\n`).join('');
    return {
      tokens: packer.bytes(),
      index: Buffer.from(index),
      numDocuments: lines.length,
      numTokens: packer.numTokens,
    };
  },
  async compression({ documents, sha256, tokenizer, reference }) {
    const texts: string[] = [];
    let units = 0;
    for (const { text } of await readDocuments(documents)) {
      if (units >= mostMeasured) break;
      texts.push(text);
      units += text.length;
    }
    const own = encoderOf(sha256, tokenizer);
    const library = libraryEncode(tokenizer);
    const encode: Encode = (text) =>
      (own?.knows(text) === true ? own.encode(text) : null) ?? library(text);
    const other = reference && {
      name: reference.name,
      encode: libraryEncode(reference.tokenizer),
    };
    const onText = (done: number): void => sayProgress(done, texts.length);
    return { compression: await measureCompression(texts, encode, other, onText) };
  },
  async learningCurve({ shards, heldOut, heldOutBytes, width, vocabSize }) {
    const tokens = tokensIn(heldOut, width);
    const curve = learningCurve(
      {
        shards: shards.map((shard) => tokensIn(shard, width)),
        heldOut: tokens,
        heldOutBytesPerToken: heldOutBytes / tokens.length,
        vocabSize,
      },
      sayProgress,
    );
    return { curve };
  },
  async origins({ documents, names }) {
    const lines = await readDocuments(documents);
    const find = sourceFinder(names);
    const sources = Int32Array.from(lines, ({ source }) => find(source));
    const bytes = Uint32Array.from(lines, ({ text }) => Buffer.byteLength(text));
    return { sources, bytes, unknown: lines[sources.indexOf(-1)]?.source ?? null };
  },
  async cut({ documents, positions, buckets, metadata }) {
    const lines = linesOf(await decompressLines(documents));
    const parts = Map.groupBy(positions.keys(), (at) => buckets[at]!);
    return {
      buckets: [...parts].map(([bucket, ats]): [number, Uint8Array] => [
        bucket,
        Buffer.concat(ats.map((at) => lines[positions[at]!]!)),
      ]),
      metadata: metadata
        ? Array.from(positions, (at) => (JSON.parse(lines[at]!.toString()) as Document).metadata)
        : [],
    };
  },
  async order({ lines, order, compress }) {
    const all = linesOf(Buffer.from(lines.buffer, lines.byteOffset, lines.byteLength));
    const sorted = Buffer.concat(Array.from(order, (at) => all[at]!));
    return { lines: compress ? await compressLines(sorted) : sorted };
  },
  async scatter({ fingerprints, firstShard, numBuckets }) {
    const buckets = Array.from({ length: numBuckets }, (): number[] => []);
    for (const [index, bytes] of fingerprints.entries()) {
      scatter(await fingerprintsOf(bytes), firstShard + index, buckets);
      sayProgress(index + 1, fingerprints.length);
    }
    return { buckets: buckets.map((records) => bytesOf(Uint32Array.from(records))) };
  },
  async resolve({ records }) {
    const bucket = new Bucket();
    for (const [index, bytes] of records.entries()) {
      bucket.add(wordsIn(bytes));
      sayProgress(index + 1, records.length);
    }
    return { edges: bytesOf(bucket.edges()) };
  },
  async duplicates({ fingerprints, since }) {
    const all: Fingerprint[] = [];
    for (const [index, bytes] of fingerprints.entries()) {
      for (const fingerprint of await fingerprintsOf(bytes))
        all.push({ ...fingerprint, since: since[index]! });
      sayProgress(index + 1, fingerprints.length);
    }
    return { duplicates: findDuplicates(all) };
  },
  async grams({ texts }) {
    return packGrams(texts, (done) => {
      if (done % 1000 === 0) say({ kind: 'progress', done, total: texts.length });
    });
  },
  async conversations({ files, options, grams }) {
    const total = files.reduce((sum, { records }) => sum + records.length, 0);
    const known = grams === undefined ? {} : { contamination: contaminationOf(grams) };
    return makeConversations(files, { ...options, ...known }, (done) => {
      if (done % 200 === 0) say({ kind: 'progress', done, total });
    });
  },
  async instructions({ metadata, questions, seed }) {
    return { instructions: makeInstructions(metadata, questions, seed) };
  },
};

/** Characters of held-out text that a tokenizer is measured on; more would not change the figures. */
const mostMeasured = 1_000_000;

/** As the tokenizer's own library encodes. */
function libraryEncode(file: Uint8Array): (text: string) => Promise<number[]> {
  const tokenizer = Tokenizer.fromString(Buffer.from(file).toString('utf8'));
  return async (text) => (await tokenizer.encode(text, null, { addSpecialTokens: false })).getIds();
}

let lastGrams: { digest: string; contamination: Contamination } | null = null;

/** Read once for all shards of a corpus. */
function contaminationOf({ digest, packed: bytes }: Grams) {
  if (lastGrams?.digest !== digest) lastGrams = { digest, contamination: readGrams(bytes) };
  return lastGrams.contamination;
}

/** Each with its line feed. */
function linesOf(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let start = 0; start < bytes.length;) {
    const found = bytes.indexOf(0x0a, start);
    const end = found === -1 ? bytes.length : found + 1;
    lines.push(bytes.subarray(start, end));
    start = end;
  }
  return lines;
}

let last: { sha256: string; encoder: BpeEncoder | null } | null = null;

/** The encoder of the tokenizer met last is kept, with the words that it has met. */
function encoderOf(sha256: string, tokenizer: Uint8Array): BpeEncoder | null {
  if (last?.sha256 !== sha256)
    last = { sha256, encoder: bpeEncoder(Buffer.from(tokenizer).toString('utf8')) };
  return last.encoder;
}

async function fingerprintsOf(bytes: Uint8Array): Promise<Fingerprint[]> {
  const lines = (await decodeJsonLines(bytes)) as FingerprintLine[];
  return lines.map(({ id, source, content, bands, sketch }) => ({
    id,
    source,
    content,
    bands: unpacked(bands),
    sketch: Buffer.from(sketch, 'base64'),
  }));
}

function packed(bands: Uint32Array): string {
  const bytes = Buffer.alloc(bands.length * 4);
  for (const [index, band] of bands.entries()) bytes.writeUInt32LE(band, index * 4);
  return bytes.toString('base64');
}

function unpacked(text: string): Uint32Array {
  const bytes = Buffer.from(text, 'base64');
  return Uint32Array.from({ length: bytes.length / 4 }, (_, index) =>
    bytes.readUInt32LE(index * 4),
  );
}

function say(reply: ThreadReply): void {
  parentPort?.postMessage(reply);
}

let saidAt = 0;

/** Often enough for a heartbeat, seldom enough to cost nothing; the end of a task is always said. */
function sayProgress(done: number, total: number): void {
  const now = performance.now();
  if (done < total && now - saidAt < 100) return;
  saidAt = now;
  say({ kind: 'progress', done, total });
}

parentPort?.on('message', (request: ThreadRequest) => {
  const run = tasks[request.task] as (
    input: ThreadRequest['input'],
  ) => Promise<ThreadTasks[TaskName]['output']>;
  run(request.input).then(
    (output) => {
      say({ kind: 'done', output });
    },
    (error: unknown) => {
      const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
      say({ kind: 'failed', name, message, stack });
    },
  );
});
