/** The facts of one run, as `temper report --json` prints them and the page draws them. */
import { z } from 'zod';
import { blobRefSchema, sha256Schema } from '../../config/digest.ts';
import {
  datasetManifestSchema,
  decidedRollbackSchema,
  endingSchema,
  evaluationSchema,
  modelVersionSchema,
} from '../../config/manifests.ts';
import { compressionSchema } from '../../config/compression.ts';
import { mixtureSchema } from '../../config/mixture.ts';
import { machineSchema, recipeSchema } from '../../config/recipe.ts';
import { sweepDecisionSchema } from '../../config/sweep.ts';
import { runCostSchema } from '../../config/run-records.ts';
import { distributionsSchema } from '../../config/statistics.ts';
import { plateauFoundSchema } from '../../config/trainer.ts';
import { stageNames } from '../../workflows/messages.ts';
import { ledgerSchema } from '../ledger/ledger.ts';

const count = z.number().int().nonnegative();
const counts = z.record(z.string(), count);
const isoTime = z.iso.datetime();
const stageName = z.enum(stageNames);

const namedDigest = z.strictObject({ what: z.string(), digest: z.string() });

/** What the run has spent, where a budget is held; as `temper budget` prints it. */
export const budgetReportSchema = z.strictObject({
  run: z.string(),
  spentMs: count,
  limitMs: count.nullable(),
  usdPerHour: z.number(),
  spentUsd: z.number(),
  limitUsd: z.number().nullable(),
  whenSpent: z.enum(['finish', 'wait']).nullable(),
  numLeases: count,
  added: runCostSchema.shape.added,
  endings: z.array(endingSchema.extend({ phase: z.string(), round: count })),
});

/** Something planned against what came of it. */
const comparisonSchema = z.strictObject({
  what: z.enum(['valBpb', 'finalLoss', 'trainingMs', 'numTokens', 'numParameters']),
  planned: z.strictObject({ value: z.number().nullable(), low: z.number(), high: z.number() }),
  found: z.number().nullable(),
  verdict: z.enum(['as planned', 'better', 'worse', 'not there yet']),
});

export const curvePointSchema = z.strictObject({
  step: count,
  loss: z.number(),
  learningRate: z.number(),
  tokensPerSecond: z.number(),
  lossLow: z.number().optional().describe('lowest and highest of the steps that this point means'),
  lossHigh: z.number().optional(),
  numTokens: count.optional().describe('trained on until then'),
  gradNorm: z.number().optional(),
  mfu: z.number().optional().describe('share of the measured peak of the machine'),
  memoryBytes: z.number().optional(),
});
export type CurvePoint = z.infer<typeof curvePointSchema>;

export const markSchema = z.strictObject({
  step: count,
  kind: z.enum(['lost', 'adopted', 'resumed', 'rate', 'other']),
  text: z.string(),
  at: isoTime.nullable(),
});
export type Mark = z.infer<typeof markSchema>;

const rateChangeSchema = z.strictObject({ step: count, scale: z.number().positive() });

const adaptedSchema = z.strictObject({ valBpbBefore: z.number(), valBpb: z.number() });

export const phaseReportSchema = z.strictObject({
  phase: z.string(),
  stage: stageName,
  round: count,
  numSteps: count.nullable(),
  /** Another run's name, when this phase was trained there and taken over. */
  trainedBy: z.string(),
  reused: z.boolean(),
  points: z.array(curvePointSchema).describe('at most 400; with more steps, each is a mean'),
  evaluations: z.array(z.strictObject({ step: count, valBpb: z.number(), valLoss: z.number() })),
  checkpoints: z.array(z.strictObject({ step: count, generation: count })),
  generations: count,
  marks: z.array(markSchema),
  seed: count.nullable(),
  plannedLoss: z.number().nullable(),
  finalLoss: z.number().nullable(),
  numTokens: count.nullable(),
  learningRates: z
    .array(rateChangeSchema)
    .describe('changes of the rate that a person ordered while it trained'),
  rollbacks: z
    .array(decidedRollbackSchema)
    .describe('returns to before a bad loss, in the order in which they were decided'),
  plateau: plateauFoundSchema
    .nullable()
    .describe('why it ended before its planned last step; null: it did not'),
  adapted: adaptedSchema
    .nullable()
    .describe('bits a byte of held-out text, before and after; null: no base model was adapted'),
  trainingMs: z.number().nullable().describe('from the first event to the last, losses included'),
  weights: sha256Schema.nullable(),
});
export type PhaseReport = z.infer<typeof phaseReportSchema>;

export const gateReportSchema = z.strictObject({
  metric: z.string(),
  min: z.number().nullable(),
  max: z.number().nullable(),
  value: z.number().nullable(),
  passed: z.boolean().nullable().describe('null: not measured'),
});

export const dropSampleSchema = z.strictObject({
  source: z.string(),
  detail: z.string(),
  text: z.string().nullable().describe('null where no text could be read or none was kept'),
});

