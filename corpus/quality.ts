/**
 * Quality rules that follow the script. Texts with spaces between words are judged by the thresholds
 * that Gopher published (Rae et al. 2021, table A1); texts without, by their characters.
 */
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

/** Why a clean text is not worth training on, or null. */
export function qualityRefusal(text: string, script: Script, words: Words): Refusal | null {
  const lines = text.split('\n').filter((line) => line !== '');
  return (
    (unspaced.has(script) ? characterRules(text, words) : wordRules(text, script, words)) ??
    lineRules(lines) ??
    repetitionRules(text, script, words)
  );
}

function wordRules(text: string, script: Script, words: Words): Refusal | null {
  const numWords = words.hashes.length;
  if (numWords < 50) return refusal('too_short', `${numWords} words`, 'at least 50');
  if (numWords > 100_000) return refusal('too_long', `${numWords} words`, 'at most 100,000');
  let units = 0;
  for (const length of words.lengths) units += length;
  // A Hangul syllable is two or three letters, so its words are that much shorter in characters.
  const least = script === 'hangul' ? 1.5 : 3;
  const meanLength = units / numWords;
  if (meanLength < least || meanLength > 10)
    return refusal('word_length', `${meanLength.toFixed(1)} letters a word`, `${least} to 10`);
  const symbols =
    (occurrences(text, '#') + occurrences(text, '...') + occurrences(text, '…')) / numWords;
  if (symbols > 0.1)
    return refusal('symbols', `${symbols.toFixed(2)} hashes or ellipses a word`, 'at most 0.1');
  const alphabetic = words.numAlphabetic / numWords;
  if (alphabetic < 0.8)
    return refusal('letters', `letters in ${percent(alphabetic)} of the words`, 'at least 80 %');
  if (script === 'latin' && !hasCommonWords(text))
    return refusal('common_words', 'fewer than 2 common words of any known language', 'at least 2');
  return null;
}

function characterRules(text: string, words: Words): Refusal | null {
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
  if (letters < 60) return refusal('too_short', `${letters} letters`, 'at least 60');
  if (letters > 500_000) return refusal('too_long', `${letters} letters`, 'at most 500,000');
  const share = letters / visible;
  if (share < 0.5)
    return refusal('letters', `letters in ${percent(share)} of the characters`, 'at least 50 %');
  const symbols = numberOf(text, /#|\.{3}|…+/g) / Math.max(letters / 1.5, words.hashes.length);
  if (symbols > 0.1)
    return refusal('symbols', `${symbols.toFixed(2)} hashes or ellipses a word`, 'at most 0.1');
  const top = Math.max(...counts.values()) / letters;
  if (top > 0.2)
    return refusal(
      'repeated_characters',
      `one character is ${percent(top)} of the text`,
      '20 % at most',
    );
  return null;
}

const bullet = /^\s*[-*•‣◦·・●▪–]/u;

function lineRules(lines: readonly string[]): Refusal | null {
  const bullets = lines.filter((line) => bullet.test(line)).length / lines.length;
  if (bullets > 0.9) return refusal('bullets', `${percent(bullets)} of the lines`, 'at most 90 %');
  const ellipses =
    lines.filter((line) => line.endsWith('...') || line.endsWith('…')).length / lines.length;
  if (ellipses > 0.3)
    return refusal('ellipses', `${percent(ellipses)} of the lines`, 'at most 30 %');
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
  if (repeated / lines.length > 0.3)
    return refusal(
      'repeated_lines',
      `${percent(repeated / lines.length)} of the lines`,
      'at most 30 %',
    );
  if (repeatedUnits / units > 0.2)
    return refusal(
      'repeated_lines',
      `${percent(repeatedUnits / units)} of the characters`,
      'at most 20 %',
    );
  return null;
}

/**
 * Share of the text's characters that its most frequent n-gram fills, spaces included; Gopher's bounds for 2, 3 and 4
 * words, the same in characters doubled in length.
 */
function repetitionRules(text: string, script: Script, words: Words): Refusal | null {
  const byCharacter = unspaced.has(script);
  const hashes = byCharacter ? lettersOf(text) : words.hashes;
  const bounds: [length: number, bound: number][] = byCharacter
    ? [
        [4, 0.2],
        [6, 0.18],
        [8, 0.16],
      ]
    : [
        [2, 0.2],
        [3, 0.18],
        [4, 0.16],
      ];
  let longest = 1;
  if (!byCharacter) for (const length of words.lengths) longest = Math.max(longest, length);
  let most = hashes.length;
  for (const [length, bound] of bounds) {
    // No phrase is met more often than the shorter ones within it: most texts need one count, not three.
    const spaces = byCharacter ? 0 : length - 1;
    if (most * (length * longest + spaces) <= bound * text.length) continue;
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
    if (share > bound) {
      const what = byCharacter ? `${length} characters` : `${length} words`;
      return refusal(
        'repeated_phrase',
        `one phrase of ${what} fills ${percent(share)}`,
        `at most ${percent(bound)}`,
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

function hasCommonWords(text: string): boolean {
  const end = text.indexOf(' ', 1000);
  return (end > 0 && findsCommonWords(text.slice(0, end))) || findsCommonWords(text);
}

function findsCommonWords(text: string): boolean {
  const found = Array.from({ length: numLanguages }, () => '');
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
      const first = found[language]!;
      if (first !== '' && first !== lower.slice(index, end)) return true;
      found[language] = lower.slice(index, end);
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

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function refusal(reason: string, found: string, expected: string): Refusal {
  return { reason, detail: `found ${found}, expected ${expected}` };
}
