/**
 * The pipeline file: what an operator writes. Parsing resolves every default and unit, so that what
 * is stored in a run's history is the whole configuration.
 */
import { z } from 'zod';
import { knownBases } from './base-models.ts';
import { cleaningSchema } from './cleaning.ts';
import { embeddingsFaults, isEmbeddingMetric } from './embeddings.ts';
import { languageNames } from './languages.ts';
import { isMixed, mixtureFaults, type MixedSource } from './mixing.ts';
import { personalDataSchema } from './personal-data.ts';
import { conversationsSchema, longestFromScratch, longestOfAModel } from './conversations.ts';
import { phasesFault, tunes } from './phases.ts';
import { tokenizerWishSchema } from './tokenizer.ts';
import { families, phaseNames, type Family, type Phase } from './recipe.ts';

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const leastTimeMs = 10 * unitMs.s;
const mostTimeMs = 30 * unitMs.d;
const leastKeptMs = unitMs.h;
const mostKeptMs = 3650 * unitMs.d;
const keptExpected = 'expected a duration from 1h to 3650d, such as 30d, or forever';
/** Starting, saving and making the model take tens of seconds of it. */
const leastHeldMs = unitMs.m;

/** A file says the unit; a number is the milliseconds of a pipeline that is already resolved. */
const durationMs = z
  .union([
    z.string().regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, 'expected a duration such as 90s, 20m or 2h'),
    z.number().int(),
  ])
  .transform((value) => {
    if (typeof value === 'number') return value;
    const [, amount, name] = /^([\d.]+)(ms|s|m|h|d)$/.exec(value)!;
    return Math.round(Number(amount) * unitMs[name as keyof typeof unitMs]);
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

const datasetPattern = /^[a-z][a-z0-9-]{1,38}[a-z0-9](@[1-9]\d{0,8})?$/;

const baseNames = Object.keys(knownBases).join('|');
const startPattern = new RegExp(
  String.raw`^(scratch|${baseNames}|[a-z][a-z0-9-]{1,38}[a-z0-9]@(champion|[1-9]\d{0,8})|\.{0,2}/.*)$`,
);

const documents = {
  include: z.string().default('**/*').describe('glob of the files to read, relative to the source'),
  license: z.string().min(1).describe('licence of this text, kept in the lineage of every model'),
  textField: z
    .string()
    .default('text')
    .describe('field of a JSON record that holds the text; the others become metadata'),
  weight: z
    .number()
    .positive('expected a number above 0; to leave a source out, remove it')
    .optional()
    .describe(
      'share of the tokens that training reads, relative to the weights of the other sources, such as 3 beside 1; left out by all, each has the share of its text',
    ),
  repeat: z
    .number()
    .positive('expected a number above 0; to leave a source out, remove it')
    .max(100, 'expected at most 100; what is read so often is learnt by heart')
    .optional()
    .describe(
      'how often its documents are read in an epoch, such as 2 for twice or 0.5 for half of them; with weights, how often at most; left out, once',
    ),
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
  z.strictObject({
    git: z
      .string()
      .min(1)
      .describe('work tree of a git repository, relative to the pipeline file: its tracked files'),
    ...documents,
  }),
  z.strictObject({
    s3: z
      .string()
      .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/.*)?$/, 'expected bucket/prefix')
      .describe('bucket and prefix: the objects under it, by the credentials of the workers'),
    ...documents,
  }),
  z.strictObject({
    url: z
      .string()
      .regex(
        /^https:\/\/[^\s/@]+(\/\S*)?$/,
        'expected an address such as https://example.org/sitemap.xml',
      )
      .describe(
        'a page, or a sitemap with the pages to read; asked for politely, at public addresses alone',
      ),
    ...documents,
  }),
]);
export type Source = z.infer<typeof sourceSchema>;

/** A source as the pipeline file names it. */
export function sourceName(source: Source): string {
  if ('package' in source) return source.package;
  if ('git' in source) return source.git;
  if ('s3' in source) return `s3://${source.s3}`;
  return 'url' in source ? source.url : source.path;
}

