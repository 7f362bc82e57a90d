/** The records kept in the registry. Every one carries its schema version; none holds data, only references. */
import { z } from 'zod';
import { compressionSchema } from './compression.ts';
import { blobRefSchema, sha256Schema } from './digest.ts';
import { learningCurveSchema } from './learning-curve.ts';
import { mixtureSchema } from './mixture.ts';
import { gpuSchema, machineSchema, modelShapeSchema, phaseNames } from './recipe.ts';
import {
  microBatchSchema,
  plateauFoundSchema,
  rollbackSchema,
  trainerFaultSchema,
} from './trainer.ts';
import { qualitySchema } from './cleaning-thresholds.ts';
import { cleaningSchema } from './cleaning.ts';
import { deduplicationSchema } from './deduplication.ts';
import { personalDataSchema } from './personal-data.ts';
import { distributionsSchema } from './statistics.ts';

const count = z.number().int().nonnegative();
const counts = z.record(z.string(), count);
const schemaVersion = z.literal(1);
const isoTime = z.iso.datetime();

/** One line of a raw or cleaned document shard (JSON lines, zstd). */
export const documentSchema = z.strictObject({
  id: z.string().describe('SHA-256 of source name and raw text, first 32 hex digits'),
  source: z.string().describe('name of the source and path in it'),
  text: z.string(),
  metadata: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
});
export type Document = z.infer<typeof documentSchema>;

/** A document that was left out, with the reason. */
export const droppedDocumentSchema = z.strictObject({
  id: z.string(),
  source: z.string(),
  reason: z.string().describe('stable word, e.g. duplicate_exact'),
  detail: z.string().describe('figure found and bound expected, or the id of the survivor'),
  survivor: z.string().optional().describe('of a duplicate: source of the document that was kept'),
  sample: z
    .string()
    .optional()
    .describe('its first characters as training would have read them: cleaned, and redacted if so'),
});
export type DroppedDocument = z.infer<typeof droppedDocumentSchema>;

/** datasets/<name>/versions/000001.json */
export const datasetManifestSchema = z.strictObject({
  schemaVersion,
  name: z.string(),
  version: count,
  digest: sha256Schema.describe('over sources and shards; equal digests are the same version'),
  sources: z.array(
    z.strictObject({ name: z.string(), license: z.string(), numDocuments: count, bytes: count }),
  ),
  shards: z
    .array(
      z.strictObject({
        documents: blobRefSchema,
        numDocuments: count,
        since: count
          .min(2)
          .optional()
          .describe('version of this dataset in which its documents first came; left out: 1'),
      }),
    )
    .describe('oldest version first'),
  numDocuments: count,
  bytes: count.describe('UTF-8 bytes of text'),
  distributions: distributionsSchema
    .optional()
    .describe('of the documents as they were read; left out by older versions'),
  dropped: counts.describe('files and records that could not be read, by reason'),
  droppedDocuments: blobRefSchema.nullable().describe('DroppedDocument lines'),
  expiresAt: z
    .exactOptional(isoTime)
    .describe('from then on its documents may be deleted; left out, they stay'),
});
export type DatasetManifest = z.infer<typeof datasetManifestSchema>;

/** datasets/<name>/expired/000001.json: the documents of that version are being deleted, or are. */
export const datasetExpirySchema = z.strictObject({
  schemaVersion,
  version: count,
  beganAt: isoTime,
  finishedAt: isoTime.nullable().describe('null: not everything is deleted yet'),
});
export type DatasetExpiry = z.infer<typeof datasetExpirySchema>;

const tokenShardSchema = z.strictObject({
  tokens: blobRefSchema,
  index: blobRefSchema.describe('JSON lines: document id, first token, number of tokens'),
  numDocuments: count,
  numTokens: count,
});

/** What a pipeline file asked of the documents, so that a corpus can be understood without its run. */
export const preparationSchema = z
  .strictObject({
    quality: qualitySchema,
    personalData: personalDataSchema,
    clean: cleaningSchema,
    deduplicate: deduplicationSchema,
    decontaminate: z.array(z.string()).optional().describe('evaluation sets; left out: none'),
    heldOut: z.number().describe('share'),
  })
  .describe('what was asked of the documents; left out by older versions');
