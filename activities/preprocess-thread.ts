/** The thread that does the CPU-heavy work of preprocessing, so that the event loop of the worker stays free for heartbeats. */
import { isMarkedAsUntransferable, parentPort } from 'node:worker_threads';
import { Tokenizer } from 'tokenizers';
import type { Compression } from '../config/compression.ts';
import type { LearningCurve } from '../config/learning-curve.ts';
import { nearOf } from '../config/deduplication.ts';
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
import { makeInstructions, type Instructions } from '../corpus/instructions.ts';
import { learningCurve, tokensIn } from '../corpus/learning-curve.ts';
import { endOfText, Packer, tokenWidth } from '../corpus/pack.ts';
import { packPrints } from '../corpus/prints.ts';
import { traitsOf } from '../corpus/statistics.ts';
import { decodeJsonLines, encodeJsonLines } from '../registry/blobs.ts';
import { packShard, type PackedShard } from './ingest-pack.ts';
import { readDocuments } from './preprocess-documents.ts';
import { joinTasks, type JoinTasks } from './preprocess-join-thread.ts';
import { mixTasks, type MixTasks } from './preprocess-mix-thread.ts';
import type { FingerprintLine } from './preprocess-records.ts';

/** Of evaluation sets, packed, under their digest. */
interface Grams {
  digest: string;
  packed: Uint8Array;
}

/** What can be asked of the thread. Bytes are JSON lines, zstd. */
export interface ThreadTasks extends JoinTasks, MixTasks {
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
  /** Raw documents, as ingest stores a shard of them. */
  pack: { input: { documents: readonly Document[] }; output: PackedShard };
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
  [Name in Exclude<TaskName, keyof (JoinTasks & MixTasks)>]: (
    input: ThreadTasks[Name]['input'],
  ) => Promise<ThreadTasks[Name]['output']>;
} = {
  async clean({ documents, options, grams }) {
    const raw = (await decodeJsonLines(documents)) as Document[];
    const known = grams === undefined ? {} : { contamination: contaminationOf(grams) };
    const cleaned = cleanShard(raw, { ...options, ...known }, (done) => {
      sayProgress(done, raw.length);
    });
    // In this order they need not be sorted for their canonical form.
    const lines = cleaned.documents.map((document, index): FingerprintLine => ({
      bytes: cleaned.sizes[index]!.bytes,
      characters: cleaned.sizes[index]!.characters,
      id: document.id,
      script: cleaned.sizes[index]!.script,
      source: document.source,
      traits: traitsOf(document, document.text),
    }));
    const fingerprints = packPrints({
      numDocuments: lines.length,
      contents: Buffer.concat(cleaned.contents.map((content) => Buffer.from(content, 'hex'))),
      bands: cleaned.bands,
      sketches: cleaned.sketches,
      lines: await encodeJsonLines(lines),
      shape: nearOf(options.deduplicate),
    });
    return {
      documents: await encodeJsonLines(cleaned.documents),
      fingerprints,
      dropped: await encodeJsonLines(cleaned.dropped),
      numDocuments: raw.length,
      kept: cleaned.documents.length,
      redacted: cleaned.redacted,
      cleaned: cleaned.cleaned,
    };
  },
  async pack({ documents }) {
    return packShard(documents);
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
    // Made where a text needs it: seldom, and it takes a third of a second.
    let library: Encode | null = null;
    const encode: Encode = (text) =>
      (own?.knows(text) === true ? own.encode(text) : null) ??
      (library ??= libraryEncode(tokenizer))(text);
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

let last: { sha256: string; encoder: BpeEncoder | null } | null = null;

/** The encoder of the tokenizer met last is kept, with the words that it has met. */
function encoderOf(sha256: string, tokenizer: Uint8Array): BpeEncoder | null {
  if (last?.sha256 !== sha256)
    last = { sha256, encoder: bpeEncoder(Buffer.from(tokenizer).toString('utf8')) };
  return last.encoder;
}

function say(reply: ThreadReply): void {
  parentPort?.postMessage(reply);
}

/** What the bytes of an output lie in: given away, as nobody here needs them any more, they are not copied. */
function memoryOf(output: ThreadTasks[TaskName]['output']): ArrayBuffer[] {
  const found = new Set<ArrayBuffer>();
  for (const value of Object.values(output ?? {}).flat(1)) {
    if (!ArrayBuffer.isView(value) || !(value.buffer instanceof ArrayBuffer)) continue;
    // The engine's pool of small buffers stays.
    if (!isMarkedAsUntransferable(value.buffer)) found.add(value.buffer);
  }
  return [...found];
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
  const run = { ...tasks, ...joinTasks, ...mixTasks }[request.task] as (
    input: ThreadRequest['input'],
    onProgress: typeof sayProgress,
  ) => Promise<ThreadTasks[TaskName]['output']>;
  run(request.input, sayProgress).then(
    (output) => {
      parentPort?.postMessage({ kind: 'done', output } satisfies ThreadReply, memoryOf(output));
    },
    (error: unknown) => {
      const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
      say({ kind: 'failed', name, message, stack });
    },
  );
});
