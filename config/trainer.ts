/**
 * The contract with the trainer, a program that knows nothing of Temporal or S3: one configuration
 * in, events and checkpoints out. All files lie in one run directory:
 *
 *   run.json        what to train (this schema)
 *   control.json    commands; rewritten whole by rename, and touched while somebody watches
 *   events.jsonl    one JSON object a line
 *   checkpoints/<step>/   appears whole, by rename; state.json in it lists its files with SHA-256
 *   model/          the trained model in transformers' layout, by rename, before result.json
 *   result.json     last, by rename
 *
 * For the trainer alone: rows, how many a step has at once, and failed-<rank>.json, what a rank that writes no result
 * failed with.
 */
import { z } from 'zod';
import { tokenizerKinds } from './tokenizer.ts';
import {
  givenConfigSchema,
  measuredModelSchema,
  modelShapeSchema,
  phaseRecipeSchema,
} from './recipe.ts';

const count = z.number().int().nonnegative();

/** In state.json and result.json: what the trainer itself says of the rates that it computed with. */
export const ratesUsedSchema = z
  .array(z.tuple([count, z.number().positive()]))
  .describe(
    '[step, factor]: from which step on which factor was in force; left out: as planned throughout',
  );

/** In state.json and result.json: the returns that had an effect on the steps until then. */
export const rollbacksUsedSchema = z
  .array(z.tuple([count, count, z.number().positive()]))
  .describe('[step, skippedTo, factor], as run.json gave them; left out: none');

/** A return to an earlier step that was decided. */
export const rollbackSchema = z.strictObject({
  step: count.describe('from which on it holds'),
  skippedTo: count.describe('number of the batch that this step trains on, counted from 0'),
  scale: z.number().positive().max(1).describe('factor on the rate, beside that of control.json'),
});
export type Rollback = z.infer<typeof rollbackSchema>;

/** In state.json and result.json: the micro-batches that had an effect on the steps until then. */
export const microBatchesUsedSchema = z
  .array(z.tuple([count, z.number().int().positive()]))
  .describe('[step, size], as run.json gave them; left out: as planned throughout');

/** A smaller micro-batch that was decided for want of memory. */
export const microBatchSchema = z.strictObject({
  step: count.describe('from which on it holds'),
  size: z.number().int().positive().describe('sequences that a rank computes at once, at most'),
});
export type MicroBatch = z.infer<typeof microBatchSchema>;

/** Why a training that diverged could go on from an earlier step. */
export const trainerFaultSchema = z.strictObject({
  kind: z.enum(['not-finite', 'spike', 'divergence']),
  first: count.min(1).describe('the first step that shows it'),
  step: count.min(1).describe('the step at which it was found'),
  found: z.number().nullable().describe('nats a token; null: no finite number'),
  bound: z.number().nullable(),
});
export type TrainerFault = z.infer<typeof trainerFaultSchema>;

/** From which step on the held-out loss fell no more: the phase ended at `end`. */
export const plateauFoundSchema = z.strictObject({
  step: count,
  end: count,
  found: z.number().describe('lowest of the evaluations in vain, nats a token'),
  bound: z.number(),
});

/** The place of a host among those that train together, and where their ranks meet. */
export const gangSchema = z.strictObject({
  meeting: z
    .string()
    .describe('new each time: whoever comes late from an earlier one is not let in'),
  numHosts: z.number().int().min(2),
  host: count.describe('its place; the one at 0 leads: it alone saves and writes the model'),
  address: z.ipv4().describe('of the host at 0, on the network of the run'),
  port: z.number().int().min(1).max(65535),
  localAddress: z.ipv4().describe('of this host, on the network of the run'),
});

