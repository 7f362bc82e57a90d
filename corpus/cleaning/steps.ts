/** Takes a text through the steps that a pipeline file names, and counts what each did. */
import { applies } from '../../config/cleaning-thresholds.ts';
import type { FilterStep, Step, TextStep } from '../../config/cleaning.ts';
import type { Refusal } from '../decode.ts';
import { languageOf } from '../languages.ts';
import { standardiseDates, standardiseNumbers } from './dates.ts';
import { c4, fineWeb, gopherRepetition, stopWords, type Judged } from './filters.ts';
import {
  keepSentences,
  mendPunctuation,
  removeBoilerplate,
  removeMeaningless,
  removeRepeatedLines,
} from './lines.ts';
import { repairMojibake } from './mojibake.ts';
import { blocklist, toxicity } from './offence.ts';

const changes: Record<TextStep, (text: string, step: Step) => string> = {
  mojibake: repairMojibake,
  meaningless: removeMeaningless,
  punctuation: mendPunctuation,
  boilerplate: removeBoilerplate,
  'c4-lines': keepSentences,
  'repeated-lines': removeRepeatedLines,
  dates: standardiseDates,
  numbers: standardiseNumbers,
};

const filters: Record<
  FilterStep,
  (judged: Judged, step: Step, language: () => string) => Refusal | null
> = {
  language: (_, { keep = [] }, language) =>
    keep.includes(language())
      ? null
      : { reason: 'language', detail: `found ${language()}, expected ${keep.join(', ')}` },
  'gopher-repetition': gopherRepetition,
  c4,
  fineweb: fineWeb,
  'stop-words': (judged, step, language) => stopWords(judged, language(), step),
  toxicity: ({ text, words }, { maxShare = 0.005 }) =>
    toxicity(text, Math.max(words.hashes.length, text.length / 6), maxShare),
  blocklist: ({ text }, { words = [], maxHits = 0 }) => blocklist(text, words, maxHits),
};

/** Documents that a step changed or left out, by its name. */
export type StepCounts = Record<string, number>;

const isChange = (step: Step): step is Step & { step: TextStep } => step.step in changes;

/** What is read before anything else: the misread is told by what is removed later. */
export function repairFirst(text: string, steps: readonly Step[], counts: StepCounts): string {
  return changed(
    text,
    steps.filter(({ step }) => step === 'mojibake'),
    counts,
  );
}

/** The text after the other steps that change it. */
export function changeText(text: string, steps: readonly Step[], counts: StepCounts): string {
  return changed(
    text,
    steps.filter((step) => isChange(step) && step.step !== 'mojibake'),
    counts,
  );
}

function changed(text: string, steps: readonly Step[], counts: StepCounts): string {
  let result = text;
  let known: string | null = null;
  const language = (): string => (known ??= languageOf(result));
  for (const step of steps) {
    if (!isChange(step) || !applies(step, language)) continue;
    const made = changes[step.step](result, step);
    if (made === result) continue;
    counts[step.step] = (counts[step.step] ?? 0) + 1;
    result = made;
  }
  return result;
}

/** Why the steps leave a clean text out, or null. */
export function stepsRefusal(
  judged: Judged,
  steps: readonly Step[],
  counts: StepCounts,
  language: () => string,
): Refusal | null {
  for (const step of steps) {
    if (isChange(step) || !applies(step, language)) continue;
    const refusal = filters[step.step as FilterStep](judged, step, language);
    if (refusal === null) continue;
    counts[step.step] = (counts[step.step] ?? 0) + 1;
    return refusal;
  }
  return null;
}