export type Preparation = z.infer<typeof preparationSchema>;

/** stages/preprocess/<digest>.json: what training reads. */
export const corpusManifestSchema = z.strictObject({
  schemaVersion,
  dataset: z.strictObject({ name: z.string(), version: count, digest: sha256Schema }),
  tokenizer: blobRefSchema.describe('tokenizer.json'),
  vocabSize: count,
  tokenBytes: z.literal([2, 4]).describe('width of a token in a shard, little-endian unsigned'),
  shards: z.array(tokenShardSchema),
  older: z
    .array(tokenShardSchema)
    .optional()
    .describe(
      'documents that the model which is gone on from was trained on, replayed at a share of their own; left out, they lie among the others',
    ),
  compression: compressionSchema
    .optional()
    .describe('what the tokens of held-out text stand for; left out by older versions'),
  mixture: mixtureSchema
    .optional()
    .describe(
      'how often the shards hold the documents of each source; left out, each document once',
    ),
  heldOut: z.strictObject({
    documents: blobRefSchema.describe('Document lines, for evaluation'),
    tokens: blobRefSchema,
    numDocuments: count,
    numTokens: count,
    bytes: count.describe('UTF-8 bytes of the text, for bits per byte'),
  }),
  instructions: z
    .strictObject({
      train: blobRefSchema.describe('chat lines {messages: [...]}'),
      preferences: blobRefSchema.describe(
        'lines {prompt, chosen, rejected}, each a list of messages',
      ),
      questions: blobRefSchema.describe(
        'lines {question, answer, name} in phrasings not trained on',
      ),
      preferencesHeldOut: blobRefSchema.describe(
        'lines {question, chosen, rejected}, not trained on',
      ),
      numTrain: count,
      numPreferences: count,
      numQuestions: count,
      numPreferencesHeldOut: count,
      numAmbiguous: count.describe('questions left out because the corpus answers them twice'),
      conversations: z
        .strictObject({
          numRecords: count.describe('read'),
          numTrain: count,
          numPreferences: count,
          numPreferencesHeldOut: count,
          dropped: counts.describe('records left out, by reason'),
          redacted: counts,
          licenses: z.array(z.string()),
        })
        .optional()
        .describe('what came of data.conversations, counted in the above; left out: none'),
    })
    .nullable(),
  statistics: z.strictObject({
    numDocuments: count.describe('read'),
    kept: count,
    dropped: counts,
    redacted: counts,
    cleaned: counts
      .optional()
      .describe(
        'documents that each step of cleaning changed or left out; left out by older versions',
      ),
    numTokens: count,
    bytes: count,
    characters: count,
    scripts: counts.describe('documents by main script'),
    distributions: distributionsSchema
      .optional()
      .describe('of the documents that were kept; left out by older versions'),
    learningCurve: learningCurveSchema
      .optional()
      .describe(
        'how hard the text is to foretell; left out by older versions, and where no document is held out',
      ),
  }),
  droppedDocuments: blobRefSchema,
  documents: z
    .array(blobRefSchema)
    .optional()
    .describe('the texts to train on, cleaned, in training order; left out by older versions'),
  preparation: preparationSchema.optional(),
});
export type CorpusManifest = z.infer<typeof corpusManifestSchema>;

/** Who gave an order, when, and why if they said so. */
const orderFields = { by: z.string(), why: z.string().nullable(), at: isoTime };

/** runs/<run>/control.json: what people ask of a run while it goes. The run writes it, the watchers of its trainers read it. */
export const runControlSchema = z.strictObject({
  schemaVersion,
  execution: z
    .strictObject({ id: z.string(), startedAt: isoTime })
    .optional()
    .describe(
      'of the run’s workflow: what was asked of one says nothing to another; left out by older versions',
    ),
  revision: count.describe('a lower one never replaces a higher one of the same execution'),
  paused: z.strictObject(orderFields).nullable(),
  learningRates: z.array(
    z.strictObject({
      order: count.describe('number of the order in this run'),
      phase: z.enum(phaseNames),
      round: count,
      scale: z.number().positive().describe('factor on the rate that the recipe names'),
      ...orderFields,
    }),
  ),
});
export type RunControl = z.infer<typeof runControlSchema>;