export const trainerRunSchema = z.strictObject({
  schemaVersion: z.literal(1),
  runDir: z.string(),
  recipe: phaseRecipeSchema,
  model: modelShapeSchema,
  tokenizer: z.string().describe('path of tokenizer.json'),
  init: z
    .string()
    .nullable()
    .describe('folder of the model to start from; null starts from random weights'),
  data: z.union([
    z.strictObject({
      kind: z.literal('tokens'),
      shards: z.array(z.strictObject({ path: z.string(), numTokens: count })),
      older: z
        .array(z.strictObject({ path: z.string(), numTokens: count }))
        .optional()
        .describe('what was trained on before, where the recipe replays it'),
      tokenBytes: z.literal([2, 4]),
      heldOut: z.strictObject({ path: z.string(), numTokens: count, bytes: count }),
      rehearsal: z
        .string()
        .optional()
        .describe('file of the rows that the base model wrote, where the recipe rehearses them'),
    }),
    z.strictObject({ kind: z.literal('chat'), path: z.string() }),
    z.strictObject({ kind: z.literal('preferences'), path: z.string() }),
  ]),
  resumeFrom: z.string().nullable().describe('folder of a verified checkpoint'),
  keepCheckpoints: z.number().int().min(2).default(2),
  rollbacks: z
    .array(rollbackSchema)
    .optional()
    .describe('in order of their steps, the last that has come counts; left out: none'),
  gang: gangSchema.optional().describe('left out: this host trains alone'),
  untilStep: count
    .min(1)
    .optional()
    .describe('save there, score the held-out text and end with RungEnded; left out: to the end'),
  endAt: count
    .optional()
    .describe('end after this step, on the planned rates; left out: after the last of the recipe'),
  microBatches: z
    .array(microBatchSchema)
    .optional()
    .describe('in order of their steps, the last that has come counts; left out: as planned'),
  peakFile: z
    .string()
    .optional()
    .describe('where the trainer keeps what it measured of this machine; left out: measures anew'),
});
export type TrainerRun = z.infer<typeof trainerRunSchema>;

export const controlSchema = z.strictObject({
  schemaVersion: z.literal(1),
  fence: count.describe('a command with a lower fence than the highest seen is ignored'),
  paused: z.boolean(),
  pause: count.optional().describe('number of the pause, for the trainer to echo'),
  stop: z.boolean().describe('save, then exit with result type Stopped'),
  stopAt: z
    .number()
    .optional()
    .describe('Unix time, seconds: from then on as stop, should nobody be there to say it'),
  saveNow: count.describe('save at the next step when this number is higher than the last seen'),
  learningRates: z
    .array(z.strictObject({ step: count, scale: z.number().positive() }))
    .describe('factor on the schedule from that step on'),
  acknowledged: z.array(count).describe('steps whose checkpoints are uploaded and may be deleted'),
});
export type Control = z.infer<typeof controlSchema>;

export const trainerEventSchema = z.discriminatedUnion('event', [
  z.object({
    event: z.literal('start'),
    step: count,
    resumedFrom: z.string().nullable(),
    flops_per_token: z
      .number()
      .positive()
      .optional()
      .describe('floating-point operations of a token in a full row, forwards and backwards'),
    peak_flops: z
      .number()
      .positive()
      .optional()
      .describe('operations a second of all ranks, measured by products of square matrices'),
    at: z.number(),
  }),
  z.object({
    event: z.literal('step'),
    step: count.describe('optimizer steps done'),
    loss: z.number().describe('mean nats a token, of this step'),
    lr: z.number(),
    grad_norm: z.number(),
    tokens_per_second: z.number(),
    num_tokens: count.describe('trained on so far'),
    mfu: z
      .number()
      .nonnegative()
      .optional()
      .describe('share of peak_flops that the model itself took in this step'),
    memory: count.optional().describe('bytes that rank 0 holds'),
    device_memory: count.optional().describe('bytes that rank 0 held on its device at most'),
    at: z.number().describe('Unix time, seconds'),
  }),
  z.object({
    event: z.literal('eval'),
    step: count,
    val_loss: z.number(),
    val_bpb: z.number(),
    at: z.number(),
  }),
  z.object({ event: z.literal('plateau'), ...plateauFoundSchema.shape, at: z.number() }),
  z.object({
    event: z
      .literal('working')
      .describe('busy with something that has no steps; said again at least every 3 s of it'),
    what: z.enum(['evaluating', 'preparing']),
    at: z.number(),
  }),
  z.object({ event: z.literal('save_started'), step: count, at: z.number() }),
  z.object({ event: z.literal('checkpoint'), step: count, path: z.string(), at: z.number() }),
  z.object({ event: z.literal('save_failed'), step: count, message: z.string(), at: z.number() }),
  z.object({
    event: z.literal('paused'),
    step: count,
    pause: count.optional().describe('the number that control.json gave'),
    at: z.number(),
  }),
  z.object({ event: z.literal('end'), step: count, at: z.number() }),
]);
export type TrainerEvent = z.infer<typeof trainerEventSchema>;

