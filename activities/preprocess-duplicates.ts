/** Brings the fingerprints of all shards together: who is kept, who is dropped and why, and the counts of it all. */
import { Context } from '@temporalio/activity';
import type { DroppedDocument } from '../config/manifests.ts';
import { CorpusError } from '../corpus/errors.ts';
import { byCodeUnits } from '../corpus/order.ts';
import { decodeJsonLines, putJsonLines, readBlob, readJsonLines } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import { progress } from './preprocess-failures.ts';
import type { CleanShard, Deduplicated, FingerprintLine, KeptLine } from './preprocess-records.ts';
import type { ThreadPool } from './preprocess-threads.ts';

export async function mergeFingerprints(
  store: Store,
  threads: ThreadPool,
  cleaned: readonly CleanShard[],
): Promise<Deduplicated> {
  const context = Context.current();
  const fingerprints: Buffer[] = [];
  const dropped: DroppedDocument[] = [];
  const redacted: Record<string, number> = {};
  for (const shard of cleaned) {
    fingerprints.push(await readBlob(store, shard.fingerprints));
    dropped.push(...((await readJsonLines(store, shard.dropped)) as DroppedDocument[]));
    for (const [kind, count] of Object.entries(shard.redacted))
      redacted[kind] = (redacted[kind] ?? 0) + count;
    await progress('fingerprints', fingerprints.length, cleaned.length);
  }
  const { duplicates } = await threads.run('duplicates', { fingerprints }, (done, total) => {
    context.heartbeat({ kind: 'fingerprints', done, total });
  });

  const duplicateAt = new Map(duplicates.map((duplicate) => [duplicate.index, duplicate]));
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
      if (duplicate === undefined) {
        kept.push({ shard, position, id: line.id, bytes: line.bytes });
        bytes += line.bytes;
        characters += line.characters;
        scripts[line.script] = (scripts[line.script] ?? 0) + 1;
      } else {
        const { reason, survivor } = duplicate;
        dropped.push({ id: line.id, source: line.source, reason, detail: survivor });
      }
    }
    await progress('shards', shard + 1, fingerprints.length);
  }
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
      bytes,
      characters,
      scripts,
    },
  };
}

/** Throws where what is left cannot be what the operator meant. */
export function refuseIfTooFew(
  { numDocuments, kept, dropped }: Deduplicated['statistics'],
  maxDropped: number,
): void {
  const reasons = Object.entries(dropped)
    .toSorted(([a, one], [b, other]) => other - one || byCodeUnits(a, b))
    .map(([reason, count]) => `${reason} ${count}`)
    .join(', ');
  const share = (numDocuments - kept) / numDocuments;
  const percent = (value: number): string => `${Math.round(value * 1000) / 10} %`;
  if (share > maxDropped) {
    throw new CorpusError(
      `preprocess dropped ${numDocuments - kept} of ${numDocuments} documents, ${percent(share)} (${reasons}), ` +
        `expected at most ${percent(maxDropped)}. Correct the sources, set data.quality: false, or raise data.maxDropped.`,
    );
  }
  if (kept < 2) {
    throw new CorpusError(
      `preprocess kept ${kept} of ${numDocuments} documents${reasons === '' ? '' : ` (${reasons})`}, expected at least 2: ` +
        'one to train on and one held out. Add documents, or give a long text as several files.',
    );
  }
}
