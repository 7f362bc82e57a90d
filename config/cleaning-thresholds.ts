/** What the filters measure and the bounds that were published for it: Gopher's, C4's and FineWeb's, which a pipeline file may change. */
import { z } from 'zod';

/** Gopher (Rae et al. 2021, table A1). Of scripts without spaces between words, letters and characters are counted. */
export const gopherQuality = {
  minDocWords: 50,
  maxDocWords: 100_000,
  minDocLetters: 60,
  maxDocLetters: 500_000,
  minAvgWordLength: 3,
  maxAvgWordLength: 10,
  maxSymbolWordRatio: 0.1,
  minAlphaWordsRatio: 0.8,
  minLetterRatio: 0.5,
  minStopWords: 2,
  maxBulletLinesRatio: 0.9,
  maxEllipsisLinesRatio: 0.3,
  dupLineFrac: 0.3,
  dupLineCharFrac: 0.2,
  topCharFrac: 0.2,
  topNGrams: { 2: 0.2, 3: 0.18, 4: 0.16 },
};
/** Gopher's rules on repetition, in the same table. */
export const gopherRepetition = {
  dupParaFrac: 0.3,
  dupParaCharFrac: 0.2,
  dupLineFrac: 0.3,
  dupLineCharFrac: 0.2,
  dupNGrams: { 5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1 },
};
/** C4 (Raffel et al. 2020): of pages, and of lines. */
export const c4 = { minNumSentences: 5, filterLoremIpsum: true, filterCurlyBracket: true };
export const c4Lines = { minWordsPerLine: 3 };
/** FineWeb (Penedo et al. 2024). */
export const fineWeb = {
  linePunctThr: 0.12,
  shortLineThr: 0.67,
  shortLineLength: 30,
  charDuplicatesRatio: 0.01,
  newLineRatio: 0.3,
};
export const stopWords = { minStopWords: 2 };

const ratio = (says: string) => z.exactOptional(z.number().min(0).max(1)).describe(says);
const whole = (says: string) => z.exactOptional(z.number().int().min(0)).describe(says);
const length = (says: string) => z.exactOptional(z.number().min(0)).describe(says);
const flag = (says: string) => z.exactOptional(z.boolean()).describe(says);
const ratios = <Length extends string>(lengths: readonly Length[], says: string) =>
  z
    .exactOptional(
      z.strictObject(
        Object.fromEntries(
          lengths.map((n) => [n, ratio(`of ${n} words; 1 switches it off`)]),
        ) as Record<Length, ReturnType<typeof ratio>>,
      ),
    )
    .describe(says);

const repeatedLines = {
  dupLineFrac: ratio('most lines that stood before; 0.3'),
  dupLineCharFrac: ratio('most characters in lines that stood before; 0.2'),
};
export const repetitionFields = {
  dupParaFrac: ratio('most paragraphs that stood before; 0.3'),
  dupParaCharFrac: ratio('most characters in paragraphs that stood before; 0.2'),
  ...repeatedLines,
  dupNGrams: ratios(
    ['5', '6', '7', '8', '9', '10'],
    'most characters in repeated phrases of so many words, half as many characters again without spaces: { 5: 0.15, … 10: 0.1 }',
  ),
};
export const c4Fields = {
  minNumSentences: whole('fewest sentences; 5'),
  filterLoremIpsum: flag('leaves out what says lorem ipsum; true'),
  filterCurlyBracket: flag('leaves out what has a curly bracket; true'),
};
export const c4LinesFields = {
  minWordsPerLine: whole('fewest words of a line, half as many characters again without spaces; 3'),
};
export const fineWebFields = {
  linePunctThr: ratio('fewest lines that end a sentence; 0.12'),
  shortLineThr: ratio('most short lines; 0.67'),
  shortLineLength: whole('characters of a short line; 30, and 12 without spaces between words'),
  charDuplicatesRatio: ratio('most characters in lines said before; 0.01'),
  newLineRatio: length('most line feeds to a word; 0.3'),
};
export const stopWordsFields = {
  minStopWords: whole('fewest common words of the language; 2'),
};
const wordFields = {
  minDocWords: whole('fewest words; 50'),
  maxDocWords: whole('most words; 100000'),
  minAvgWordLength: length('least mean of letters to a word; 3, and 1.5 of Hangul'),
  maxAvgWordLength: length('largest mean of letters to a word; 10'),
  minAlphaWordsRatio: ratio('fewest words with a letter; 0.8'),
  minStopWords: whole('fewest common words of a known language in Latin script; 2'),
};
const letterFields = {
  minDocLetters: whole('fewest letters, without spaces between words; 60'),
  maxDocLetters: whole('most letters, without spaces between words; 500000'),
  minLetterRatio: ratio('fewest letters to characters, without spaces between words; 0.5'),
  topCharFrac: ratio('most of one character, without spaces between words; 0.2'),
};