export const trainerResultSchema = z.union([
  z.strictObject({
    ok: z.literal(true),
    step: count,
    numTokens: count,
    finalLoss: z.number(),
    valBpb: z.number().nullable(),
    valBpbBefore: z
      .number()
      .optional()
      .describe('of the base that was adapted, on the same held-out text'),
    learningRates: ratesUsedSchema.optional(),
    rollbacks: rollbacksUsedSchema.optional(),
    microBatches: microBatchesUsedSchema.optional(),
    plateau: plateauFoundSchema.optional(),
    model: z
      .string()
      .nullable()
      .describe('folder of the trained model; null from a host that does not lead its gang'),
  }),
  z.strictObject({
    ok: z.literal(false),
    type: z
      .enum([
        'InvalidConfig',
        'InvalidCorpus',
        'CheckpointIncompatible',
        'TrainingDiverged',
        'OutOfMemory',
        'DiskFull',
        'Stopped',
        'Unwatched',
        'RungEnded',
        'Failed',
      ])
      .describe('Stopped, Unwatched and RungEnded saved a checkpoint first'),
    message: z.string(),
    step: count,
    fault: trainerFaultSchema
      .optional()
      .describe('with TrainingDiverged: another trainer goes on from before it, given rollbacks'),
    rows: count
      .min(1)
      .optional()
      .describe('with OutOfMemory: how many a rank had at once; left out: before the first step'),
    heldOut: z
      .strictObject({ loss: z.number(), bpb: z.number().nullable() })
      .optional()
      .describe('with RungEnded: nats a token and bits a byte of the held-out text'),
  }),
]);
export type TrainerResult = z.infer<typeof trainerResultSchema>;

/** `python -m trainer.import_base --config FILE`: a GGUF file or transformers folder to a folder of our layout. */
export const importRunSchema = z.strictObject({
  schemaVersion: z.literal(1),
  source: z.string().describe('.gguf file, or folder in transformers layout'),
  output: z.string().describe('folder to make'),
});

/** What the import says of the model. */
export const importOutcomeSchema = z.looseObject({ shape: modelShapeSchema, chat: z.boolean() });

/** `python -m trainer.measure --config FILE`: what a configuration of transformers is, before it is trained. */
export const measureRunSchema = z.strictObject({
  schemaVersion: z.literal(1),
  config: givenConfigSchema,
});

export const measuredOutcomeSchema = z.object({
  ...measuredModelSchema.omit({ config: true }).shape,
  unservable: z.string().nullable().describe('why it could not be served; null: it can'),
});

/** `python -m trainer.rehearse --config FILE`: a model in our layout to rows of tokens that it writes at random. */
export const rehearseRunSchema = z.strictObject({
  schemaVersion: z.literal(1),
  model: z.string(),
  tokenizer: z.string(),
  output: z.string().describe('file to make'),
  numRows: z.number().int().positive(),
  rowLength: z.number().int().positive().describe('tokens'),
  tokenBytes: z.literal([2, 4]),
  seed: count,
  precision: z.enum(['fp32', 'bf16']),
  threads: z.number().int().positive(),
});

