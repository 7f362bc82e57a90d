/** Puts the kept documents into training order, holds some out, and makes the instruction data. */
import path from 'node:path';
import { heldBytes } from '../config/data-memory.ts';
import { canonicalJson, type BlobRef } from '../config/digest.ts';
import type { CorpusManifest, Document } from '../config/manifests.ts';
import { shuffled } from '../corpus/order.ts';
import { linesOfPrints } from '../corpus/prints.ts';
import { heldOutOf, joinedSides, type HeldOut, type Sides } from '../corpus/split.ts';
import { putBlob, readBlob, readJsonLines } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import type { Deps } from './deps.ts';
import { readDuplicates } from './preprocess-duplicates.ts';
import { beatsOf, progress } from './preprocess-failures.ts';
import { inTurn } from './preprocess-in-turn.ts';
import type { KeptOf } from './preprocess-join-thread.ts';
import { inParallel } from './preprocess-parallel.ts';
import type { SplitCorpusInput } from './preprocess-input.ts';
import type { Deduplicated, KeptLine, Split } from './preprocess-records.ts';
import type { ThreadPool } from './preprocess-threads.ts';
import { Spill } from './preprocess-spill.ts';
import { withWorkDir } from './work-dir.ts';

/** Text of a training shard: half a million tokens, encoded in about a second. */
const trainShardBytes = 2_000_000;
/** Ordered at a time, so that the threads do not wait for the store. */
const shardsInFlight = 4;

/** Which documents of a shard are kept, as a thread is told. */
type KeptIn = (shard: number) => Promise<KeptOf>;

export async function splitDocuments(
  deps: Deps,
  threads: ThreadPool,
  from: Deduplicated,
  { heldOut: share, questions, seed, conversations }: SplitCorpusInput,
): Promise<Omit<Split, 'duplicates'>> {
  const { store } = deps;
  const beat = beatsOf('shards');
  const keptIn = await keptOf(store, from);
  const { exceptions, bytes: heldOutBytes } = await findHeldOut(threads, from, keptIn, share);
  const trainBytes = from.statistics.bytes - heldOutBytes;
  const numShards = Math.max(1, Math.ceil(trainBytes / trainShardBytes));
  // The last bucket is held out.
  const numBuckets = numShards + 1;

  return withWorkDir(deps, async (folder) => {
    const metadata: Document['metadata'][][] = [];
    const counts = new Uint32Array(numBuckets);
    const sizes = new Float64Array(numBuckets);
    const spill = new Spill(path.join(folder, 'documents'), numBuckets);
    try {
      await inTurn(
        from.shards,
        async (ref, shard) => {
          const [documents, kept] = await Promise.all([readBlob(store, ref), keptIn(shard)]);
          const salt = `order ${seed}`;
          const isAsked = questions.length > 0;
          return threads.run(
            'cut',
            { documents, kept, share, exceptions, salt, numBuckets, metadata: isAsked },
            beat,
          );
        },
        async (cut, shard) => {
          metadata[shard] = cut.metadata;
          for (const [at, bucket] of cut.buckets.entries()) {
            counts[bucket]! += cut.counts[at]!;
            sizes[bucket]! += cut.sizes[at]!;
          }
          await spill.add(cut.buckets, cut.lengths, cut.records);
          await progress('shards', shard + 1, from.shards.length);
        },
      );
      const inOrder = async (bucket: number, compress: boolean): Promise<Split['heldOut']> => {
        const parts = [await spill.read(bucket)];
        const given = parts.map(({ buffer }) => buffer);
        const { lines } = await threads.run('order', { parts, compress }, beat, given);
        const documents = await putBlob(store, lines);
        await progress('training shards', bucket + 1, numShards);
        return { documents, numDocuments: counts[bucket]!, bytes: sizes[bucket]! };
      };
      const filled = Array.from(counts.keys()).filter(
        (bucket) => bucket < numShards && counts[bucket]! > 0,
      );
      return {
        schemaVersion: 1 as const,
        shards: await inParallel(filled, async (bucket) => inOrder(bucket, true), shardsInFlight),
        // Not compressed: the trainer reads it as it is.
        heldOut: await inOrder(numShards, false),
        instructions:
          questions.length === 0 && conversations === undefined
            ? null
            : await instruct(metadata.flat()),
      };
    } finally {
      await spill.close();
    }
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

/** What older versions listed is read whole. */
async function keptOf(store: Store, from: Deduplicated): Promise<KeptIn> {
  const { fingerprints, duplicates, kept } = from;
  if (fingerprints !== undefined && duplicates !== undefined) {
    const goneOf = await readDuplicates(store, { ...from, duplicates });
    const held = new Map<number, Uint8Array>();
    let linesBytes = 0;
    return async (shard) => {
      const known = held.get(shard);
      const printed = known ?? linesOfPrints(await readBlob(store, fingerprints[shard]!));
      if (known === undefined && linesBytes + printed.length <= heldBytes.lines) {
        held.set(shard, printed);
        linesBytes += printed.length;
      }
      return { printed, gone: goneOf(shard) };
    };
  }
  const listed = kept === undefined ? [] : ((await readJsonLines(store, kept)) as KeptLine[]);
  const byShard = Map.groupBy(listed, ({ shard }) => shard);
  return async (shard) => ({ lines: byShard.get(shard) ?? [] });
}

/** What is held out, from how the documents of each version fall. */
async function findHeldOut(
  threads: ThreadPool,
  from: Deduplicated,
  keptIn: KeptIn,
  share: number,
): Promise<HeldOut> {
  const versions = new Map<number, Sides>();
  const beat = beatsOf('shards');
  await inTurn(
    from.shards,
    async (_, shard) => threads.run('sides', { kept: await keptIn(shard), share }, beat),
    async ({ sides }, shard) => {
      const version = from.since?.[shard] ?? 1;
      const known = versions.get(version);
      versions.set(version, known === undefined ? sides : joinedSides(known, sides));
      await progress('shards', shard + 1, from.shards.length);
    },
  );
  const oldestFirst = [...versions].toSorted(([a], [b]) => a - b);
  return heldOutOf(oldestFirst.map(([, sides]) => sides));
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