/** What is wished of each source where sources are mixed. */
export function mixedSources(sources: readonly Source[]): MixedSource[] {
  return sources.map((source) => ({
    name: sourceName(source),
    ...(source.weight !== undefined && { weight: source.weight }),
    ...(source.repeat !== undefined && { repeat: source.repeat }),
  }));
}

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

export const gateMetrics = [
  'valBpb',
  'questions.accuracy',
  'preferences.accuracy',
  'masked.accuracy',
  'masked.loss',
  'retrieval.accuracy',
] as const;
export type GateMetric = (typeof gateMetrics)[number];
const boundSchema = z
  .strictObject({
    min: z.number().optional().describe('at least'),
    max: z.number().optional().describe('at most'),
  })
  .refine(
    (bound) => bound.min !== undefined || bound.max !== undefined,
    'expected min, max or both',
  );

export const preferences = ['quality', 'latency', 'size'] as const;
export type Preference = (typeof preferences)[number];

/** Pretraining on several hosts at once, each with a gpu worker that has TEMPER_GANG_ADDRESS, or on GPUs. */
const computeFields = z.strictObject({
  hosts: z
    .number()
    .int()
    .min(2)
    .max(16)
    .refine((hosts) => 16 % hosts === 0, 'expected 2, 4, 8 or 16, which part a batch equally')
    .optional()
    .describe(
      'how many hosts pretrain together, each on its own share of every batch; left out, one',
    ),
  device: z
    .literal('cuda')
    .optional()
    .describe("cuda: pretrain on NVIDIA's GPUs, one rank on each; left out, on the CPU"),
  elastic: z
    .boolean()
    .optional()
    .describe(
      'true: with fewer hosts when some were missing for a minute; the model is then not exact',
    ),
  parallelism: z
    .enum(['ddp', 'fsdp2'])
    .optional()
    .describe(
      'ddp: each host holds the whole model; fsdp2: a part of it, which takes less memory and more of the network; left out, ddp where the model fits into each host',
    ),
});

