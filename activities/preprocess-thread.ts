/** The thread that does the CPU-heavy work of preprocessing, so that the event loop of the worker stays free for heartbeats. */
import { parentPort } from 'node:worker_threads';
import type { Document } from '../config/manifests.ts';
import { cleanShard, type CleanOptions } from '../corpus/clean-shard.ts';
import {
  packGrams,
  readGrams,
  type Contamination,
  type EvaluationText,
} from '../corpus/contamination.ts';
import {
  makeConversations,
  type ConversationOptions,
  type Conversations,
} from '../corpus/conversations.ts';
import { findDuplicates, type Duplicate, type Fingerprint } from '../corpus/duplicates.ts';
import { makeInstructions, type Instructions } from '../corpus/instructions.ts';
import { numBands } from '../corpus/minhash.ts';
import type { Questions } from '../config/pipeline.ts';
import { decodeJsonLines, encodeJsonLines } from '../registry/blobs.ts';
import type { FingerprintLine } from './preprocess-records.ts';

/** What can be asked of the thread. Bytes are JSON lines, zstd. */
export interface ThreadTasks {
  clean: {
    input: {
      documents: Uint8Array;
      options: CleanOptions;
      grams?: { digest: string; packed: Uint8Array };
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
  grams: { input: { texts: EvaluationText[] }; output: { packed: Uint8Array } };
  conversations: {
    input: { files: { records: unknown[]; maxTokens: number }[]; options: ConversationOptions };
    output: Conversations;
  };
  duplicates: { input: { fingerprints: Uint8Array[] }; output: { duplicates: Duplicate[] } };
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
      say({ kind: 'progress', done, total: raw.length });
    });
    const fingerprints = cleaned.documents.map(({ id, source }, index): FingerprintLine => ({
      id,
      source,
      content: cleaned.contents[index]!,
      bands: packed(cleaned.bands.subarray(index * numBands * 2, (index + 1) * numBands * 2)),
      ...cleaned.sizes[index]!,
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
  async duplicates({ fingerprints }) {
    const all: Fingerprint[] = [];
    for (const [index, bytes] of fingerprints.entries()) {
      for (const line of (await decodeJsonLines(bytes)) as FingerprintLine[]) {
        const { id, source, content, bands } = line;
        all.push({ id, source, content, bands: unpacked(bands) });
      }
      say({ kind: 'progress', done: index + 1, total: fingerprints.length });
    }
    return { duplicates: findDuplicates(all) };
  },
  async grams({ texts }) {
    const packed = packGrams(texts, (done) => {
      if (done % 1000 === 0) say({ kind: 'progress', done, total: texts.length });
    });
    return { packed };
  },
  async conversations({ files, options }) {
    const total = files.reduce((sum, { records }) => sum + records.length, 0);
    return makeConversations(files, options, (done) => {
      if (done % 200 === 0) say({ kind: 'progress', done, total });
    });
  },
  async instructions({ metadata, questions, seed }) {
    return { instructions: makeInstructions(metadata, questions, seed) };
  },
};

let lastGrams: { digest: string; contamination: Contamination } | null = null;

/** Read once for all shards of a corpus. */
function contaminationOf({ digest, packed: bytes }: { digest: string; packed: Uint8Array }) {
  if (lastGrams?.digest !== digest) lastGrams = { digest, contamination: readGrams(bytes) };
  return lastGrams.contamination;
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
