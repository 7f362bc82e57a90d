/**
 * What the documents of a dataset version are like. A shard is described once and its counts are kept under the digest
 * of its bytes: a version that takes over shards of an earlier one reads none of their texts again.
 */
import { z } from 'zod';
import type { DatasetManifest, Document } from '../config/manifests.ts';
import type { Distributions } from '../config/statistics.ts';
import { describeShard } from '../corpus/describe-shard.ts';
import { Tally, type PartCounts } from '../corpus/statistics.ts';
import { readJsonLines } from '../registry/blobs.ts';
import { findStage, recordStage, stageDigest } from '../registry/stages.ts';
import { codeVersion } from './code-version.ts';
import type { Deps } from './deps.ts';

const counts = z.record(z.string(), z.number().int().nonnegative());

/** stages/describe-shard/<digest>.json */
const describedShardSchema = z.strictObject({
  schemaVersion: z.literal(1),
  languages: counts,
  lengths: counts,
  domains: counts,
  licenses: counts,
  years: counts,
  first: z.string().nullable(),
  last: z.string().nullable(),
});

const sources = ['corpus/languages*.ts', 'corpus/characters.ts', 'corpus/statistics.ts'];

type Shard = Pick<DatasetManifest['shards'][number], 'documents'>;

export function createShardDescriber({ store, projectDir }: Pick<Deps, 'store' | 'projectDir'>) {
  const code = codeVersion(projectDir, sources);
  const keyOf = ({ documents }: Shard): string =>
    stageDigest({ documents: documents.sha256, code });

  async function keep(shard: Shard, documents: Iterable<Document>): Promise<PartCounts> {
    const described = { schemaVersion: 1 as const, ...describeShard(documents) };
    return recordStage(store, 'describe-shard', keyOf(shard), describedShardSchema, described);
  }

  async function countsOf(shard: Shard): Promise<PartCounts> {
    const found = await findStage(store, 'describe-shard', keyOf(shard), describedShardSchema);
    return found ?? keep(shard, (await readJsonLines(store, shard.documents)) as Document[]);
  }

  return {
    /** Describes a shard whose documents are at hand, so that they need not be read for it. */
    keep,
    /** The whole of a version, one shard after the other. */
    async describe(shards: readonly Shard[]): Promise<Distributions> {
      const tally = new Tally();
      for (const shard of shards) tally.addPart(await countsOf(shard));
      return tally.summary((kind) => async (add) => {
        for (const shard of shards) {
          for (const [name, count] of Object.entries((await countsOf(shard))[kind]))
            add(name, count);
        }
      });
    },
  };
}
export type ShardDescriber = ReturnType<typeof createShardDescriber>;
