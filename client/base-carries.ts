/** Whether the tokenizer of a known base model carries the languages of a folder, by what a look at it found. */
import { maxTokensPerCharacter, type KnownBase } from '../config/base-models.ts';
import { languagesOfScript } from '../config/languages.ts';
import type { Survey } from '../config/survey.ts';

/** Scripts whose words are not parted, or that write syllables: in UTF-8 nearly three bytes a character. */
const ideographic: Readonly<Record<string, string>> = {
  zh: 'Chinese',
  'zh-Hant': 'Chinese',
  'zh-Hans': 'Chinese',
  ja: 'Japanese',
  ko: 'Korean',
  th: 'Thai',
  lo: 'Lao',
  km: 'Khmer',
  my: 'Burmese',
};
const latin = new Set([...languagesOfScript.latin, 'Latin script', 'no letters']);
const bytesPerCharacter = { ideographic: 2.8, latin: 1, other: 1.8 };
/** Of the other alphabets: 0.7 to 1.2 on sentences in five of them. */
const otherTokensPerCharacter = 1;

export interface Carried {
  numTokens: number;
  tokensPerCharacter: number;
  /** Where that is too much: the language that costs most, and its share of the text; else null. */
  tooMuch: { language: string; share: number; name: string } | null;
}

/** An estimate: a run measures it, with the tokenizer itself. */
export function carriedBy(
  { tokensPerCharacter }: Pick<KnownBase, 'tokensPerCharacter'>,
  { languages }: Pick<Survey, 'languages'>,
): Carried {
  let characters = 0;
  let numTokens = 0;
  for (const { language, textBytes } of languages) {
    const kind = language in ideographic ? 'ideographic' : latin.has(language) ? 'latin' : 'other';
    const spent = kind === 'other' ? otherTokensPerCharacter : tokensPerCharacter[kind];
    characters += textBytes / bytesPerCharacter[kind];
    numTokens += (textBytes / bytesPerCharacter[kind]) * spent;
  }
  const spent = numTokens / Math.max(1, characters);
  const [worst] = languages
    .filter(({ language }) => language in ideographic)
    .toSorted((a, b) => b.textBytes - a.textBytes);
  const textBytes = languages.reduce((sum, each) => sum + each.textBytes, 0);
  return {
    numTokens: Math.max(1, Math.round(numTokens)),
    tokensPerCharacter: spent,
    tooMuch:
      spent <= maxTokensPerCharacter || worst === undefined
        ? null
        : {
            language: worst.language,
            share: worst.textBytes / textBytes,
            name: ideographic[worst.language]!,
          },
  };
}
