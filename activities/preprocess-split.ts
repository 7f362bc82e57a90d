/** Puts the kept documents into training order, holds some out, and makes the instruction data. */
import { appendFile, readFile } from 'node:fs/promises';
import path from 'node:path';
import { canonicalJson, type BlobRef } from '../config/digest.ts';
import type { CorpusManifest, Document } from '../config/manifests.ts';
import { byCodeUnits, digestOf, hashShare, shuffled } from '../corpus/order.ts';
import { heldOutIds } from '../corpus/split.ts';
import { putBlob, putJsonLines, readBlob, readJsonLines } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import type { Deps } from './deps.ts';
import { progress } from './preprocess-failures.ts';
import type { SplitCorpusInput } from './preprocess-input.ts';
import type { Deduplicated, KeptLine, Split } from './preprocess-records.ts';
import type { ThreadPool } from './preprocess-threads.ts';
import { withWorkDir } from './work-dir.ts';

/** Text of a training shard: half a million tokens, encoded in about a second. */
const trainShardBytes = 2_000_000;

export async function splitDocuments(
  deps: Deps,
  threads: ThreadPool,
  from: Deduplicated,
  { heldOut: share, questions, seed, conversations }: SplitCorpusInput,
): Promise<Omit<Split, 'duplicates'>> {
  const { store } = deps;
  const kept = (await readJsonLines(store, from.kept)) as KeptLine[];
  const heldOut = heldOutIds(
    kept.map(({ id }) => id),
    share,
  );
  const trainBytes = kept.reduce((sum, { id, bytes }) => sum + (heldOut.has(id) ? 0 : bytes), 0);
  const numShards = Math.max(1, Math.ceil(trainBytes / trainShardBytes));
  const order = `order ${seed}`;
  const keptByShard = Map.groupBy(kept, ({ shard }) => shard);

  return withWorkDir(deps, async (folder) => {
    const heldOutDocuments: Document[] = [];
    const metadata: Document['metadata'][] = [];
    const fileOf = (bucket: number): string => path.join(folder, `${bucket}.jsonl`);
    // Through files, so that a corpus larger than memory can be put in order.
    for (const [shard, ref] of from.shards.entries()) {
      const documents = (await readJsonLines(store, ref)) as Document[];
      const buckets = new Map<number, string[]>();
      for (const { position } of keptByShard.get(shard) ?? []) {
        const document = documents[position]!;
        metadata.push(document.metadata);
        if (heldOut.has(document.id)) {
          heldOutDocuments.push(document);
          continue;
        }
        const bucket = Math.floor(hashShare(order, document.id) * numShards);
        const lines = buckets.get(bucket);
        const line = `${canonicalJson(document)}\n`;
        if (lines === undefined) buckets.set(bucket, [line]);
        else lines.push(line);
      }
      for (const [bucket, lines] of buckets) await appendFile(fileOf(bucket), lines.join(''));
      await progress('shards', shard + 1, from.shards.length);
    }
    const shards: Split['shards'] = [];
    for (let bucket = 0; bucket < numShards; bucket += 1) {
      const documents = await readLines(fileOf(bucket));
      if (documents.length === 0) continue;
      shards.push({
        documents: await putJsonLines(store, inOrder(documents, order)),
        numDocuments: documents.length,
        bytes: bytesOf(documents),
      });
      await progress('training shards', bucket + 1, numShards);
    }
    return {
      schemaVersion: 1,
      shards,
      heldOut: {
        documents: await putPlainLines(store, inOrder(heldOutDocuments, order)),
        numDocuments: heldOutDocuments.length,
        bytes: bytesOf(heldOutDocuments),
      },
      instructions: questions.length === 0 && conversations === undefined ? null : await instruct(),
    };

    async function instruct(): Promise<NonNullable<CorpusManifest['instructions']>> {
      const { instructions } = await threads.run('instructions', { metadata, questions, seed });
      const { train, preferences, questions: asked, preferencesHeldOut } = instructions;
      const read = conversations;
      const mixed = (lines: readonly unknown[], others: BlobRef | undefined) =>
        mixedLines(store, lines, others, `mix ${seed}`);
      return {
        train: await mixed(train, read?.train),
        preferences: await mixed(preferences, read?.preferences),
        questions: await putPlainLines(store, asked),
        preferencesHeldOut: await mixed(preferencesHeldOut, read?.preferencesHeldOut),
        numTrain: train.length + (read?.numTrain ?? 0),
        numPreferences: preferences.length + (read?.numPreferences ?? 0),
        numQuestions: asked.length,
        numPreferencesHeldOut: preferencesHeldOut.length + (read?.numPreferencesHeldOut ?? 0),
        numAmbiguous: instructions.numAmbiguous,
        ...(read !== undefined && {
          conversations: {
            numRecords: read.numRecords,
            numTrain: read.numTrain,
            numPreferences: read.numPreferences,
            numPreferencesHeldOut: read.numPreferencesHeldOut,
            dropped: read.dropped,
            redacted: read.redacted,
            licenses: read.licenses,
          },
        }),
      };
    }
  });
}

async function readLines(file: string): Promise<Document[]> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Document);
}

function inOrder(documents: readonly Document[], order: string): Document[] {
  return documents
    .map((document) => ({ document, rank: digestOf(order, document.id) }))
    .toSorted((a, b) => byCodeUnits(a.rank, b.rank))
    .map(({ document }) => document);
}

function bytesOf(documents: readonly Document[]): number {
  return documents.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
}

/** Lines made of the documents among those of conversations, in an order that the seed gives. */
async function mixedLines(
  store: Store,
  lines: readonly unknown[],
  others: BlobRef | undefined,
  salt: string,
): Promise<BlobRef> {
  if (others === undefined) return putPlainLines(store, lines);
  const read = (await readBlob(store, others)).toString('utf8').split('\n').filter(Boolean);
  const all = [...lines.map((line) => canonicalJson(line)), ...read];
  const keyed = all.map((line, index) => ({ line, key: `${line} ${index}` }));
  const inTurn = shuffled(keyed, salt, ({ key }) => key).map(({ line }) => `${line}\n`);
  return putBlob(store, Buffer.from(inTurn.join('')));
}

/** Not compressed: the trainer reads it as it is. */
async function putPlainLines(store: Store, records: readonly unknown[]): Promise<BlobRef> {
  return putBlob(
    store,
    Buffer.concat(records.map((record) => Buffer.from(`${canonicalJson(record)}\n`))),
  );
}
