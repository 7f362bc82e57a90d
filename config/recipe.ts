/** The recipe: everything that decides the bits of a model, frozen by the planner before training. */
import { z } from 'zod';
import { sweepPlanSchema } from './sweep.ts';

const positive = z.number().int().positive();

/** The phases of training, in the order in which a pipeline may go through them. */
export const phaseNames = ['pretrain', 'sft', 'dpo', 'orpo'] as const;

/** The families whose shapes the planner knows, and that a model from elsewhere may be of. */
export const families = ['llama', 'qwen2', 'qwen3'] as const;
export type Family = (typeof families)[number];
/** As people write them. */
export const familyNames: Readonly<Record<Family, string>> = {
  llama: 'Llama',
  qwen2: 'Qwen2',
  qwen3: 'Qwen3',
};

export const plainShapeSchema = z.strictObject({
  family: z.enum(families),
  vocabSize: positive,
  hiddenSize: positive.describe(
    'without headDim a multiple of 16 × numHeads: the ONNX operator takes no other width',
  ),
  intermediateSize: positive,
  numLayers: positive,
  numHeads: positive,
  numKvHeads: positive,
  contextLength: positive.describe('tokens'),
  ropeTheta: z.number().positive(),
  tieEmbeddings: z.boolean(),
  headDim: positive
    .multipleOf(16)
    .optional()
    .describe('width of a head; left out, hiddenSize / numHeads'),
});
export type PlainShape = z.infer<typeof plainShapeSchema>;

/** The content of a config.json of transformers. */
export const givenConfigSchema = z.record(z.string(), z.unknown());

const measuredFields = {
  architecture: z.string().describe('class of transformers, e.g. GemmaForCausalLM'),
  config: givenConfigSchema.describe('as it was given; the run sets vocabulary and context'),
  hiddenSize: positive,
  numLayers: positive,
  contextLength: positive.describe('tokens'),
  tieEmbeddings: z.boolean(),
};

/** A configuration of transformers that was given, and what was measured of it. */
export const measuredModelSchema = z.strictObject({
  ...measuredFields,
  parameters: z.strictObject({
    fixed: z.number().int().describe('whatever the vocabulary'),
    perToken: positive.describe('for each token of the vocabulary'),
  }),
});
export type MeasuredModel = z.infer<typeof measuredModelSchema>;

export const givenShapeSchema = z.strictObject({
  family: z.literal('transformers'),
  ...measuredFields,
  vocabSize: positive,
  numParameters: positive,
});
export type GivenShape = z.infer<typeof givenShapeSchema>;

/** A ModernBERT, which foretells hidden words and embeds text. */
export const maskedShapeSchema = z.strictObject({
  family: z.literal('modernbert'),
  vocabSize: positive.describe('tokens of the corpus, the mask and the padding'),
  hiddenSize: positive,
  intermediateSize: positive,
  numLayers: positive,
  numHeads: positive,
  contextLength: positive.describe('tokens'),
  ropeTheta: z.number().positive(),
  globalEvery: positive.describe('layers, of which the first attends to all tokens'),
  localWindow: positive
    .multipleOf(2)
    .describe('tokens around each that the other layers attend to, half of them on each side'),
});
export type MaskedShape = z.infer<typeof maskedShapeSchema>;

export const modelShapeSchema = z.discriminatedUnion('family', [
  plainShapeSchema,
  givenShapeSchema,
  maskedShapeSchema,
]);
export type ModelShape = z.infer<typeof modelShapeSchema>;

/** What people call the architecture of a model. */
export function architectureOf(shape: ModelShape): string {
  if (shape.family === 'transformers') return shape.architecture;
  return shape.family === 'modernbert' ? 'ModernBERT' : familyNames[shape.family];
}

/** Whether a model embeds text, and continues none. */
export function embeds({ family }: ModelShape): boolean {
  return family === 'modernbert';
}

export const loraSchema = z.strictObject({
  rank: positive,
  alpha: z.number().positive().describe('what the adapters add is scaled by alpha / rank'),
  mergeShare: z
    .number()
    .positive()
    .max(1)
    .describe('of what the adapters learnt, how much is added to the base'),
});

