/** What the workflow and the activities of preprocessing say to each other: references, options and counts. */
import { z } from 'zod';
import { preparationSchema } from '../config/manifests.ts';
import { blobRefSchema, sha256Schema } from '../config/digest.ts';
import { conversationsReadSchema } from '../config/conversations.ts';
import { pipelineFileSchema } from '../config/pipeline.ts';
import { questionsSchema } from '../config/questions.ts';
import { sourceSchema } from '../config/sources.ts';
import { trainedTokenizerWishSchema } from '../config/tokenizer.ts';

const count = z.number().int().nonnegative();

export const datasetRefSchema = z.strictObject({
  name: z.string(),
  version: z.number().int().positive(),
  digest: sha256Schema,
});
export type DatasetRef = z.infer<typeof datasetRefSchema>;

export const keptTokenizerSchema = z.strictObject({
  file: blobRefSchema.describe('tokenizer.json'),
  vocabSize: count,
});
export type KeptTokenizer = z.infer<typeof keptTokenizerSchema>;

// Resolved by the client, so the numbers here are plain ones.
const options = pipelineFileSchema.shape.data.shape;
export const preprocessInputSchema = z.strictObject({
  run: z.string(),
  dataset: datasetRefSchema,
  data: z.strictObject({
    personalData: options.personalData,
    clean: options.clean,
    languages: options.languages,
    deduplicate: options.deduplicate,
    decontaminate: options.decontaminate,
    conversations: options.conversations,
    grams: blobRefSchema.optional().describe('of the evaluation sets, once they are read'),
    quality: options.quality,
    heldOut: options.heldOut,
    maxDropped: options.maxDropped,
  }),
  questions: z.array(questionsSchema).describe('empty makes no instruction data'),
  seed: pipelineFileSchema.shape.seed,
  unread: z
    .record(z.string(), count)
    .describe('files and records that ingest could not read, by reason; they count as dropped'),
  baseDir: z
    .string()
    .optional()
    .describe(
      'folder that the paths of evaluation sets and conversations start from; left out where there are none',
    ),
  conversations: conversationsReadSchema.optional().describe('once they are read; left out: none'),
  mixed: z
    .array(sourceSchema)
    .optional()
    .describe('the sources, where one has a weight or is repeated; left out: none has'),
  tokenizer: keptTokenizerSchema
    .optional()
    .describe('of the model that is gone on from; left out, one is trained on this text'),
  tokenizerWish: pipelineFileSchema.shape.tokenizer,
});
export type PreprocessInput = z.infer<typeof preprocessInputSchema>;

export const readEvaluationSetsInputSchema = z.strictObject({
  baseDir: z.string(),
  paths: z.array(z.string()),
});
export type ReadEvaluationSetsInput = z.infer<typeof readEvaluationSetsInputSchema>;

export const readConversationsInputSchema = z.strictObject({
  baseDir: z.string(),
  sources: options.conversations.unwrap(),
  personalData: options.personalData,
  heldOut: options.heldOut,
  seed: pipelineFileSchema.shape.seed,
  grams: preprocessInputSchema.shape.data.shape.grams,
});
export type ReadConversationsInput = z.infer<typeof readConversationsInputSchema>;

const rangeFields = { from: count, to: count.describe('exclusive') };
export const cleanShardsInputSchema = z.strictObject({
  dataset: datasetRefSchema,
  data: preprocessInputSchema.shape.data,
  ...rangeFields,
});
export type CleanShardsInput = z.infer<typeof cleanShardsInputSchema>;

/** How duplicates are shuffled: shards are scattered in groups, each group into the same number of buckets. */
export const shuffleSchema = z.strictObject({
  groupSize: count.min(1).describe('shards scattered together'),
  numBuckets: count.min(1),
});
export type Shuffle = z.infer<typeof shuffleSchema>;

export const shuffleInputSchema = z.strictObject({
  dataset: datasetRefSchema,
  data: preprocessInputSchema.shape.data,
  shuffle: shuffleSchema,
  from: count.describe('first group, or first bucket'),
  to: count.describe('exclusive'),
});
export type ShuffleInput = z.infer<typeof shuffleInputSchema>;

export const resolveDuplicatesInputSchema = preprocessInputSchema
  .pick({ dataset: true, data: true, unread: true })
  .extend({
    shuffle: shuffleSchema
      .optional()
      .describe(
        'whose buckets are resolved already; left out, all fingerprints are brought together',
      ),
  });
export type ResolveDuplicatesInput = z.infer<typeof resolveDuplicatesInputSchema>;

export const splitCorpusInputSchema = z.strictObject({
  duplicates: sha256Schema,
  heldOut: preprocessInputSchema.shape.data.shape.heldOut,
  questions: z.array(questionsSchema),
  seed: preprocessInputSchema.shape.seed,
  conversations: conversationsReadSchema.optional(),
});
export type SplitCorpusInput = z.infer<typeof splitCorpusInputSchema>;

export const mixCorpusInputSchema = z.strictObject({
  split: sha256Schema,
  tokenizer: sha256Schema,
  mixed: z.array(sourceSchema),
  seed: preprocessInputSchema.shape.seed,
});
export type MixCorpusInput = z.infer<typeof mixCorpusInputSchema>;

export const takeTokenizerInputSchema = z.strictObject({ baseDir: z.string(), from: z.string() });
export type TakeTokenizerInput = z.infer<typeof takeTokenizerInputSchema>;

export const trainTokenizerInputSchema = z.strictObject({
  split: sha256Schema,
  wish: trainedTokenizerWishSchema.optional().describe('left out, BPE of a size that suits'),
});
export type TrainTokenizerInput = z.infer<typeof trainTokenizerInputSchema>;

export const encodeShardsInputSchema = z.strictObject({
  split: sha256Schema,
  tokenizer: sha256Schema,
  learntFirst: z
    .boolean()
    .optional()
    .describe('shards are numbered with those first that the learning curve is made of'),
  ...rangeFields,
});
export type EncodeShardsInput = z.infer<typeof encodeShardsInputSchema>;

export const measureCorpusInputSchema = z.strictObject({
  split: sha256Schema,
  tokenizer: sha256Schema,
});
export type MeasureCorpusInput = z.infer<typeof measureCorpusInputSchema>;

export const finishCorpusInputSchema = z.strictObject({
  preparation: preparationSchema.optional(),
  corpus: sha256Schema,
  code: sha256Schema
    .optional()
    .describe('of whoever named the corpus; left out: by a workflow of before'),
  dataset: datasetRefSchema,
  split: sha256Schema,
  tokenizer: sha256Schema,
  mix: sha256Schema.optional().describe('digest of the mixed corpus; left out: none is mixed'),
  measured: sha256Schema
    .optional()
    .describe('digest of what was measured while shards were encoded; left out: not yet'),
});
export type FinishCorpusInput = z.infer<typeof finishCorpusInputSchema>;

/** What a run says of its corpus; the rest stands in the manifest. */
export interface PreprocessResult {
  /** Digest of the stage: `stages/preprocess/<corpus>.json` holds the CorpusManifest. */
  corpus: string;
  reused: boolean;
  summary: {
    numDocuments: number;
    kept: number;
    dropped: Record<string, number>;
    redacted: Record<string, number>;
    numTokens: number;
    bytes: number;
    vocabSize: number;
    numShards: number;
    numHeldOut: number;
    heldOutBytes: number;
    /** Left out by workers of before. */
    numHeldOutTokens?: number;
    numTrainQuestions: number;
    numPreferences: number;
    numQuestions: number;
    numAmbiguous: number;
  };
}