/** From which step on the rate was another than the recipe's. */
const rateChangeSchema = z.strictObject({ step: count, scale: z.number().positive() });
export type RateChange = z.infer<typeof rateChangeSchema>;

/** From which step on so many hosts trained. */
export const worldSchema = z.strictObject({ step: count, numHosts: z.number().int().positive() });
export type World = z.infer<typeof worldSchema>;

/** From which step on other code of the trainer, or another instruction set, computed than the training began with. */
const trainedBySchema = z.strictObject({
  step: count,
  code: sha256Schema.describe('over the files of the trainer'),
  instructionSet: machineSchema.shape.instructionSet
    .optional()
    .describe('other than was planned; left out: the planned one'),
});
export type TrainedBy = z.infer<typeof trainedBySchema>;

/** stages/<phase>/<digest>.json: a trained model, in transformers' layout. */
export const modelManifestSchema = z.strictObject({
  schemaVersion,
  phase: z.enum(phaseNames),
  files: z.record(z.string(), blobRefSchema).describe('model.safetensors, config.json …'),
  shape: modelShapeSchema,
  machine: machineSchema,
  numSteps: count,
  numTokens: count,
  finalLoss: z.number(),
  exact: z
    .boolean()
    .describe('false when the run had to change its world size, or the code of the trainer'),
  adapted: z
    .strictObject({ valBpbBefore: z.number(), valBpb: z.number() })
    .optional()
    .describe('bits a byte of held-out text: of the base, and with what the adapters add'),
  learningRates: z
    .array(rateChangeSchema)
    .optional()
    .describe('changes of the rate that a person ordered while it trained; left out: none'),
  rollbacks: z
    .array(rollbackSchema)
    .optional()
    .describe(
      'returns to before a bad loss, as far as a later one did not undo them; left out: none',
    ),
  microBatches: z
    .array(microBatchSchema)
    .optional()
    .describe('smaller micro-batches that were decided for want of memory; left out: none'),
  plateau: plateauFoundSchema
    .optional()
    .describe('why it ended before the recipe’s last step; left out: it did not'),
  worlds: z
    .array(worldSchema)
    .optional()
    .describe('why it is not exact: numbers of hosts other than was planned; left out: none'),
  codes: z
    .array(trainedBySchema)
    .optional()
    .describe('why it is not exact: code other than it began with, or back to it; left out: none'),
  ended: z
    .strictObject({ step: count, numSteps: count })
    .optional()
    .describe('the budget was spent at this step of so many planned; left out: it was not'),
});
export type ModelManifest = z.infer<typeof modelManifestSchema>;

/** stages/import/<digest>.json: a model that was made elsewhere, in the layout of those that are made here. */
export const importedModelSchema = z.strictObject({
  schemaVersion,
  source: z.strictObject({
    name: z.string().describe('as a pipeline file names it'),
    title: z.string(),
    license: z.string().nullable().describe('null: not known here'),
    files: z.record(z.string(), sha256Schema).describe('what was imported'),
  }),
  files: z
    .record(z.string(), blobRefSchema)
    .describe('model.safetensors, config.json, tokenizer.json, chat_template.jinja'),
  shape: modelShapeSchema,
  chat: z.boolean().describe('it brings a chat template'),
});
export type ImportedModel = z.infer<typeof importedModelSchema>;

/** stages/rehearse/<digest>.json: text that a base model wrote at random, as rows of tokens. */
export const rehearsalManifestSchema = z.strictObject({
  schemaVersion,
  tokens: blobRefSchema.describe('rows of equal length, little-endian unsigned'),
  numRows: count,
  rowLength: count,
});

