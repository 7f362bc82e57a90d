/** The thread that does the CPU-heavy work of preprocessing, so that the event loop of the worker stays free for heartbeats. */
import { parentPort } from 'node:worker_threads';
import type { Document } from '../config/manifests.ts';
import { cleanShard, type CleanOptions } from '../corpus/clean-shard.ts';
import { findDuplicates, type Duplicate, type Fingerprint } from '../corpus/duplicates.ts';
import { makeInstructions, type Instructions } from '../corpus/instructions.ts';
import { numBands } from '../corpus/minhash.ts';
import type { Questions } from '../config/pipeline.ts';
import { decodeJsonLines, encodeJsonLines } from '../registry/blobs.ts';
import type { FingerprintLine } from './preprocess-records.ts';

/** What can be asked of the thread. Bytes are JSON lines, zstd. */
export interface ThreadTasks {
  clean: {
    input: { documents: Uint8Array; options: CleanOptions };
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
  async clean({ documents, options }) {
    const raw = (await decodeJsonLines(documents)) as Document[];
    const cleaned = cleanShard(raw, options, (done) => {
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
  async instructions({ metadata, questions, seed }) {
    return { instructions: makeInstructions(metadata, questions, seed) };
  },
};

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