/** `python -m trainer.tokenizer --config FILE`: a byte-level tokenizer, deterministic. */
export const tokenizerRunSchema = z.strictObject({
  schemaVersion: z.literal(1),
  inputs: z.array(z.string()).describe('text files, JSON lines with a field "text"'),
  vocabSize: z.number().int().min(300),
  kind: z.enum(tokenizerKinds).optional().describe('left out, bpe'),
  output: z.string().describe('path of tokenizer.json'),
});

/** `python -m trainer.export --config FILE`: transformers folder to a servable bundle folder. */
export const exportRunSchema = z.strictObject({
  schemaVersion: z.literal(1),
  model: z.string().describe('folder in transformers layout'),
  tokenizer: z.string(),
  output: z.string().describe('folder to make: every file of a bundle'),
  chat: z.boolean(),
  threads: z.number().int().positive(),
});

/** `python -m trainer.evaluate --config FILE`: lm-evaluation-harness against an OpenAI-compatible server. */
export const evaluateRunSchema = z.strictObject({
  schemaVersion: z.literal(1),
  baseUrl: z.string(),
  apiKeyFile: z.string(),
  modelName: z.string(),
  tokenizer: z.string(),
  chatTemplate: z.string().describe("path of the bundle's own"),
  contextLength: z.number().int().positive(),
  heldOut: z.string().nullable().describe('Document lines; null skips bits per byte'),
  questions: z.string().nullable().describe('lines {question, answer, name}'),
  preferences: z.string().nullable().describe('lines {question, chosen, rejected}'),
  chat: z
    .boolean()
    .describe(
      'wrap questions in the chat template; false asks a base model as "Question: … Answer:"',
    ),
  workDir: z.string(),
  output: z.string().describe('JSON {metrics: {name: {value, stderr, count}}, samples: [...]}'),
});

/** `python -m trainer.evaluate_encoder --config FILE`: a bundle that embeds text, by itself and through its server. */
export const evaluateEncoderRunSchema = z.strictObject({
  schemaVersion: z.literal(1),
  baseUrl: z.string(),
  apiKeyFile: z.string(),
  modelName: z.string(),
  bundle: z.string().describe('folder of the bundle'),
  weights: z.string().describe('model.safetensors that it was exported from'),
  contextLength: z.number().int().positive(),
  heldOut: z.strictObject({ path: z.string(), numTokens: count, bytes: count }),
  tokenBytes: z.literal([2, 4]),
  output: z.string().describe('JSON {metrics: {name: {value, stderr, count}}, samples: []}'),
});

/** What the activity of a host heartbeats that does not lead its gang. */
export interface FollowerProgress {
  kind: 'follower';
  phase: string;
  /** Name of the host. */
  host: string;
  step: number;
}

/** What a training activity heartbeats; clients read it from the pending activity. */
export interface TrainingProgress {
  kind: 'training';
  phase: string;
  step: number;
  numSteps: number;
  loss: number | null;
  tokensPerSecond: number | null;
  /** Newest step that is committed in S3. */
  durableStep: number;
  /** Step from which this generation went on; null for a fresh start. */
  resumedFrom: number | null;
  adopted: boolean;
  /** Its number, where several rates are tried; `numSteps` is then the end of its rung. */
  trial?: number;
  /** It stands still, as a person asked. */
  paused?: boolean;
  /** Machine time of the run, and what its budget allows, where that is held. */
  budget?: { spentMs: number; limitMs: number };
  /** Factor on the recipe's rate, where a person changed it. */
  learningRateScale?: number;
  learningRate?: number;
  gradNorm?: number;
  /** Share of the machine's measured peak. */
  mfu?: number;
  /** Bytes that the trainer holds; on its device, where it has one. */
  memoryBytes?: number;
  /** The newest held-out loss, nats a token, and its bits a byte. */
  valLoss?: number;
  valBpb?: number;
  /** By the pace of the last steps, saves and evaluations included. */
  leftMs?: number;
}