/** What every phase shares. */
const phaseFields = {
  seed: z.number().int().nonnegative(),
  numSteps: positive,
  batchSize: positive.describe('sequences a step, over all ranks'),
  contextLength: positive.describe('tokens a sequence'),
  learningRate: z.number().positive().describe('peak'),
  warmupSteps: z.number().int().nonnegative(),
  decaySteps: z
    .number()
    .int()
    .nonnegative()
    .describe('last steps, over which the rate falls linearly to zero'),
  weightDecay: z.number().nonnegative(),
  gradClip: z.number().positive(),
  precision: z.enum(['fp32', 'bf16']),
  worldSize: positive,
  threads: positive.describe('CPU threads a rank; part of the bits'),
  saveEverySteps: positive,
  unwatchedExitS: positive.describe(
    'the trainer saves and exits when nobody has watched it for so long',
  ),
  microBatchSize: positive
    .optional()
    .describe('sequences that a rank computes at once; left out, its whole share of a batch'),
  lora: loraSchema
    .optional()
    .describe('adapters around a frozen base; left out, all weights are trained'),
  parallelism: z
    .enum(['ddp', 'fsdp2'])
    .optional()
    .describe(
      'fsdp2: each rank holds and saves a part of weights and optimizer; left out or ddp: all of them',
    ),
  device: z.enum(['cpu', 'cuda']).optional().describe('cuda: one GPU a rank; left out: the CPU'),
};

export const rehearsalSchema = z.strictObject({
  numRows: positive,
  rowLength: positive.describe('tokens'),
  rowsAStep: positive.describe('of the text that the base wrote itself'),
  weight: z.number().positive().describe('of the divergence from the base, against the loss'),
});

export const plateauSchema = z.strictObject({
  evaluations: positive.describe('in vain, one after the other'),
  leastFall: z
    .number()
    .nonnegative()
    .lt(1)
    .describe('share by which the held-out loss must fall below its best before them'),
});

const part = z.number().min(0).max(1);
export const maskSchema = z.strictObject({
  rate: z.number().gt(0).lt(1).describe('of the words of a window, how many are hidden'),
  replaced: part.describe('of those, how many the mask stands for'),
  redrawn: part.describe('of those, for how many another word stands; the rest stays, and counts'),
});

export const pretrainRecipeSchema = z.strictObject({
  phase: z.literal('pretrain'),
  ...phaseFields,
  optimizer: z.enum(['adamw', 'muon']).describe('muon: matrices by Muon, the rest by AdamW'),
  adamLearningRate: z
    .number()
    .positive()
    .describe('peak for what AdamW moves; equals learningRate for adamw'),
  evalEverySteps: positive,
  rehearsal: rehearsalSchema
    .optional()
    .describe('text of the base, on which it must go on foretelling the same; left out, none'),
  replay: z
    .strictObject({ share: z.number().positive().lt(1).describe('of the windows') })
    .optional()
    .describe('what was trained on before, among what is new; left out, the corpus is one stream'),
  plateau: plateauSchema.optional().describe('when to end early; left out, all steps are trained'),
  mask: maskSchema
    .optional()
    .describe('words that are hidden and foretold; left out, the next word is'),
});
export const sftRecipeSchema = z.strictObject({
  phase: z.literal('sft'),
  ...phaseFields,
  packing: z
    .literal(true)
    .optional()
    .describe('the chats of a batch share rows, each seeing itself alone; left out, a row each'),
});
export const dpoRecipeSchema = z.strictObject({
  phase: z.literal('dpo'),
  ...phaseFields,
  beta: z.number().positive(),
});
export const orpoRecipeSchema = z.strictObject({
  phase: z.literal('orpo'),
  ...phaseFields,
  beta: z.number().positive().describe('weight of the odds ratio against the likelihood'),
});
export const phaseRecipeSchema = z.discriminatedUnion('phase', [
  pretrainRecipeSchema,
  sftRecipeSchema,
  dpoRecipeSchema,
  orpoRecipeSchema,
]);
export type PretrainRecipe = z.infer<typeof pretrainRecipeSchema>;
export type SftRecipe = z.infer<typeof sftRecipeSchema>;
export type DpoRecipe = z.infer<typeof dpoRecipeSchema>;
export type OrpoRecipe = z.infer<typeof orpoRecipeSchema>;
export type PhaseRecipe = z.infer<typeof phaseRecipeSchema>;
export type Phase = PhaseRecipe['phase'];

/** Equal GPUs of one host. */
export const gpuSchema = z.strictObject({
  name: z.string().describe("as NVIDIA's driver says"),
  count: positive,
  memoryBytes: positive.describe('of each'),
});
export type Gpu = z.infer<typeof gpuSchema>;