/** What is evaluated and what is served: one bundle under one digest. */
export const bundleManifestSchema = z.strictObject({
  schemaVersion,
  files: z
    .record(z.string(), blobRefSchema)
    .describe('model.onnx, tokenizer.json, chat_template.jinja, serving.json, probe.json'),
  weights: sha256Schema.describe('of the model.safetensors it was exported from'),
});
export type BundleManifest = z.infer<typeof bundleManifestSchema>;

/** serving.json inside a bundle. */
export const servingConfigSchema = z.strictObject({
  schemaVersion,
  contextLength: z.number().int().positive(),
  bosToken: z.string(),
  eosTokens: z.array(z.string()),
  chat: z.boolean().describe('false for a base model: chat completions are refused'),
  maxNewTokens: z.number().int().positive().describe('default of a request that names none'),
  numLayers: z.number().int().positive(),
  numKvHeads: z.number().int().positive(),
  headDim: z.number().int().positive(),
  vocabSize: z.number().int().positive(),
});
export type ServingConfig = z.infer<typeof servingConfigSchema>;

/** serving.json inside the bundle of a model that embeds text. */
export const embeddingConfigSchema = z.strictObject({
  schemaVersion,
  task: z.literal('embeddings'),
  contextLength: z.number().int().positive(),
  boundaryToken: z.string().describe('stands before and behind a text'),
  padToken: z.string(),
  dimensions: z.number().int().positive().describe('of a vector'),
  vocabSize: z.number().int().positive(),
});
export type EmbeddingConfig = z.infer<typeof embeddingConfigSchema>;

/** serving.json of either kind. */
export const bundleConfigSchema = z.union([servingConfigSchema, embeddingConfigSchema]);

/** Whether a bundle embeds text, and continues none. */
export function servesEmbeddings(
  config: z.infer<typeof bundleConfigSchema>,
): config is EmbeddingConfig {
  return 'task' in config;
}

/** probe.json inside the bundle of a model that embeds text: vectors of texts that PyTorch read one by one. */
export const embeddingProbeSchema = z.strictObject({
  schemaVersion,
  inputIds: z.array(z.array(count).min(1)).min(1),
  embeddings: z.array(z.array(z.number())).describe('PyTorch in float32, of length 1'),
  tolerance: z.number().positive().describe('largest absolute difference of a number'),
});

/** probe.json inside a bundle: what PyTorch answers, which the engine must repeat. */
export const probeSchema = z.strictObject({
  schemaVersion,
  promptIds: z.array(count),
  logits: z.array(z.number()).describe('PyTorch float32 logits after the prompt, whole vocabulary'),
  greedyIds: z.array(count).describe('the next tokens, chosen greedily'),
  tolerance: z.number().positive().describe('largest absolute difference of a logit'),
});

export const evaluationSchema = z.strictObject({
  schemaVersion,
  bundle: sha256Schema,
  metrics: z
    .record(
      z.string(),
      z.strictObject({ value: z.number(), stderr: z.number().nullable(), count: count }),
    )
    .describe(
      'valBpb, questions.accuracy, preferences.accuracy; masked.accuracy, masked.loss, retrieval.accuracy of a model that embeds',
    ),
  latency: z.strictObject({
    firstTokenMs: z.number().describe('of a model that embeds: one short text'),
    tokensPerSecond: z.number().describe('of a model that embeds: in long texts'),
    probeDifference: z
      .number()
      .describe('largest difference of a logit, or of a vector, to PyTorch'),
  }),
  samples: z
    .array(z.strictObject({ question: z.string(), expected: z.string(), answer: z.string() }))
    .max(20),
});
export type Evaluation = z.infer<typeof evaluationSchema>;

/** What travels of an evaluation: figures, and where the whole record lies; the answers stay in the registry. */
export interface EvaluationSummary {
  /** Digest of the stage: `stages/evaluate/<stage>.json` holds the Evaluation. */
  stage: string;
  bundle: string;
  metrics: Evaluation['metrics'];
  latency: Evaluation['latency'];
}

