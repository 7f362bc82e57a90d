/** The steps that a text may be cleaned by, as a pipeline file names them: their order, their languages, their settings. */
import { z } from 'zod';
import {
  c4Fields,
  c4LinesFields,
  fineWebFields,
  forTheRest,
  repetitionFields,
  stopWordsFields,
  type OfLanguages,
} from './cleaning-thresholds.ts';

/** Steps that change a text, in the order in which a preset takes them. */
export const textSteps = [
  'mojibake',
  'meaningless',
  'punctuation',
  'boilerplate',
  'c4-lines',
  'repeated-lines',
  'dates',
  'numbers',
] as const;
/** Steps that leave a document out. */
export const filterSteps = [
  'language',
  'gopher-repetition',
  'c4',
  'fineweb',
  'stop-words',
  'toxicity',
  'blocklist',
] as const;
/** What happens to every text unless it is switched off. */
export const usualSteps = ['width', 'controls'] as const;
/** What happens to every text: the one form that equal texts have. */
export const formSteps = ['nfc', 'control-words', 'white-space'] as const;
export type UsualStep = (typeof usualSteps)[number] | (typeof formSteps)[number];
export type TextStep = (typeof textSteps)[number];
export type FilterStep = (typeof filterSteps)[number];

const presets = {
  usual: [],
  web: [
    'mojibake',
    'meaningless',
    'punctuation',
    'boilerplate',
    'repeated-lines',
    'gopher-repetition',
    'c4',
    'fineweb',
    'stop-words',
    'toxicity',
  ],
} as const satisfies Record<string, readonly (TextStep | FilterStep)[]>;

const stepNames = [...textSteps, ...filterSteps] as const;
const bareSteps = stepNames.filter((step) => step !== 'language' && step !== 'blocklist');
const share = z.number().positive().max(1);
const languages = z
  .array(z.string().min(2))
  .min(1)
  .optional()
  .describe('only for texts in these, such as [en, zh-Hant]; left out, for all');
/** Thresholds of each step that has some; left out, those that were published. */
const thresholds = {
  'gopher-repetition': z.strictObject({
    step: z.literal('gopher-repetition').describe('leaves out what repeats itself'),
    languages,
    ...repetitionFields,
  }),
  c4: z.strictObject({
    step: z.literal('c4').describe('leaves out filler, code and pages of few sentences'),
    languages,
    ...c4Fields,
  }),
  'c4-lines': z.strictObject({
    step: z.literal('c4-lines').describe('takes away lines that are no sentences'),
    languages,
    ...c4LinesFields,
  }),
  fineweb: z.strictObject({
    step: z.literal('fineweb').describe('leaves out lists and lines said twice'),
    languages,
    ...fineWebFields,
  }),
  'stop-words': z.strictObject({
    step: z.literal('stop-words').describe('leaves out what has few common words'),
    languages,
    ...stopWordsFields,
  }),
};
const hasThresholds = (step: string): step is keyof typeof thresholds => step in thresholds;

const stepSchema = z.union(
  [
    z.enum(bareSteps),
    z.discriminatedUnion('step', [
      z.strictObject({
        step: z.literal('language').describe('leaves out documents of other languages'),
        keep: z.array(z.string().min(2)).min(1).describe('languages whose documents stay'),
      }),
      z.strictObject({
        step: z.literal('blocklist').describe('leaves out documents with listed words'),
        words: z.array(z.string().min(1)).min(1).describe('words or phrases, in any case'),
        maxHits: z.number().int().min(0).default(0).describe('more of them leave the document out'),
        languages,
      }),
      z.strictObject({
        step: z.literal('toxicity').describe('leaves out documents of offensive words'),
        maxShare: share.default(0.005).describe('of the words; more leave the document out'),
        languages,
      }),
      ...Object.values(thresholds),
      z.strictObject({
        step: z
          .enum(bareSteps.filter((step) => step !== 'toxicity' && !hasThresholds(step)))
          .describe('name of the step'),
        languages,
      }),
    ]),
  ],
  {
    error: `expected the name of a step (${bareSteps.join(', ')}), or step: with its settings; language needs keep:, blocklist needs words:`,
  },
);

/** Left out of a resolved pipeline where the file does not name it: what was made before stays what it is. */
export const cleaningSchema = z
  .strictObject({
    preset: z
      .enum(['usual', 'web'])
      .default('usual')
      .describe('usual: what every text gets; web: the steps for crawled pages beside it'),
    except: z
      .array(z.enum([...usualSteps, ...stepNames]))
      .optional()
      .describe(
        'steps of the preset that are switched off; width and controls are of every preset',
      ),
    steps: z
      .array(stepSchema)
      .optional()
      .describe(
        'further steps; those that change a text come in this order, after those of the preset',
      ),
  })
  .optional()
  .describe('how texts are cleaned beside the usual; left out, as usual');
export type Cleaning = z.infer<typeof cleaningSchema>;

type ThresholdsOf<Name extends keyof typeof thresholds> = Omit<
  z.infer<(typeof thresholds)[Name]>,
  'step' | 'languages'
>;

export interface Step
  extends
    OfLanguages,
    ThresholdsOf<'gopher-repetition'>,
    ThresholdsOf<'c4'>,
    ThresholdsOf<'c4-lines'>,
    ThresholdsOf<'fineweb'>,
    ThresholdsOf<'stop-words'> {
  step: TextStep | FilterStep;
  keep?: readonly string[];
  words?: readonly string[];
  maxHits?: number;
  maxShare?: number;
}

/** The steps that a file asks for, in their order; a step of the preset that is named again takes the settings named. */
export function stepsOf(cleaning: Cleaning): Step[] {
  if (cleaning === undefined) return [];
  const { preset, except = [], steps = [] } = cleaning;
  const named = steps.map((step): Step => (typeof step === 'string' ? { step } : defined(step)));
  const usual = presets[preset]
    .filter((step) => !except.includes(step) && !named.some((other) => other.step === step))
    .map((step): Step => ({ step }));
  const all = [
    ...usual,
    ...named
      .filter(({ step }) => !except.includes(step))
      .map((step, _, those) => (hasThresholds(step.step) ? amongThose(step, those) : step)),
  ];
  // What others would remove is what shows where an encoding was misread.
  return all.toSorted((a, b) => Number(b.step === 'mojibake') - Number(a.step === 'mojibake'));
}

/** Where a step is named with thresholds, its entry without languages is for those that no other entry names. */
function amongThose(step: Step, those: readonly Step[]): Step {
  const same = those.filter((other) => other.step === step.step);
  const isSettled = (one: Step): boolean =>
    Object.keys(one).some((key) => key !== 'step' && key !== 'languages');
  return same.some((one) => isSettled(one)) ? forTheRest(same)[same.indexOf(step)]! : step;
}

function defined(step: { step: TextStep | FilterStep }): Step {
  const entries = Object.entries(step).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as unknown as Step;
}