/** The keys of a pipeline file. */
export const pipelineFileSchema = z.strictObject({
  version: z.literal(1).describe('of this format'),
  name: name.describe('name of the dataset and of the model'),
  data: z
    .strictObject({
      sources: z
        .array(sourceSchema)
        .min(1)
        .optional()
        .describe('where the documents are; left out, they are those of a registered dataset'),
      dataset: z
        .string()
        .regex(
          datasetPattern,
          'expected a registered dataset such as policy, or policy@3 for one version',
        )
        .optional()
        .describe(
          'a registered dataset in place of sources: policy, its newest version when a run begins, or policy@3',
        ),
      sample: share
        .pipe(z.number().positive())
        .prefault('100%')
        .describe(
          'share of the documents to take, by a hash of their text: the same ones each time',
        ),
      originals: z
        .strictObject({
          keep: z
            .union([z.literal('forever'), durationMs], { error: keptExpected })
            .refine(
              (kept) => kept === 'forever' || (kept >= leastKeptMs && kept <= mostKeptMs),
              keptExpected,
            )
            .prefault('30d')
            .describe(
              'how long the documents as they were read and the texts that were dropped are kept; then they are deleted',
            ),
          encrypt: z
            .boolean()
            .default(false)
            .describe('encrypt them in the store, with the data key of the workers'),
        })
        .optional()
        .describe(
          'what becomes of the documents as they were read, and of what was dropped; left out, they are kept as they are',
        ),
      personalData: personalDataSchema,
      clean: cleaningSchema,
      languages: z
        .array(
          z
            .string()
            .refine(
              (language) => languageNames.includes(language),
              'expected a language that is told apart, such as en, de, zh-Hant, zh-Hans or ja',
            ),
        )
        .min(1)
        .optional()
        .describe(
          'only documents in these languages, such as [zh-Hant, en]; the others are left out, with the language that was found; left out, all',
        ),
      decontaminate: z
        .array(z.string().min(1))
        .min(1)
        .optional()
        .describe(
          'evaluation sets, as paths or globs from this file on: documents that say 13 words of them in a row are left out',
        ),
      conversations: conversationsSchema,
      heldOut: share
        .pipe(z.number().positive().max(0.5))
        .prefault('2%')
        .describe('share of documents never trained on'),
      replay: share
        .pipe(z.number().positive().max(0.9))
        .optional()
        .describe(
          'share of what is read that the model of startFrom was trained on before, such as 25%, the rest being new to it; left out, all documents in random order',
        ),
      quality: z
        .boolean()
        .default(true)
        .describe('Gopher quality filters, by the script of the text'),
      maxDropped: share
        .prefault('50%')
        .describe('the run stops when a larger share of what was found is not read or dropped'),
    })
    .describe('the documents, and what to do with them'),
  startFrom: z
    .string()
    .regex(
      startPattern,
      `expected scratch, a registered model such as policy@3 or policy@champion, a base model (${Object.keys(knownBases).join(', ')}), or the path of one: ./model.gguf or ./folder`,
    )
    .default('scratch')
    .describe(
      'what the weights start from; scratch: random ones; policy@3 or policy@champion: go on pretraining that model, with its tokenizer and its size; smollm2, ./model.gguf or ./folder: adapt that base model',
    ),
  tokenizer: tokenizerWishSchema,
  model: z
    .union([
      z.strictObject({
        family: z
          .enum(families)
          .describe(
            'architecture: llama, or that of the Qwen models; the planner chooses the size',
          ),
      }),
      z.strictObject({
        config: z
          .string()
          .min(1)
          .describe(
            'config.json of a causal model of transformers, relative to the pipeline file: its architecture and its size',
          ),
      }),
    ])
    .optional()
    .describe('what a model from scratch is like; left out, a Llama'),
  goal: z
    .enum(['base', 'adapt', 'assistant', 'embeddings'])
    .optional()
    .describe(
      'base: pretrain only; adapt: teach a model that exists the documents, by LoRA; assistant: then SFT and DPO; embeddings: pretrain a ModernBERT on hidden words, which turns texts into vectors to search by; left out, assistant where there are questions, else adapt for a base model, else base',
    ),
  prefer: z
    .enum(preferences)
    .optional()
    .describe(
      'what comes first where the size of a model is chosen: quality (default), the lowest expected loss; latency, the quickest to answer within 5 % of it; size, the smallest within 10 %',
    ),
  phases: z
    .array(z.enum(phaseNames))
    .min(1)
    .optional()
    .describe(
      'exactly these phases, in this order: pretrain reads the documents, sft learns to answer, dpo or orpo to prefer the right answer; left out, those of the goal: pretrain for base and adapt, pretrain, sft, dpo for assistant',
    ),
  questions: z
    .array(questionsSchema)
    .default([])
    .describe('instruction data made from the metadata of the documents'),
  packing: z
    .boolean()
    .optional()
    .describe(
      'several chats in a row while SFT learns from them, each seeing itself alone: the same loss for less padding; left out, where it saves a fifth and more of the time of tuning a model that exists',
    ),
  budget: z
    .strictObject({
      time: durationMs
        .refine((ms) => ms >= leastTimeMs, 'expected at least 10s')
        .refine((ms) => ms <= mostTimeMs, 'expected at most 30d')
        .optional()
        .describe('training time, all phases; left out, what usd affords, else 4m'),
      usd: z
        .number()
        .positive()
        .optional()
        .describe('what the machines that train may cost; needs usdPerHour'),
      usdPerHour: z
        .number()
        .nonnegative()
        .optional()
        .describe('price of one machine, in dollars; left out, it costs nothing'),
      whenSpent: z
        .enum(['finish', 'wait', 'go-on'])
        .optional()
        .describe(
          'finish: training ends within the budget, and the run goes on with its best checkpoint; wait: it stands until more is added; go-on: the budget is planned for, not held; left out, finish where there is usd, else go-on',
        ),
      stopOnPlateau: z
        .boolean()
        .optional()
        .describe('end pretraining early when the held-out text gets no likelier any more'),
    })
    .prefault({})
    .describe('what a run may spend'),
  sweep: z
    .strictObject({
      learningRate: z
        .array(z.number().min(0.01).max(100).describe('multiple of the planned rate'))
        .min(2)
        .max(32)
        .refine(
          (values) => new Set(values).size === values.length,
          'expected multiples of which none comes twice',
        )
        .describe('learning rates to try, as multiples of the planned one, such as [0.5, 1, 2, 4]'),
      halving: z
        .number()
        .int()
        .min(2)
        .max(32)
        .default(2)
        .describe('of so many trials one goes on after each rung; 2: the better half'),
      phase: z
        .literal('pretrain')
        .default('pretrain')
        .describe(
          'the phase whose rate is searched: the one that measures held-out text on its way',
        ),
    })
    .optional()
    .describe(
      'tries several learning rates within the budget and goes on with the best; left out, the planned one alone',
    ),
  compute: z
    .union(
      [
        z.literal('local'),
        computeFields.refine(
          ({ hosts, device }) => hosts !== undefined || device !== undefined,
          'expected hosts, device or both',
        ),
      ],
      { error: 'expected local, or hosts: 2 (or more) to pretrain on several hosts at once' },
    )
    .default('local')
    .describe('where it trains; local: this machine'),
  seed: z
    .number()
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(1789)
    .describe('chooses the random numbers: the same seed gives the same bits'),
  evaluate: z
    .strictObject({
      gates: z
        .partialRecord(z.enum(gateMetrics), boundSchema)
        .default({})
        .describe('what a model must reach to be deployed, by metric'),
      onFailure: z
        .strictObject({
          replan: z
            .number()
            .int()
            .min(0)
            .max(5)
            .default(1)
            .describe('how often a run plans and trains again when a gate is missed'),
        })
        .prefault({})
        .describe('what happens when a gate is missed'),
    })
    .prefault({})
    .describe('how good is good enough'),
  deploy: z
    .strictObject({
      endpoint: name.describe('name of the endpoint that serves the model'),
      approval: z
        .enum(['none', 'required'])
        .default('none')
        .describe('required: a version that passed its gates waits until a person approves it'),
    })
    .optional()
    .describe('without it, the model is registered but not served'),
});

