/** Brings the fingerprints of all shards together: who is kept, who is dropped and why, and the counts of it all. */
import type { Document, DroppedDocument } from '../config/manifests.ts';
import { sampleOf } from '../corpus/clean-shard.ts';
import { joinDuplicates, type Duplicate, type Fingerprint } from '../corpus/duplicates.ts';
import { CorpusError } from '../corpus/errors.ts';
import { byCodeUnits } from '../corpus/order.ts';
import { Tally } from '../corpus/statistics.ts';
import { decodeJsonLines, putJsonLines, readBlob, readJsonLines } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import { beatsOf, progress } from './preprocess-failures.ts';
import { inParallel } from './preprocess-parallel.ts';
import type {
  CleanShard,
  Deduplicated,
  FingerprintLine,
  KeptLine,
  ResolvedBucket,
} from './preprocess-records.ts';
import { gatherEdges } from './preprocess-shuffle.ts';
import type { ThreadPool } from './preprocess-threads.ts';

/** Duplicates of each reason whose text is kept too, so that a person can judge what was dropped. */
const numSamples = 5;
/** Shards whose fingerprints are read at once. */
const shardsAhead = 16;

/** A cleaned shard, and the version of the dataset in which its documents first came; left out: the first. */
export type DatedShard = CleanShard & { since?: number };

/** Brings all fingerprints together in one place; for corpora whose fingerprints fit there. */
export async function mergeFingerprints(
  store: Store,
  threads: ThreadPool,
  cleaned: readonly DatedShard[],
): Promise<Deduplicated> {
  let done = 0;
  const fingerprints = await inParallel(cleaned, async (shard) => {
    const bytes = await readBlob(store, shard.fingerprints);
    await progress('fingerprints', (done += 1), cleaned.length);
    return bytes;
  });
  const since = cleaned.map(({ since = 1 }) => since);
  const { duplicates } = await threads.run(
    'duplicates',
    { fingerprints, since },
    beatsOf('fingerprints'),
  );
  return conclude(store, cleaned, duplicates);
}

/** Joins what the buckets found; only the documents that may be duplicates are held in memory. */
export async function joinBuckets(
  store: Store,
  cleaned: readonly DatedShard[],
  buckets: readonly ResolvedBucket[],
): Promise<Deduplicated> {
  const firsts: number[] = [];
  let total = 0;
  for (const { kept } of cleaned) {
    firsts.push(total);
    total += kept;
  }
  const { groups, documents } = await gatherEdges(store, buckets, firsts);
  const numbers: number[] = [];
  const fingerprints: Omit<Fingerprint, 'bands'>[] = [];
  const place = new Map<number, number>();
  await eachShard(store, cleaned, async (lines, shard) => {
    for (const [position, { id, source, content, sketch }] of lines.entries()) {
      const number = firsts[shard]! + position;
      if (!documents.has(number)) continue;
      place.set(number, numbers.length);
      numbers.push(number);
      fingerprints.push({
        id,
        source,
        content,
        sketch: Buffer.from(sketch, 'base64'),
        since: cleaned[shard]!.since ?? 1,
      });
    }
  });
  const joined = joinDuplicates(
    fingerprints,
    groups.map((group) => group.map((number) => place.get(number)!)),
  );
  const duplicates = joined.map((found) => ({ ...found, index: numbers[found.index]! }));
  return conclude(store, cleaned, duplicates);
}

/** The lines of each shard's fingerprints in turn, a few shards read ahead. */
async function eachShard(
  store: Store,
  cleaned: readonly CleanShard[],
  use: (lines: FingerprintLine[], shard: number) => Promise<void>,
): Promise<void> {
  for (let from = 0; from < cleaned.length; from += shardsAhead) {
    const some = cleaned.slice(from, from + shardsAhead);
    const read = await inParallel(some, async ({ fingerprints }) => readBlob(store, fingerprints));
    for (const [index, packed] of read.entries()) {
      await use((await decodeJsonLines(packed)) as FingerprintLine[], from + index);
      await progress('shards', from + index + 1, cleaned.length);
    }
  }
}