export const dataReportSchema = z.strictObject({
  dataset: datasetManifestSchema.pick({
    name: true,
    version: true,
    digest: true,
    sources: true,
    numDocuments: true,
    bytes: true,
    distributions: true,
  }),
  personalData: z.enum(['redact', 'keep']).nullable().describe('keep: nothing is replaced'),
  dropped: z.array(
    z.strictObject({
      reason: z.string(),
      stage: z.enum(['ingest', 'preprocess']),
      count,
      samples: z.array(dropSampleSchema).max(5),
    }),
  ),
  corpus: z
    .strictObject({
      stage: sha256Schema.describe('digest of what it was made from, code included'),
      inferred: z.boolean().describe('found by the name of its dataset alone'),
      kept: count,
      redacted: counts,
      conversations: z
        .strictObject({
          numRecords: count,
          numTrain: count,
          numPreferences: count,
          dropped: counts,
        })
        .nullable()
        .describe('what came of data.conversations; null: none'),
      cleaned: counts.nullable().describe('by step; null: not counted'),
      scripts: counts,
      distributions: distributionsSchema
        .optional()
        .describe('of what was kept; left out by older versions'),
      numTokens: count,
      bytes: count,
      characters: count,
      tokensPerDocument: z
        .strictObject({
          low: count,
          quarter: count,
          median: count,
          threeQuarters: count,
          high: count,
          numDocuments: count.describe('that were counted'),
          bins: z.array(z.strictObject({ from: count, to: count, numDocuments: count })),
        })
        .nullable(),
      compression: compressionSchema
        .optional()
        .describe('what its tokens stand for; left out by older versions'),
      mixture: mixtureSchema.optional().describe('left out: sources are not mixed'),
      heldOut: z.strictObject({ numDocuments: count, numTokens: count, bytes: count }),
      instructions: z
        .strictObject({
          numTrain: count,
          numPreferences: count,
          numQuestions: count,
          numPreferencesHeldOut: count,
          numAmbiguous: count,
        })
        .nullable(),
      tokenizer: blobRefSchema,
      vocabSize: count,
    })
    .nullable(),
  card: z.string().optional().describe('the data card, Markdown; left out by older versions'),
});
export type DataReport = z.infer<typeof dataReportSchema>;

export const stageReportSchema = z.strictObject({
  name: stageName,
  state: z.enum(['waiting', 'running', 'done', 'reused', 'skipped', 'failed']),
  startedAt: isoTime.nullable(),
  endedAt: isoTime.nullable(),
  summary: z.string(),
  seed: count.nullable(),
  inputs: z.array(namedDigest),
  outputs: z.array(namedDigest),
});
export type StageReport = z.infer<typeof stageReportSchema>;

export const runReportSchema = z.strictObject({
  schemaVersion: z.literal(1),
  run: z.string(),
  madeAt: isoTime,
  state: z.enum(['running', 'finished', 'failed', 'cancelled', 'unknown']),
  failure: z.string().nullable(),
  startedAt: isoTime.nullable(),
  endedAt: isoTime.nullable(),
  machine: machineSchema.nullable(),
  goal: z.string().nullable(),
  model: z
    .strictObject({
      name: z.string(),
      version: count,
      reused: z.boolean(),
      bundle: sha256Schema.nullable(),
      onnxBytes: count.nullable(),
      exact: z.boolean().nullable(),
    })
    .nullable(),
  endpoint: z.string().nullable(),
  parent: z
    .strictObject({ name: z.string(), version: count })
    .nullable()
    .describe('whose pretraining was continued; null: it began from random weights'),
  base: modelVersionSchema.shape.lineage.shape.base
    .unwrap()
    .nullable()
    .describe('the model from elsewhere that was adapted; null: none'),
  missing: z.array(z.string()).describe('what is not there, and why: a sentence each'),
  plan: z
    .strictObject({
      recipe: recipeSchema,
      digest: sha256Schema,
      comparisons: z.array(comparisonSchema),
      earlierRounds: z.array(z.strictObject({ round: count, failedGates: z.array(z.string()) })),
    })
    .nullable(),
  phases: z.array(phaseReportSchema),
  sweep: z
    .array(sweepDecisionSchema)
    .optional()
    .describe('which of several learning rates went on, rung by rung; left out by older versions'),
  budget: budgetReportSchema
    .nullable()
    .default(null)
    .describe('null where the budget was planned for, and not held'),
  ledger: ledgerSchema.nullable().default(null).describe('null where nobody could count'),
  evaluations: z.array(z.strictObject({ stage: stageName, evaluation: evaluationSchema })),
  gates: z.array(gateReportSchema),
  data: dataReportSchema.nullable(),
  stages: z.array(stageReportSchema),
  notes: z.array(z.strictObject({ at: isoTime, stage: z.string(), text: z.string() })),
  repeat: z.strictObject({
    code: z
      .strictObject({ commit: z.string(), changed: z.boolean() })
      .nullable()
      .describe('of the checkout that made this report'),
    pipeline: z.string().nullable().describe('the pipeline file with every default resolved'),
    commands: z.array(z.string()),
    orders: z
      .array(rateChangeSchema.extend({ phase: z.string() }))
      .describe('without them, at these steps, a repeat has other weights'),
    compare: z
      .array(namedDigest)
      .describe('what a repeat with the same orders must show, on the same kind of machine'),
  }),
});
export type RunReport = z.infer<typeof runReportSchema>;