/** A pipeline with every default resolved; what is resolved already parses to itself. */
export const pipelineSchema = pipelineFileSchema
  .transform(({ goal, budget, ...rest }) => ({
    ...rest,
    data: withLengths(rest),
    budget: { ...budget, time: budget.time ?? defaultTimeMs(budget) },
    goal: goal ?? defaultGoal(rest),
  }))
  .superRefine((file, context) => {
    const { data, startFrom, model, goal, questions, phases, packing, budget, compute, sweep } =
      file;
    const refuse = (field: string | (string | number)[], message: string) =>
      context.addIssue({
        code: 'custom',
        path: typeof field === 'string' ? field.split('.') : field,
        message,
      });
    if (data.sources === undefined && data.dataset === undefined) {
      refuse(
        'data.sources',
        'expected where the documents are, or dataset: policy in its place, which is registered',
      );
    } else if (data.sources !== undefined && data.dataset !== undefined) {
      refuse('data.dataset', 'expected none beside sources, one of the two says what is read');
    } else if (data.dataset !== undefined && data.sample < 1) {
      refuse(
        'data.sample',
        'expected none with dataset: a version is taken whole; a share is taken of sources',
      );
    } else if (data.dataset !== undefined && data.originals !== undefined) {
      refuse(
        'data.originals',
        'expected none with dataset: a version is kept and encrypted as it was registered',
      );
    }
    const isSeveral = compute !== 'local' && compute.hosts !== undefined;
    if (compute !== 'local' && compute.device === 'cuda' && goal !== 'base') {
      refuse(
        'compute.device',
        `expected none with goal ${goal}: pretraining alone runs on GPUs, so goal base`,
      );
    } else if (isSeveral && (goal === 'adapt' || isBase(startFrom))) {
      refuse('compute', 'expected local where a model is adapted: its adapters train on one host');
    } else if (isSeveral && sweep !== undefined) {
      refuse('compute', 'expected local with a sweep, whose trials train on one host each');
    } else if (isSeveral && endsTraining(budget)) {
      refuse(
        'compute',
        'expected local where the budget ends the training: several hosts end by their plan',
      );
    }
    if (sweep !== undefined && endsTraining(budget)) {
      refuse(
        'sweep',
        'expected none where the budget ends the training: trials are planned for their time, not ended by it',
      );
    }
    const affordable = affordableMs(budget);
    if (affordable === Infinity) {
      refuse('budget.usd', 'expected budget.usdPerHour beside it, the price of the machine');
    } else if (affordable !== null && affordable < leastTimeMs) {
      refuse('budget.usd', 'expected at least the price of 10s');
    } else if (
      endsTraining(budget) &&
      Math.min(budget.time, affordable ?? Infinity) < leastHeldMs
    ) {
      const bounds = affordable !== null && affordable <= budget.time ? 'usd' : 'time';
      const least = bounds === 'usd' ? 'the price of 1m' : '1m';
      refuse(
        `budget.${bounds}`,
        `expected at least ${least} where it ends the training: the end takes part of it`,
      );
    }
    if (phases !== undefined) {
      const { stopOnPlateau } = budget;
      const asked = {
        phases,
        goal,
        startFrom,
        asks: teachesAnswers(file),
        stopOnPlateau,
        sweeps: sweep !== undefined,
      };
      const fault = phasesFault(asked);
      if (fault !== null) {
        const { field, found, expected, hint } = fault;
        refuse(field, `expected ${expected}; found ${found}. ${hint}`);
      }
      if (isSeveral && !isBase(startFrom) && !phases.includes('pretrain')) {
        refuse(
          'compute',
          'expected local with phases that leave pretrain out: it alone trains on several hosts',
        );
      }
    }
    if (packing === true && !(phases?.includes('sft') ?? goal === 'assistant')) {
      refuse(
        'packing',
        'expected none where no chats are learnt: sft does that, with goal assistant',
      );
    } else if (packing === true && model !== undefined && 'config' in model) {
      refuse('packing', 'expected false with model.config: chats of a row might see each other');
    }
    const { sources = [] } = data;
    const wishes = sources.map((source) => ({
      ...mixedSources([source])[0]!,
      ...('url' in source && { url: source.url }),
    }));
    for (const { source, field, message } of mixtureFaults(wishes)) {
      refuse(['data', 'sources', source, field], message);
    }
    if (isMixed(sources) && data.replay !== undefined) {
      refuse(
        'data.replay',
        'expected none where sources have a weight or a repeat: both say what is read how often',
      );
    } else if (isMixed(sources) && phases?.includes('pretrain') === false) {
      refuse(
        'phases',
        'expected pretrain among them where sources have a weight or a repeat: it alone reads documents',
      );
    }
    if (data.replay !== undefined && isBase(startFrom)) {
      refuse(
        'data.replay',
        `expected none: what ${startFrom} was trained on is not here; it rehearses text of its own instead`,
      );
    } else if (data.replay !== undefined && phases?.includes('pretrain') === false) {
      refuse(
        'data.replay',
        'expected none with phases that leave pretrain out: it reads documents',
      );
    }
    if (goal === 'embeddings') {
      for (const { keys, found, expected, hint } of embeddingsFaults(file)) {
        refuse(keys, `expected ${expected}; found ${found}. ${hint}`);
      }
    }
    for (const metric of Object.keys(file.evaluate.gates)) {
      if (goal === 'embeddings' || !isEmbeddingMetric(metric)) continue;
      refuse(
        ['evaluate', 'gates', metric],
        `expected a gate that this pipeline measures; found one on ${metric}, which goal embeddings alone measures`,
      );
    }
    if (goal === 'adapt' && startFrom === 'scratch') {
      refuse('goal', 'expected base or assistant: adapt needs a model, such as startFrom: smollm2');
    }
    if (goal === 'base' && isBase(startFrom)) {
      refuse('goal', `expected adapt or assistant, which ${startFrom} can be made into`);
    }
    if (file.tokenizer !== undefined && startFrom !== 'scratch') {
      refuse(
        'tokenizer',
        `expected none: the weights of ${startFrom} know the tokens of its own tokenizer alone`,
      );
    }
    if (model !== undefined && startFrom !== 'scratch' && goal !== 'embeddings') {
      refuse('model', `expected none: ${startFrom} has an architecture of its own`);
    }
    if (goal === 'embeddings' && file.data.conversations !== undefined) {
      refuse(
        'data.conversations',
        'expected none with goal embeddings, whose model answers nothing',
      );
    }
    if (goal === 'adapt' && teachesAnswers(file)) {
      const field = questions.length > 0 ? 'questions' : 'data.conversations';
      refuse(field, 'expected none with goal adapt, which trains on the documents alone');
    }
  });