const unspacedLanguages = ['zh', 'zh-Hant', 'zh-Hans', 'ja', 'th', 'lo', 'km', 'my'];
const bounds = [
  ['minDocWords', 'maxDocWords'],
  ['minDocLetters', 'maxDocLetters'],
  ['minAvgWordLength', 'maxAvgWordLength'],
] as const;

const qualityRulesSchema = z
  .strictObject({
    languages: z
      .exactOptional(z.array(z.string().min(2)).min(1))
      .describe('only texts in these are judged; left out, all that no other entry names'),
    ...wordFields,
    ...letterFields,
    maxSymbolWordRatio: length('most hashes or ellipses to a word; 0.1'),
    maxBulletLinesRatio: ratio('most lines that start with a bullet; 0.9'),
    maxEllipsisLinesRatio: ratio('most lines that end with an ellipsis; 0.3'),
    ...repeatedLines,
    topNGrams: ratios(
      ['2', '3', '4'],
      'most characters in the commonest phrase of so many words, twice as many characters without spaces: { 2: 0.2, 3: 0.18, 4: 0.16 }',
    ),
  })
  .superRefine((rules, context) => {
    const fault = (key: string, message: string): void => {
      context.addIssue({ code: 'custom', path: [key], message });
    };
    for (const [min, max] of bounds) {
      const most = rules[max] ?? gopherQuality[max];
      const least = rules[min] ?? gopherQuality[min];
      if (least > most)
        fault(
          rules[min] === undefined ? max : min,
          `expected ${min} ${least} not above ${max} ${most}`,
        );
    }
    if (rules.languages === undefined) return;
    const numUnspaced = rules.languages.filter((one) => unspacedLanguages.includes(one)).length;
    const others =
      numUnspaced === rules.languages.length
        ? Object.keys(wordFields)
        : numUnspaced === 0
          ? Object.keys(letterFields)
          : [];
    const measure = numUnspaced === 0 ? 'words' : 'letters';
    for (const key of others) {
      if (key in rules)
        fault(
          key,
          `expected none of it: ${rules.languages.join(', ')} is judged by ${measure}, as by ${measure === 'words' ? 'minDocWords' : 'minDocLetters'}`,
        );
    }
  });

/** Gopher's rules of quality: on, off, or with other thresholds, for all languages or for some. */
export const qualitySchema = z.union(
  [z.boolean(), qualityRulesSchema, z.array(qualityRulesSchema).min(1)],
  { error: 'expected true, false, or thresholds such as { minDocWords: 20 }, one or a list' },
);
export type Quality = z.infer<typeof qualitySchema>;
export type QualityThresholds = Omit<z.infer<typeof qualityRulesSchema>, 'languages'>;

/** To whom something applies: texts in some languages, or in all but some. */
export interface OfLanguages {
  languages?: readonly string[];
  exceptLanguages?: readonly string[];
}

/** Of rules of one kind, those without languages are for the languages that no other names. */
export function forTheRest<Rules extends OfLanguages>(all: readonly Rules[]): Rules[] {
  const exceptLanguages = all.flatMap(({ languages }) => languages ?? []);
  return all.map((rules) =>
    rules.languages === undefined && exceptLanguages.length > 0
      ? { ...rules, exceptLanguages }
      : rules,
  );
}

/** Whether rules are for a text; its language is asked for only where it matters. */
export function applies(
  { languages, exceptLanguages }: OfLanguages,
  language: () => string,
): boolean {
  return (
    (languages === undefined || languages.includes(language())) &&
    (exceptLanguages === undefined || !exceptLanguages.includes(language()))
  );
}

/** The rules of quality that a file asks for; none where they are switched off. */
export function qualityRulesOf(quality: Quality): (QualityThresholds & OfLanguages)[] {
  if (typeof quality === 'boolean') return quality ? [{}] : [];
  return forTheRest<QualityThresholds & OfLanguages>(Array.isArray(quality) ? quality : [quality]);
}
