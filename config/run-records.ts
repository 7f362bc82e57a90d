/** What S3 keeps of how a run was started and what it found then, so that it can go on without Temporal's history. */
import { z } from 'zod';
import { sha256Schema } from './digest.ts';
import { datasetManifestSchema } from './manifests.ts';
import {
  machineSchema,
  measuredModelSchema,
  modelShapeSchema,
  phaseNames,
  phaseRecipeSchema,
} from './recipe.ts';

const count = z.number().int().nonnegative();
const positive = z.number().int().positive();

const ingestResultSchema = z.strictObject({
  dataset: datasetManifestSchema.pick({ name: true, version: true, digest: true }),
  numDocuments: count,
  sampledFrom: z.exactOptional(count),
  bytes: count,
  dropped: z.record(z.string(), count),
  reused: z.boolean(),
  growth: z.exactOptional(
    z.strictObject({
      from: positive.nullable(),
      numNew: count,
      numKnown: count,
      numShards: count,
      numShardsReused: count,
      bytesReused: count,
      bytesWritten: count,
    }),
  ),
});

/** runs/<run>/spec.json: what the run was asked. Older versions kept the pipeline and the machine alone. */
export const runSpecSchema = z.looseObject({
  pipeline: z.unknown().describe('resolved; its own schema tells whether this version can read it'),
  machine: machineSchema,
  baseDir: z.string().optional().describe('folder that relative source paths start from'),
  ingested: ingestResultSchema.optional().describe('what had been read before the run began'),
  challenge: z.boolean().optional(),
  follows: z.number().int().nullable().optional(),
});
export type RunSpec = z.infer<typeof runSpecSchema>;

/** runs/<run>/inputs.json: what the run found when it looked, for sources and aliases change. */
export const runInputsSchema = z.strictObject({
  schemaVersion: z.literal(1),
  ingested: ingestResultSchema.optional(),
  startFrom: z.string().optional().describe('the version that startFrom meant, such as policy@2'),
  corpus: sha256Schema.optional().describe('digest of the stage record of the corpus'),
  given: measuredModelSchema
    .optional()
    .describe('the configuration that model.config names, as it was read and measured'),
  corrections: z
    .strictObject({
      pace: z.number().positive().optional(),
      microBatch: z.partialRecord(z.enum(phaseNames), positive).optional(),
    })
    .optional()
    .describe('what measurements of the machine changed of the plan; left out: it was not asked'),
  instructionSet: machineSchema.shape.instructionSet
    .optional()
    .describe('that was planned for; left out by older versions: as the plan says'),
  timed: z
    .boolean()
    .optional()
    .describe('its steps were timed, or that failed: either way the corrections stand for good'),
});
export type RunInputs = z.infer<typeof runInputsSchema>;

/** A job of training as its stage digest is made of: kept as the blob whose SHA-256 is that digest. */
export const trainedJobSchema = z.looseObject({
  recipe: phaseRecipeSchema,
  shape: modelShapeSchema,
  corpus: z.string().describe('digest of the stage record of the corpus'),
  init: z.looseObject({ phase: z.string(), stage: z.string() }).nullable(),
});
export type TrainedJob = z.infer<typeof trainedJobSchema>;

/** A lease of a machine: it costs from when it was taken until it was given back, or ran out. */
const leaseCostSchema = z.strictObject({
  host: z.string(),
  fence: count.describe('of the lease: with the host, which one it is'),
  phase: z.string(),
  round: count,
  trial: count,
  since: z.iso.datetime(),
  until: z.iso.datetime().describe('its end; while it is held, when it would run out'),
});
export type LeaseCost = z.infer<typeof leaseCostSchema>;

const addedSchema = z.strictObject({
  id: z.string().describe('of the order: the same one counts once'),
  timeMs: count.optional(),
  usd: z.number().positive().optional(),
  by: z.string(),
  why: z.string().nullable(),
  at: z.iso.datetime(),
});
export type AddedBudget = z.infer<typeof addedSchema>;

/** Where a training began in one execution of its run: its share is of what was left then. */
const openedSchema = z.strictObject({
  execution: z.string(),
  phase: z.string(),
  round: count,
  trial: count,
  ownMs: count.describe('machine time that this training had spent'),
  spentMs: count.describe('machine time that the run had spent'),
  at: z.iso.datetime(),
});
export type OpenedBudget = z.infer<typeof openedSchema>;

/** runs/<run>/cost.json: the machine time of a run, by lease, and what was added to its budget. */
export const runCostSchema = z.strictObject({
  schemaVersion: z.literal(1),
  leases: z.array(leaseCostSchema),
  added: z.array(addedSchema),
  opened: z.array(openedSchema),
});
export type RunCost = z.infer<typeof runCostSchema>;