function withLengths({
  data,
  startFrom,
}: Pick<z.infer<typeof pipelineFileSchema>, 'data' | 'startFrom'>) {
  const { conversations } = data;
  if (conversations === undefined) return data;
  const longest = startFrom === 'scratch' ? longestFromScratch : longestOfAModel;
  const each = conversations.map((source) => ({ maxTokens: longest, ...source }));
  return { ...data, conversations: each };
}

/** Whether a file gives what SFT can learn from: questions, or conversations. */
export function teachesAnswers(file: {
  questions: readonly unknown[];
  data: { conversations?: unknown };
}): boolean {
  return file.questions.length > 0 || file.data.conversations !== undefined;
}

/** How long a machine may be paid for; null where no dollars bound it, infinity where it costs nothing. */
export function affordableMs({
  usd,
  usdPerHour = 0,
}: {
  usd?: number | undefined;
  usdPerHour?: number | undefined;
}): number | null {
  if (usd === undefined) return null;
  return usdPerHour === 0 ? Infinity : Math.floor((usd / usdPerHour) * unitMs.h);
}

/** Whether a budget ends the training, rather than being planned for alone. */
export function endsTraining({ usd, whenSpent }: Pipeline['budget']): boolean {
  return (whenSpent ?? (usd === undefined ? 'go-on' : 'finish')) !== 'go-on';
}

