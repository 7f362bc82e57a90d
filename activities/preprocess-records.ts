/** What the steps of preprocessing record: each manifest names blobs, and is itself named by the digest of its inputs. */
import { z } from 'zod';
import type { Traits } from '../corpus/statistics.ts';
import { compressionSchema } from '../config/compression.ts';
import { blobRefSchema, sha256Schema } from '../config/digest.ts';
import { learningCurveSchema } from '../config/learning-curve.ts';
import { corpusManifestSchema } from '../config/manifests.ts';
import { mixtureSchema } from '../config/mixture.ts';

const count = z.number().int().nonnegative();
const counts = z.record(z.string(), count);
const schemaVersion = z.literal(1);

/** One line of the fingerprints of a cleaned shard (`corpus/prints.ts`), in the order of its documents. */
export interface FingerprintLine {
  id: string;
  source: string;
  bytes: number;
  characters: number;
  script: string;
  traits: Traits;
}

/** stages/clean-shard/<digest>.json */
export const cleanShardSchema = z.strictObject({
  schemaVersion,
  of: sha256Schema
    .optional()
    .describe('the raw shard, with which it expires; left out by older versions'),
  documents: blobRefSchema.describe('Document lines, zstd'),
  fingerprints: blobRefSchema.describe('see `corpus/prints.ts`'),
  dropped: blobRefSchema.describe('DroppedDocument lines, zstd'),
  numDocuments: count.describe('read'),
  kept: count,
  redacted: counts,
  cleaned: counts
    .optional()
    .describe(
      'documents that each step of cleaning changed or left out; left out by older versions',
    ),
});
export type CleanShard = z.infer<typeof cleanShardSchema>;

/** stages/scatter/<digest>.json */
export const scatteredSchema = z.strictObject({
  schemaVersion,
  of: z
    .array(sha256Schema)
    .optional()
    .describe('the raw shards, with which it expires; left out by older versions'),
  buckets: z.array(blobRefSchema).describe('records of `corpus/shuffle.ts`, one blob a bucket'),
});
export type Scattered = z.infer<typeof scatteredSchema>;

/** stages/bucket/<digest>.json */
export const resolvedBucketSchema = z.strictObject({
  schemaVersion,
  edges: blobRefSchema.describe('edges of `corpus/shuffle.ts`'),
});
export type ResolvedBucket = z.infer<typeof resolvedBucketSchema>;

/** One document that survived, and where it lies, as older versions listed it. */
export interface KeptLine {
  shard: number;
  position: number;
  id: string;
  bytes: number;
}

/** stages/deduplicate/<digest>.json */
export const deduplicatedSchema = z.strictObject({
  schemaVersion,
  of: z
    .array(sha256Schema)
    .optional()
    .describe('the raw shards, with which it expires; left out by older versions'),
  shards: z.array(blobRefSchema).describe('cleaned documents'),
  since: z
    .array(count)
    .optional()
    .describe(
      'of each shard, the version of the dataset in which its documents first came; left out: 1 of all',
    ),
  fingerprints: z
    .array(blobRefSchema)
    .optional()
    .describe('of each shard; left out by older versions'),
  duplicates: blobRefSchema
    .optional()
    .describe(
      'numbers of 32 bits: how many duplicates each shard has, then their positions; left out by older versions',
    ),
  kept: blobRefSchema.optional().describe('KeptLine lines, zstd, of older versions'),
  dropped: blobRefSchema.describe('DroppedDocument lines of the whole corpus, zstd'),
  statistics: corpusManifestSchema.shape.statistics.omit({ numTokens: true }),
});
export type Deduplicated = z.infer<typeof deduplicatedSchema>;

/** stages/split/<digest>.json */
export const splitSchema = z.strictObject({
  schemaVersion,
  duplicates: sha256Schema.describe('digest of the deduplicate stage'),
  shards: z
    .array(z.strictObject({ documents: blobRefSchema, numDocuments: count, bytes: count }))
    .describe('documents to train on, in training order, zstd'),
  heldOut: z.strictObject({ documents: blobRefSchema, numDocuments: count, bytes: count }),
  instructions: corpusManifestSchema.shape.instructions,
});
export type Split = z.infer<typeof splitSchema>;

/** stages/tokenizer/<digest>.json */
export const tokenizerSchema = z.strictObject({
  schemaVersion,
  tokenizer: blobRefSchema,
  vocabSize: count,
});
export type TrainedTokenizer = z.infer<typeof tokenizerSchema>;

/** stages/mix/<digest>.json */
export const mixedSchema = z.strictObject({
  schemaVersion,
  shards: corpusManifestSchema.shape.shards.describe(
    'what an epoch reads; each line of an index says the number of the source too',
  ),
  mixture: mixtureSchema,
});
export type Mixed = z.infer<typeof mixedSchema>;

/** stages/measure/<digest>.json */
export const measuredSchema = z.strictObject({
  schemaVersion,
  compression: compressionSchema,
  learningCurve: learningCurveSchema.nullable(),
});
export type Measured = z.infer<typeof measuredSchema>;

/** stages/encode-shard/<digest>.json */
export const encodedShardSchema = z.strictObject({
  schemaVersion,
  tokens: blobRefSchema,
  index: blobRefSchema,
  numDocuments: count,
  numTokens: count,
});
export type EncodedShard = z.infer<typeof encodedShardSchema>;
