/** Puts the kept documents into training order, holds some out, and makes the instruction data. */
import { appendFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { canonicalJson, type BlobRef } from '../config/digest.ts';
import type { CorpusManifest, Document } from '../config/manifests.ts';
import { byCodeUnits, digestOf, shareOf, shuffled } from '../corpus/order.ts';
import { heldOutIds } from '../corpus/split.ts';
import { putBlob, readBlob, readJsonLines } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import type { Deps } from './deps.ts';
import { beatsOf, progress } from './preprocess-failures.ts';
import { inParallel } from './preprocess-parallel.ts';
import type { SplitCorpusInput } from './preprocess-input.ts';
import type { Deduplicated, KeptLine, Split } from './preprocess-records.ts';
import type { ThreadPool } from './preprocess-threads.ts';
import { withWorkDir } from './work-dir.ts';

/** Text of a training shard: half a million tokens, encoded in about a second. */
const trainShardBytes = 2_000_000;
/** Read ahead of the threads, so that they do not wait for the store. */
const shardsInFlight = 4;

export async function splitDocuments(
  deps: Deps,
  threads: ThreadPool,
  from: Deduplicated,
  { heldOut: share, questions, seed, conversations }: SplitCorpusInput,
): Promise<Omit<Split, 'duplicates'>> {
  const { store } = deps;
  const kept = (await readJsonLines(store, from.kept)) as KeptLine[];
  const heldOut = heldOutIds(
    kept.map(({ id, shard }) => ({ id, since: from.since?.[shard] ?? 1 })),
    share,
  );
  const trainBytes = kept.reduce((sum, { id, bytes }) => sum + (heldOut.has(id) ? 0 : bytes), 0);
  const numShards = Math.max(1, Math.ceil(trainBytes / trainShardBytes));
  const order = `order ${seed}`;
  const keptByShard = Map.groupBy(
    kept.map((line) => ({ ...line, rank: heldOut.has(line.id) ? '' : digestOf(order, line.id) })),
    ({ shard }) => shard,
  );
  const bucketOf = (rank: string): number =>
    rank === '' ? numShards : Math.floor(shareOf(rank) * numShards);

  const beat = beatsOf('shards');
  return withWorkDir(deps, async (folder) => {
    const metadata: Document['metadata'][][] = [];
    /** Of the lines of each bucket's file, in turn; the last bucket is held out. */
    const ranks: string[][] = Array.from({ length: numShards + 1 }, () => []);
    const sizes = ranks.map(() => 0);
    const fileOf = (bucket: number): string => path.join(folder, `${bucket}.jsonl`);
    let done = 0;
    // Through files, so that a corpus larger than memory can be put in order.
    await inParallel(
      from.shards,
      async (ref, shard) => {
        const lines = keptByShard.get(shard) ?? [];
        const cut = await threads.run(
          'cut',
          {
            documents: await readBlob(store, ref),
            positions: Uint32Array.from(lines, ({ position }) => position),
            buckets: Uint32Array.from(lines, ({ rank }) => bucketOf(rank)),
            metadata: questions.length > 0,
          },
          beat,
        );
        metadata[shard] = cut.metadata;
        for (const { rank, id, bytes } of lines) {
          const bucket = bucketOf(rank);
          ranks[bucket]!.push(rank === '' ? digestOf(order, id) : rank);
          sizes[bucket]! += bytes;
        }
        // One writer, so that lines and ranks have the same order.
        for (const [bucket, bytes] of cut.buckets) appendFileSync(fileOf(bucket), bytes);
        await progress('shards', (done += 1), from.shards.length);
      },
      shardsInFlight,
    );
    const inOrder = async (bucket: number, compress: boolean): Promise<Split['heldOut']> => {
      const mine = ranks[bucket]!;
      const order = Array.from(mine.keys()).toSorted((a, b) => byCodeUnits(mine[a]!, mine[b]!));
      const bytes = mine.length === 0 ? Buffer.alloc(0) : await readFile(fileOf(bucket));
      const { lines } = await threads.run(
        'order',
        {
          lines: bytes,
          order: Uint32Array.from(order),
          compress,
        },
        beat,
      );
      const documents = await putBlob(store, lines);
      await progress('training shards', bucket + 1, numShards);
      return { documents, numDocuments: mine.length, bytes: sizes[bucket]! };
    };
    const filled = Array.from(ranks.keys()).filter(
      (bucket) => bucket < numShards && ranks[bucket]!.length > 0,
    );
    return {
      schemaVersion: 1,
      shards: await inParallel(filled, async (bucket) => inOrder(bucket, true), shardsInFlight),
      // Not compressed: the trainer reads it as it is.
      heldOut: await inOrder(numShards, false),
      instructions:
        questions.length === 0 && conversations === undefined
          ? null
          : await instruct(metadata.flat()),
    };
  });

  async function instruct(
    metadata: Document['metadata'][],
  ): Promise<NonNullable<CorpusManifest['instructions']>> {
    const { instructions } = await threads.run('instructions', { metadata, questions, seed }, beat);
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