function defaultTimeMs(budget: { usd?: number | undefined; usdPerHour?: number | undefined }) {
  const affordable = affordableMs(budget) ?? Infinity;
  return affordable === Infinity ? 4 * unitMs.m : Math.min(affordable, mostTimeMs);
}

function defaultGoal(file: {
  startFrom: string;
  data: { conversations?: unknown };
  questions: unknown[];
  phases?: readonly Phase[] | undefined;
}) {
  const { phases } = file;
  if (phases !== undefined && tunes(phases)) return 'assistant' as const;
  if (phases !== undefined) return isBase(file.startFrom) ? ('adapt' as const) : ('base' as const);
  if (teachesAnswers(file)) return 'assistant' as const;
  return isBase(file.startFrom) ? ('adapt' as const) : ('base' as const);
}

/** The name of the dataset that a pipeline reads. */
export function datasetNameOf({ name: own, data }: Pick<Pipeline, 'name' | 'data'>): string {
  return data.dataset?.split('@')[0] ?? own;
}

/** The family that a file asks for; undefined where it gives a configuration, or leaves it to the planner. */
export function familyOf({ model }: Pick<Pipeline, 'model'>): Family | undefined {
  return model !== undefined && 'family' in model ? model.family : undefined;
}

/** The configuration that a file gives, as a path from its folder on; null where it gives none. */
export function configOf({ model }: Pick<Pipeline, 'model'>): string | null {
  return model !== undefined && 'config' in model ? model.config : null;
}

/** Whether a `startFrom` means a model that was made elsewhere: a known one, or the path of one. */
export function isBase(startFrom: string): boolean {
  return startFrom in knownBases || /^\.{0,2}\//.test(startFrom);
}

export type Pipeline = z.infer<typeof pipelineSchema>;
export type PipelineFile = z.input<typeof pipelineSchema>;
