/** Brings the fingerprints of all shards together: who is kept, who is dropped and why, and the counts of it all. */
import { Context } from '@temporalio/activity';
import type { Document, DroppedDocument } from '../config/manifests.ts';
import { sampleOf } from '../corpus/clean-shard.ts';
import { CorpusError } from '../corpus/errors.ts';
import { byCodeUnits } from '../corpus/order.ts';
import { decodeJsonLines, putJsonLines, readBlob, readJsonLines } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import { progress } from './preprocess-failures.ts';
import type { CleanShard, Deduplicated, FingerprintLine, KeptLine } from './preprocess-records.ts';
import type { ThreadPool } from './preprocess-threads.ts';

/** Duplicates of each reason whose text is kept too, so that a person can judge what was dropped. */
const numSamples = 5;

export async function mergeFingerprints(
  store: Store,
  threads: ThreadPool,
  cleaned: readonly CleanShard[],
): Promise<Deduplicated> {
  const context = Context.current();
  const fingerprints: Buffer[] = [];
  const dropped: DroppedDocument[] = [];
  const redacted: Record<string, number> = {};
  const steps: Record<string, number> = {};
  for (const shard of cleaned) {
    fingerprints.push(await readBlob(store, shard.fingerprints));
    const droppedHere = (await readJsonLines(store, shard.dropped)) as DroppedDocument[];
    // Not spread into the call: each element would be an argument, and the stack holds only so many.
    for (const document of droppedHere) dropped.push(document);
    for (const [kind, count] of Object.entries(shard.redacted))
      redacted[kind] = (redacted[kind] ?? 0) + count;
    for (const [step, count] of Object.entries(shard.cleaned ?? {}))
      steps[step] = (steps[step] ?? 0) + count;
    await progress('fingerprints', fingerprints.length, cleaned.length);
  }
  const { duplicates } = await threads.run('duplicates', { fingerprints }, (done, total) => {
    context.heartbeat({ kind: 'fingerprints', done, total });
  });

  const duplicateAt = new Map(duplicates.map((duplicate) => [duplicate.index, duplicate]));
  const survivors = new Map(duplicates.map(({ survivor }) => [survivor, '']));
  const copies: (Copy & { survivor: string })[] = [];
  const kept: KeptLine[] = [];
  const scripts: Record<string, number> = {};
  let bytes = 0;
  let characters = 0;
  let index = 0;
  for (const [shard, packed] of fingerprints.entries()) {
    const lines = (await decodeJsonLines(packed)) as FingerprintLine[];
    for (const [position, line] of lines.entries()) {
      const duplicate = duplicateAt.get(index);
      index += 1;
      if (survivors.has(line.id)) survivors.set(line.id, line.source);
      if (duplicate === undefined) {
        kept.push({ shard, position, id: line.id, bytes: line.bytes });
        bytes += line.bytes;
        characters += line.characters;
        scripts[line.script] = (scripts[line.script] ?? 0) + 1;
      } else {
        const { reason, survivor } = duplicate;
        const { id, source } = line;
        copies.push({ entry: { id, source, reason, detail: survivor }, survivor, shard, position });
      }
    }
    await progress('shards', shard + 1, fingerprints.length);
  }
  for (const { entry, survivor } of copies) entry.survivor = survivors.get(survivor)!;
  await addSamples(store, cleaned, copies);
  dropped.push(...copies.map(({ entry }) => entry));
  const reasons: Record<string, number> = {};
  for (const { reason } of dropped) reasons[reason] = (reasons[reason] ?? 0) + 1;
  return {
    schemaVersion: 1,
    shards: cleaned.map(({ documents }) => documents),
    kept: await putJsonLines(store, kept),
    dropped: await putJsonLines(
      store,
      dropped.toSorted((a, b) => byCodeUnits(a.source, b.source) || byCodeUnits(a.id, b.id)),
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