/** models/<name>/versions/000001.json */
export const modelVersionSchema = z.strictObject({
  schemaVersion,
  name: z.string(),
  version: count,
  bundle: z.strictObject({ digest: sha256Schema, manifest: bundleManifestSchema }),
  lineage: z.strictObject({
    run: z.string(),
    dataset: z.strictObject({ name: z.string(), version: count, digest: sha256Schema }),
    corpus: sha256Schema.describe('digest of the corpus manifest'),
    recipe: sha256Schema.describe('digest of the recipe'),
    phases: z.array(
      z.strictObject({
        phase: z.string(),
        model: sha256Schema,
        weights: sha256Schema,
        stage: sha256Schema
          .optional()
          .describe('of the record stages/<phase>/<stage>.json; left out in older versions'),
      }),
    ),
    exact: z.boolean(),
    parent: z
      .strictObject({ name: z.string(), version: count })
      .optional()
      .describe('whose pretraining was continued; left out, it began elsewhere'),
    base: z
      .strictObject({
        name: z.string(),
        title: z.string(),
        license: z.string().nullable(),
        weights: sha256Schema.describe('of its model.safetensors, as imported'),
      })
      .optional()
      .describe('the model from elsewhere that was adapted'),
    anchor: z
      .strictObject({ name: z.string(), version: count })
      .optional()
      .describe(
        'the best of its line on the held-out text, where it is not this version: what its challengers must equal',
      ),
  }),
  evaluations: z.record(z.string(), evaluationSchema).describe('by phase'),
  createdAt: isoTime,
});
export type ModelVersion = z.infer<typeof modelVersionSchema>;

/** models/<name>/aliases/champion.json: the only thing of a model that moves. */
export const aliasSchema = z.strictObject({
  schemaVersion,
  version: count,
  moves: z.array(
    z.strictObject({ version: count, at: isoTime, by: z.string(), reason: z.string() }),
  ),
});
export type Alias = z.infer<typeof aliasSchema>;

/** deployments/<endpoint>.json: what is served is decided here alone. */
export const deploymentSchema = z.strictObject({
  schemaVersion,
  endpoint: z.string(),
  generation: count,
  model: z.string(),
  version: count,
  bundle: sha256Schema,
  declaredAt: isoTime,
  reason: z.string(),
});
export type Deployment = z.infer<typeof deploymentSchema>;

/** deployments/<endpoint>/nodes/<node>.json: what one node observes. */
export const nodeReportSchema = z.strictObject({
  schemaVersion,
  node: z.string(),
  endpoint: z.string(),
  generation: count.describe('of the deployment it serves'),
  bundle: sha256Schema.nullable().describe('what it serves now'),
  failure: z
    .strictObject({ generation: count, message: z.string() })
    .nullable()
    .describe('why the declared bundle cannot be served: a verdict about the bundle'),
  trying: z
    .strictObject({ generation: count, message: z.string() })
    .nullable()
    .describe('what keeps it from being served until now; the node tries again'),
  url: z.url(),
  at: isoTime,
});
export type NodeReport = z.infer<typeof nodeReportSchema>;

/** runs/<run>/<phase>/<round>/<trial>/checkpoints/<step>-<fence>.json */
export const checkpointManifestSchema = z.strictObject({
  schemaVersion,
  step: count,
  fence: count,
  files: z.record(z.string(), blobRefSchema),
  state: sha256Schema.describe('digest of the file map: the bits of this checkpoint'),
});
export type CheckpointManifest = z.infer<typeof checkpointManifestSchema>;

/** A return to before a bad loss, as it was decided. */
export const decidedRollbackSchema = z.strictObject({
  ...rollbackSchema.shape,
  fence: count.describe('generation that diverged: what it told of later steps is void'),
  fault: trainerFaultSchema,
  at: isoTime,
});
export type DecidedRollback = z.infer<typeof decidedRollbackSchema>;

/** An end before the recipe's last step, because the budget was spent: what is registered is made of that checkpoint. */
export const endingSchema = z.strictObject({
  step: count.describe('of the checkpoint that the model is made of'),
  newest: count.describe(
    'of the newest checkpoint, from which training goes on when more is added',
  ),
  reason: z.string().describe('why this checkpoint'),
  spentMs: count.describe('of machine time, by the whole run'),
  limitMs: count.describe('what the run was allowed then'),
  fence: count,
  at: isoTime,
  continuedAt: isoTime.optional().describe('more was added: training has gone on since then'),
});
export type Ending = z.infer<typeof endingSchema>;