/** What the planner knows of the machine: recorded, so that a repeated run plans the same. */
export const machineSchema = z.strictObject({
  device: z.enum(['cpu', 'cuda']),
  cores: positive,
  memoryBytes: positive,
  instructionSet: z
    .enum(['amx', 'avx512_bf16', 'avx512', 'avx2', 'neon', 'other'])
    .describe('decides speed, and the bits'),
  gpu: gpuSchema.optional().describe('those that train, where the device is cuda'),
});
export type Machine = z.infer<typeof machineSchema>;

/** Ranks that train on one host: one a GPU, or one on all cores. */
export function ranksAHost({ device, gpu }: Pick<Machine, 'device' | 'gpu'>): number {
  return device === 'cuda' ? (gpu?.count ?? 1) : 1;
}

export const reasonSchema = z.strictObject({
  choice: z.string(),
  value: z.string(),
  reason: z.string(),
  source: z.string().describe('paper or measurement the rule comes from'),
});
export type Reason = z.infer<typeof reasonSchema>;

/** A budget that ends the training, rather than one that is only planned for. */
export const heldBudgetSchema = z.strictObject({
  timeMs: positive.nullable().describe('of machines; null: dollars alone bound it'),
  usd: z.number().positive().nullable(),
  usdPerHour: z.number().nonnegative().describe('of one machine'),
  whenSpent: z.enum(['finish', 'wait']),
  shares: z
    .strictObject({
      pretrain: z.number(),
      sft: z.number(),
      dpo: z.number(),
      orpo: z.number().optional(),
    })
    .describe('of what is left when a phase begins, how much it may spend'),
});
export type HeldBudget = z.infer<typeof heldBudgetSchema>;

const milliseconds = z.number().int().nonnegative();

/** Where the planned time of a phase goes. */
export const phaseTimeSchema = z.strictObject({
  phase: z.enum(phaseNames),
  startMs: milliseconds.describe('until the first step: libraries and weights'),
  stepsMs: milliseconds,
  scoringMs: milliseconds.describe(
    'of held-out text, on the way and at the end; 0 where the steps were measured with it',
  ),
  modelMs: milliseconds.describe(
    'the model is merged, written and stored; 0 where the steps were measured with it',
  ),
});
export type PhaseTime = z.infer<typeof phaseTimeSchema>;

export const recipeSchema = z.strictObject({
  schemaVersion: z.literal(1),
  round: z.number().int().nonnegative().describe('0, then one more for each replan'),
  machine: machineSchema,
  model: modelShapeSchema,
  numParameters: positive,
  pretrain: pretrainRecipeSchema
    .nullable()
    .describe('null: the model that it starts from is tuned as it is'),
  sft: sftRecipeSchema.nullable(),
  dpo: dpoRecipeSchema.nullable(),
  orpo: orpoRecipeSchema.optional().describe('in place of dpo; left out, none'),
  sweep: sweepPlanSchema
    .optional()
    .describe('rates that pretraining tries first; left out, the planned one alone'),
  estimate: z.strictObject({
    trainingMs: positive.describe('all phases'),
    trainingMsLow: positive,
    trainingMsHigh: positive,
    time: z
      .array(phaseTimeSchema)
      .optional()
      .describe(
        'of trainingMs, by phase, without a search for the rate; left out by older versions',
      ),
    usd: z.number().nonnegative(),
    valBpbLow: z.number().positive(),
    valBpbHigh: z.number().positive(),
    finalLoss: z.number().positive().describe('nats a token, at the end of pretraining'),
    lostIfKilledMs: positive.describe('work lost at most when the trainer is killed'),
  }),
  reasons: z.array(reasonSchema),
  held: heldBudgetSchema.optional().describe('left out: no budget ends the training'),
  calibrate: z
    .strictObject({ numSteps: positive })
    .optional()
    .describe('steps to time on the machine before this is trained; left out: none'),
});
export type Recipe = z.infer<typeof recipeSchema>;

/** A recipe that reads documents before it tunes, if it does tune. */
export type ReadingRecipe = Recipe & { pretrain: PretrainRecipe };

/** What a recipe trains, in order. */
export function phasesOf(recipe: Pick<Recipe, Phase>): PhaseRecipe[] {
  return phaseNames.map((name) => recipe[name]).filter((phase) => phase != null);
}