/** The counts and lists that follow from the duplicates, which go by the number of the document in the corpus. */
async function conclude(
  store: Store,
  cleaned: readonly DatedShard[],
  duplicates: readonly Duplicate[],
): Promise<Deduplicated> {
  const dropped: DroppedDocument[] = [];
  const redacted: Record<string, number> = {};
  const steps: Record<string, number> = {};
  let done = 0;
  const refused = await inParallel(cleaned, async (shard) => {
    const documents = (await readJsonLines(store, shard.dropped)) as DroppedDocument[];
    await progress('dropped', (done += 1), cleaned.length);
    return documents;
  });
  // Not spread into the call: each element would be an argument, and the stack holds only so many.
  for (const documents of refused) for (const document of documents) dropped.push(document);
  for (const shard of cleaned) {
    for (const [kind, count] of Object.entries(shard.redacted))
      redacted[kind] = (redacted[kind] ?? 0) + count;
    for (const [step, count] of Object.entries(shard.cleaned ?? {}))
      steps[step] = (steps[step] ?? 0) + count;
  }

  const duplicateAt = new Map(duplicates.map((duplicate) => [duplicate.index, duplicate]));
  const copies: Copy[] = [];
  const kept: KeptLine[] = [];
  const scripts: Record<string, number> = {};
  const tally = new Tally();
  let bytes = 0;
  let characters = 0;
  let index = 0;
  await eachShard(store, cleaned, async (lines, shard) => {
    for (const [position, line] of lines.entries()) {
      const duplicate = duplicateAt.get(index);
      index += 1;
      if (duplicate === undefined) {
        kept.push({ shard, position, id: line.id, bytes: line.bytes });
        bytes += line.bytes;
        characters += line.characters;
        scripts[line.script] = (scripts[line.script] ?? 0) + 1;
        tally.add(line.traits, line.characters);
      } else {
        const { reason, survivor: detail, survivorSource: survivor } = duplicate;
        const { id, source } = line;
        copies.push({ entry: { id, source, reason, detail, survivor }, shard, position });
      }
    }
  });
  // What was dropped of a sealed shard stays sealed among that of others.
  const sealed = cleaned.find((shard) => shard.dropped.sealed !== undefined)?.dropped.sealed;
  await addSamples(store, cleaned, copies);
  dropped.push(...copies.map(({ entry }) => entry));
  const since = cleaned.map((shard) => shard.since ?? 1);
  const reasons: Record<string, number> = {};
  for (const { reason } of dropped) reasons[reason] = (reasons[reason] ?? 0) + 1;
  const distributions = await tally.summary((kind) => async (add) => {
    let number = 0;
    await eachShard(store, cleaned, async (lines) => {
      for (const { traits } of lines) {
        const name = traits[kind === 'domains' ? 'domain' : 'license'];
        if (name !== undefined && !duplicateAt.has(number)) add(name, 1);
        number += 1;
      }
    });
  });
  return {
    schemaVersion: 1,
    of: cleaned.flatMap(({ of }) => of ?? []),
    shards: cleaned.map(({ documents }) => documents),
    ...(since.some((version) => version > 1) && { since }),
    kept: await putJsonLines(store, kept),
    dropped: await putJsonLines(
      store,
      dropped.toSorted((a, b) => byCodeUnits(a.source, b.source) || byCodeUnits(a.id, b.id)),
      sealed,
    ),
    statistics: {
      numDocuments: cleaned.reduce((sum, { numDocuments }) => sum + numDocuments, 0),
      kept: kept.length,
      dropped: reasons,
      redacted,
      ...(cleaned.some((shard) => shard.cleaned !== undefined) && { cleaned: steps }),
      bytes,
      characters,
      scripts,
      distributions,
    },
  };
}

/** A duplicate, and where its cleaned text lies. */
interface Copy {
  entry: DroppedDocument;
  shard: number;
  position: number;
}

async function addSamples(
  store: Store,
  cleaned: readonly CleanShard[],
  copies: readonly Copy[],
): Promise<void> {
  const chosen = [...Map.groupBy(copies, ({ entry }) => entry.reason).values()].flatMap((same) =>
    same.slice(0, numSamples),
  );
  for (const [shard, inShard] of Map.groupBy(chosen, ({ shard }) => shard)) {
    const documents = (await readJsonLines(store, cleaned[shard]!.documents)) as Document[];
    for (const { entry, position } of inShard) entry.sample = sampleOf(documents[position]!.text);
    await progress('samples', shard + 1, cleaned.length);
  }
}

/** Throws where what is left cannot be what the operator meant; `unread` is what ingest could not read, by reason. */
export function refuseIfTooFew(
  { numDocuments, kept, dropped }: Deduplicated['statistics'],
  unread: Readonly<Record<string, number>>,
  maxDropped: number,
): void {
  const counts = new Map(Object.entries(dropped));
  for (const [reason, count] of Object.entries(unread))
    counts.set(reason, (counts.get(reason) ?? 0) + count);
  const reasons = [...counts]
    .toSorted(([a, one], [b, other]) => other - one || byCodeUnits(a, b))
    .map(([reason, count]) => `${reason} ${count}`)
    .join(', ');
  const numUnread = Object.values(unread).reduce((sum, count) => sum + count, 0);
  const numAll = numDocuments + numUnread;
  const share = (numAll - kept) / numAll;
  const percent = (value: number): string => `${Math.round(value * 1000) / 10} %`;
  if (share > maxDropped) {
    throw new CorpusError(
      `ingest and preprocess dropped ${numAll - kept} of ${numAll} documents, ${percent(share)} (${reasons}), ` +
        `expected at most ${percent(maxDropped)}. Correct the sources, set data.quality: false, or raise data.maxDropped.`,
    );
  }
  if (kept < 2) {
    throw new CorpusError(
      `preprocess kept ${kept} of ${numAll} documents${reasons === '' ? '' : ` (${reasons})`}, expected at least 2: ` +
        'one to train on and one held out. Add documents, or give a long text as several files.',
    );
  }
}
