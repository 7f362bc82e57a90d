/**
 * Quality rules that follow the script. Texts with spaces between words are judged by the thresholds
 * that Gopher published (Rae et al. 2021, table A1); texts without, by their characters.
 */
import { gopherQuality, type QualityThresholds } from '../config/cleaning-thresholds.ts';
import { endOfLetters, scriptOf, unspaced, wordClass, type Script } from './characters.ts';
import type { Refusal } from './decode.ts';
import { lettersOf, mixed, type Words } from './words.ts';

/** Commonest words of languages in Latin script; Gopher asks for two of English's. */
const commonWords = [
  'the be to of and that have with',
  'de la que el en y a los',
  'de la le et les des en un',
  'der die und in den von zu das',
  'di e il la che in un per',
  'de a o que e do da em',
  'de het een en van in is dat',
  'och i att det som en på är',
  'og i at det er en på som',
  'ja on ei että se oli hän mutta',
  'i w na z do się nie że',
  'a v se na je že s z',
  'és az a nem hogy is egy van',
  've bir bu da de için ile çok',
  'yang dan di dengan untuk dari ini itu',
  'và của là có cho không được một',
].map((words) => words.split(' '));
const numLanguages = commonWords.length;
/** Of each common word, the languages that it is one of. */
const languagesOf = new Map<string, number[]>();
for (const [language, words] of commonWords.entries()) {
  for (const word of words) languagesOf.set(word, [...(languagesOf.get(word) ?? []), language]);
}
const longestCommon = Math.max(...[...languagesOf.keys()].map(({ length }) => length));

type Thresholds = typeof gopherQuality;

/** Why a clean text is not worth training on, or null; thresholds that are left out are the published ones. */
export function qualityRefusal(
  text: string,
  script: Script,
  words: Words,
  given: QualityThresholds = {},
): Refusal | null {
  const bounds = {
    ...gopherQuality,
    // A Hangul syllable is two or three letters, so its words are that much shorter in characters.
    ...(script === 'hangul' && { minAvgWordLength: 1.5 }),
    ...given,
    topNGrams: { ...gopherQuality.topNGrams, ...given.topNGrams },
  };
  const lines = text.split('\n').filter((line) => line !== '');
  return (
    (unspaced.has(script)
      ? characterRules(text, words, bounds)
      : wordRules(text, script, words, bounds)) ??
    lineRules(lines, bounds) ??
    repetitionRules(text, script, words, bounds)
  );
}

function wordRules(text: string, script: Script, words: Words, bounds: Thresholds): Refusal | null {
  const { minDocWords, maxDocWords, minAvgWordLength, maxAvgWordLength } = bounds;
  const { maxSymbolWordRatio, minAlphaWordsRatio, minStopWords } = bounds;
  const numWords = words.hashes.length;
  if (numWords < minDocWords)
    return refusal('too_short', `${numWords} words`, `at least ${grouped(minDocWords)}`);
  if (numWords > maxDocWords)
    return refusal('too_long', `${numWords} words`, `at most ${grouped(maxDocWords)}`);
  if (numWords === 0) return null;
  let units = 0;
  for (const length of words.lengths) units += length;
  const meanLength = units / numWords;
  if (meanLength < minAvgWordLength || meanLength > maxAvgWordLength) {
    const found = `${meanLength.toFixed(1)} letters a word`;
    return refusal('word_length', found, `${minAvgWordLength} to ${maxAvgWordLength}`);
  }
  const symbols =
    (occurrences(text, '#') + occurrences(text, '...') + occurrences(text, '…')) / numWords;
  if (symbols > maxSymbolWordRatio) return tooManySymbols(symbols, maxSymbolWordRatio);
  const alphabetic = words.numAlphabetic / numWords;
  if (alphabetic < minAlphaWordsRatio) {
    const found = `letters in ${percent(alphabetic)} of the words`;
    return refusal('letters', found, `at least ${bound(minAlphaWordsRatio)}`);
  }
  if (script === 'latin' && minStopWords > 0 && !hasCommonWords(text, minStopWords)) {
    const found = `fewer than ${minStopWords} common words of any known language`;
    return refusal('common_words', found, `at least ${minStopWords}`);
  }
  return null;
}

