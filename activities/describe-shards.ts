/**
 * What the documents of a dataset version are like. A shard is described once and its counts are kept under the digest
 * of its bytes: a version that takes over shards of an earlier one reads none of their texts again.
 */
import { z } from 'zod';
import { sha256Schema, type BlobRef } from '../config/digest.ts';
import type { DatasetManifest, Document } from '../config/manifests.ts';
import { describeShard } from '../corpus/describe-shard.ts';
import { Tally, type PartCounts } from '../corpus/statistics.ts';
import { hasBlob, readJsonLines } from '../registry/blobs.ts';
import { findStage, recordStage, stageDigest } from '../registry/stages.ts';
import { codeVersion } from './code-version.ts';
import type { Deps } from './deps.ts';
import { inParallel } from './preprocess-parallel.ts';

const counts = z.record(z.string(), z.number().int().nonnegative());

/** stages/describe-shard/<digest>.json */
const describedShardSchema = z.strictObject({
  schemaVersion: z.literal(1),
  of: sha256Schema.describe('the raw shard, with which it expires'),
  languages: counts,
  lengths: counts,
  domains: counts,
  licenses: counts,
  years: counts,
  first: z.string().nullable(),
  last: z.string().nullable(),
});

/** Files whose change gives other counts of the same documents. */
const sources = [
  'config/languages.ts',
  'corpus/languages*.ts',
  'corpus/characters.ts',
  'corpus/describe-shard.ts',
  'corpus/document-date.ts',
  'corpus/statistics.ts',
  'node_modules/eld/package.json',
];

type Shard = Pick<DatasetManifest['shards'][number], 'documents'>;

/** Shards read at once. */
const shardsAhead = 4;

export function createShardDescriber({ store, projectDir }: Pick<Deps, 'store' | 'projectDir'>) {
  const code = codeVersion(projectDir, sources);

  const keyOf = ({ sha256 }: BlobRef): string => stageDigest({ documents: sha256, code });

  async function keep(documents: BlobRef, counts: PartCounts): Promise<PartCounts> {
    const record = { schemaVersion: 1 as const, of: documents.sha256, ...counts };
    return recordStage(store, 'describe-shard', keyOf(documents), describedShardSchema, record);
  }

  /** Null where the shard was never described and its documents are gone. */
  async function countsOf({ documents }: Shard): Promise<PartCounts | null> {
    const key = keyOf(documents);
    const found = await findStage(store, 'describe-shard', key, describedShardSchema);
    if (found !== null) return found;
    if (!(await hasBlob(store, documents))) return null;
    return keep(documents, describeShard((await readJsonLines(store, documents)) as Document[]));
  }

  return {
    /** Keeps the counts of a shard whose documents were at hand when it was written. */
    keep,

    /**
     * The whole of a version, as the field of its manifest; nothing where not all of it is known. `known`: the counts of
     * shards that were kept just now, by the digest of their bytes.
     */
    async describe(
      shards: readonly Shard[],
      known: ReadonlyMap<string, PartCounts> = new Map(),
    ): Promise<Required<Pick<DatasetManifest, 'distributions'>> | null> {
      const tally = new Tally();
      let isWhole = true;
      await inParallel(
        shards,
        async (shard) => {
          const counts = known.get(shard.documents.sha256) ?? (await countsOf(shard));
          if (counts === null) isWhole = false;
          else tally.addPart(counts);
        },
        shardsAhead,
      );
      if (!isWhole) return null;
      const distributions = await tally.summary((kind) => async (add) => {
        for (const shard of shards) {
          const counts = await countsOf(shard);
          for (const [name, count] of Object.entries(counts?.[kind] ?? {})) add(name, count);
        }
      });
      return { distributions };
    },
  };
}
export type ShardDescriber = ReturnType<typeof createShardDescriber>;