/** A smaller micro-batch, as it was decided. */
export const decidedMicroBatchSchema = z.strictObject({
  ...microBatchSchema.shape,
  fence: count.describe('generation that ran out of memory'),
  reason: z.string(),
  at: isoTime,
});
export type DecidedMicroBatch = z.infer<typeof decidedMicroBatchSchema>;

/** Where the hosts of a generation meet, decided once by the first of them; the next one may go on with it. */
export const meetingSchema = z.strictObject({
  meeting: z.string().describe('new for each start of the trainers'),
  hosts: z.array(z.string()).min(1).describe('in the order of their ranks'),
  address: z.ipv4().describe('of the first host, on the network of the run'),
  port: z.number().int().min(1).max(65535),
  step: count.describe('from which all of them go on'),
});
export type Meeting = z.infer<typeof meetingSchema>;

/** …/head.json: the only commit of training. */
export const headSchema = z.strictObject({
  schemaVersion,
  stage: sha256Schema.describe(
    'digest of the job that is trained here; no other may go on from it',
  ),
  fence: count.describe('generation that may write; each new one is higher'),
  writer: z.string().describe('random; after a lost reply, who reads its own has won'),
  chain: z
    .array(z.strictObject({ step: count, fence: count, manifest: blobRefSchema }))
    .describe('checkpoints, oldest first'),
  learningRates: z
    .array(
      z.strictObject({
        order: count,
        execution: z.string().optional().describe('whose order it was; left out by older versions'),
        ...rateChangeSchema.shape,
        ...orderFields,
      }),
    )
    .default([])
    .describe('orders that were obeyed, each from a step that no commit had passed'),
  rollbacks: z
    .array(decidedRollbackSchema)
    .default([])
    .describe('returns to before a bad loss, in the order in which they were decided'),
  gang: meetingSchema.optional().describe('where several hosts train together; left out: one host'),
  worlds: z
    .array(worldSchema)
    .optional()
    .describe('numbers of hosts other than was planned, or back to it; left out: as planned'),
  codes: z
    .array(trainedBySchema)
    .optional()
    .describe('code other than it began with, or back to it; left out: that code throughout'),
  endings: z
    .array(endingSchema)
    .optional()
    .describe('ends by the budget, in the order in which they were decided; left out: none'),
  firstFence: count
    .optional()
    .describe('generations before it trained another job under this name; left out: none did'),
  microBatches: z
    .array(decidedMicroBatchSchema)
    .optional()
    .describe('in the order in which they were decided; left out: none'),
  finished: blobRefSchema.nullable().describe('the ModelManifest, when the phase is done'),
});
export type Head = z.infer<typeof headSchema>;

/**
 * hosts/<pool>/<host>.json: a host that can train, as its worker says again and again. Workers of several versions read
 * each other's: fields that are not known are left out.
 */
export const hostReportSchema = z.object({
  schemaVersion,
  host: z.string(),
  address: z
    .ipv4()
    .optional()
    .describe('on the network of the runs; left out: it trains with no others'),
  gpu: gpuSchema.optional().describe('left out: none were found'),
  leaving: z.string().optional().describe('why it takes nothing more; left out: it stays'),
  instructionSet: machineSchema.shape.instructionSet
    .optional()
    .describe('left out by older versions'),
  at: isoTime,
});
export type HostReport = z.infer<typeof hostReportSchema>;

/** leases/<pool>.json: who may use a host. */
export const leasesSchema = z.strictObject({
  schemaVersion,
  hosts: z.record(
    z.string(),
    z
      .strictObject({
        holder: z.string(),
        fence: count,
        expiresAt: isoTime,
        since: isoTime.optional().describe('when this holder took it; left out by older versions'),
      })
      .nullable(),
  ),
});
export type Leases = z.infer<typeof leasesSchema>;