function characterRules(text: string, words: Words, bounds: Thresholds): Refusal | null {
  const { minDocLetters, maxDocLetters, minLetterRatio, maxSymbolWordRatio, topCharFrac } = bounds;
  let letters = 0;
  let visible = 0;
  const counts = new Map<number, number>();
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit === 0x20 || unit === 0x0a) continue;
    visible += 1;
    if (wordClass[unit] === 1) letters += 1;
    if (scriptOf[unit] !== 0) counts.set(unit, (counts.get(unit) ?? 0) + 1);
  }
  if (letters < minDocLetters)
    return refusal('too_short', `${letters} letters`, `at least ${grouped(minDocLetters)}`);
  if (letters > maxDocLetters)
    return refusal('too_long', `${letters} letters`, `at most ${grouped(maxDocLetters)}`);
  const share = letters / visible;
  if (share < minLetterRatio) {
    const found = `letters in ${percent(share)} of the characters`;
    return refusal('letters', found, `at least ${bound(minLetterRatio)}`);
  }
  const symbols = numberOf(text, /#|\.{3}|…+/g) / Math.max(letters / 1.5, words.hashes.length);
  if (symbols > maxSymbolWordRatio) return tooManySymbols(symbols, maxSymbolWordRatio);
  const top = Math.max(...counts.values()) / letters;
  if (top > topCharFrac)
    return refusal(
      'repeated_characters',
      `one character is ${percent(top)} of the text`,
      `${bound(topCharFrac)} at most`,
    );
  return null;
}

const bullet = /^\s*[-*•‣◦·・●▪–]/u;

function lineRules(
  lines: readonly string[],
  { maxBulletLinesRatio, maxEllipsisLinesRatio, dupLineFrac, dupLineCharFrac }: Thresholds,
): Refusal | null {
  const ofLines = (share: number): string => `${percent(share)} of the lines`;
  const bullets = lines.filter((line) => bullet.test(line)).length / lines.length;
  if (bullets > maxBulletLinesRatio)
    return refusal('bullets', ofLines(bullets), `at most ${bound(maxBulletLinesRatio)}`);
  const ellipses =
    lines.filter((line) => line.endsWith('...') || line.endsWith('…')).length / lines.length;
  if (ellipses > maxEllipsisLinesRatio)
    return refusal('ellipses', ofLines(ellipses), `at most ${bound(maxEllipsisLinesRatio)}`);
  const seen = new Set<string>();
  let repeated = 0;
  let repeatedUnits = 0;
  let units = 0;
  for (const line of lines) {
    units += line.length;
    if (seen.has(line)) {
      repeated += 1;
      repeatedUnits += line.length;
    } else {
      seen.add(line);
    }
  }
  if (repeated / lines.length > dupLineFrac) {
    const found = ofLines(repeated / lines.length);
    return refusal('repeated_lines', found, `at most ${bound(dupLineFrac)}`);
  }
  if (repeatedUnits / units > dupLineCharFrac)
    return refusal(
      'repeated_lines',
      `${percent(repeatedUnits / units)} of the characters`,
      `at most ${bound(dupLineCharFrac)}`,
    );
  return null;
}

/**
 * Share of the text's characters that its most frequent n-gram fills, spaces included; Gopher's bounds for 2, 3 and 4
 * words, the same in characters doubled in length.
 */
function repetitionRules(
  text: string,
  script: Script,
  words: Words,
  { topNGrams }: Thresholds,
): Refusal | null {
  const byCharacter = unspaced.has(script);
  const hashes = byCharacter ? lettersOf(text) : words.hashes;
  let longest = 1;
  if (!byCharacter) for (const length of words.lengths) longest = Math.max(longest, length);
  let most = hashes.length;
  // Such keys come in the order of their numbers.
  for (const [numWords, mostOf] of Object.entries(topNGrams)) {
    const length = Number(numWords) * (byCharacter ? 2 : 1);
    // No phrase is met more often than the shorter ones within it: most texts need one count, not three.
    const spaces = byCharacter ? 0 : length - 1;
    if (most * (length * longest + spaces) <= mostOf * text.length) continue;
    const { count, start } = topGram(hashes, length);
    most = count;
    if (count < 2) continue;
    let gramUnits = length;
    if (!byCharacter) {
      gramUnits = spaces;
      for (let index = start; index < start + length; index += 1)
        gramUnits += words.lengths[index]!;
    }
    const share = (count * gramUnits) / text.length;
    if (share > mostOf) {
      const what = byCharacter ? `${length} characters` : `${length} words`;
      return refusal(
        'repeated_phrase',
        `one phrase of ${what} fills ${percent(share)}`,
        `at most ${bound(mostOf)}`,
      );
    }
  }
  return null;
}

/** The n-gram met most often, and where it was first met. Counted in an open table, because this looks at every word. */
function topGram(hashes: Int32Array, length: number): { count: number; start: number } {
  const numGrams = hashes.length - length + 1;
  if (numGrams < 2) return { count: 0, start: 0 };
  const size = 1 << (33 - Math.clz32(numGrams));
  const { firstAt, keys, counts } = tableOf(size);
  let best = { count: 0, start: 0 };
  for (let start = 0; start < numGrams; start += 1) {
    let gram = 0;
    for (let index = start; index < start + length; index += 1)
      gram = (Math.imul(gram, 0x9e3779b1) + hashes[index]!) | 0;
    gram = mixed(gram);
    let slot = gram & (size - 1);
    while (counts[slot] !== 0 && keys[slot] !== gram) slot = (slot + 1) & (size - 1);
    if (counts[slot] === 0) {
      keys[slot] = gram;
      firstAt[slot] = start;
    }
    counts[slot]! += 1;
    if (counts[slot]! > best.count) best = { count: counts[slot]!, start: firstAt[slot]! };
  }
  return best;
}

const empty = (size: number) => ({
  firstAt: new Int32Array(size),
  keys: new Int32Array(size),
  counts: new Uint32Array(size),
});
const table = empty(1 << 16);

/** So many free slots, in the same memory for all but the longest texts: a table for each would keep the collector busy. */
function tableOf(size: number): typeof table {
  if (size > table.counts.length) return empty(size);
  table.counts.fill(0, 0, size);
  return table;
}

function hasCommonWords(text: string, least: number): boolean {
  const end = text.indexOf(' ', 1000);
  return (end > 0 && findsCommonWords(text.slice(0, end), least)) || findsCommonWords(text, least);
}

function findsCommonWords(text: string, least: number): boolean {
  const found = Array.from({ length: numLanguages }, (): string[] => []);
  const lower = text.toLowerCase();
  for (let index = 0; index < lower.length;) {
    const end = endOfLetters(lower, index);
    if (end === index) {
      index += 1;
      continue;
    }
    const languages =
      end - index > longestCommon ? undefined : languagesOf.get(lower.slice(index, end));
    for (const language of languages ?? []) {
      const met = found[language]!;
      const word = lower.slice(index, end);
      if (!met.includes(word) && met.push(word) >= least) return true;
    }
    index = end;
  }
  return false;
}

function occurrences(text: string, part: string): number {
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count += 1;
  return count;
}

function numberOf(text: string, pattern: RegExp): number {
  let count = 0;
  for (const _ of text.matchAll(pattern)) count += 1;
  return count;
}

const grouped = (value: number): string => value.toLocaleString('en-US');
const bound = (share: number): string => `${Math.round(share * 1000) / 10} %`;

function tooManySymbols(found: number, most: number): Refusal {
  return refusal('symbols', `${found.toFixed(2)} hashes or ellipses a word`, `at most ${most}`);
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function refusal(reason: string, found: string, expected: string): Refusal {
  return { reason, detail: `found ${found}, expected ${expected}` };
}
