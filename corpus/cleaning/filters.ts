/** Rules that leave a document out, with the thresholds that Gopher, C4 and FineWeb published; where no space separates words, by characters. */
import * as published from '../../config/cleaning-thresholds.ts';
import { unspaced, type Script } from '../characters.ts';
import type { Step } from '../../config/cleaning.ts';
import type { Refusal } from '../decode.ts';
import { lettersOf, mixed, type Words } from '../words.ts';
import { stopWordsOf } from './stop-words.ts';

/** A clean text, with what was counted of it already. */
export interface Judged {
  text: string;
  script: Script;
  words: Words;
}

/** Thresholds that a pipeline file names; left out, the published ones. */
type Thresholds = Omit<Step, 'step'>;

/** Gopher's rules on repetition (Rae et al. 2021, table A1): lines, paragraphs, top and repeated n-grams. */
export function gopherRepetition(
  { text, script, words }: Judged,
  given: Thresholds = {},
): Refusal | null {
  const most = { ...published.gopherRepetition, ...given };
  const parts: [name: string, parts: string[], most: number, mostUnits: number][] = [
    [
      'paragraphs',
      text.split(/\n{2,}/).filter((part) => part.trim() !== ''),
      most.dupParaFrac,
      most.dupParaCharFrac,
    ],
    [
      'lines',
      text.split('\n').filter((line) => line.trim() !== ''),
      most.dupLineFrac,
      most.dupLineCharFrac,
    ],
  ];
  for (const [name, all, mostParts, mostUnits] of parts) {
    const seen = new Set<string>();
    let count = 0;
    let units = 0;
    for (const part of all) {
      if (seen.has(part)) {
        count += 1;
        units += part.length;
      } else seen.add(part);
    }
    if (count / all.length > mostParts) return repeats(name, count / all.length, mostParts);
    if (units / text.length > mostUnits)
      return repeats(`characters in ${name}`, units / text.length, mostUnits);
  }
  // A word of Chinese has one and a half characters on average, so the bounds are for grams half as long again.
  const byCharacter = unspaced.has(script);
  const hashes = byCharacter ? lettersOf(text) : words.hashes;
  const lengths = byCharacter ? null : words.lengths;
  const bounds = { ...published.gopherRepetition.dupNGrams, ...given.dupNGrams };
  // Such keys come in the order of their numbers.
  for (const [numWords, bound] of Object.entries(bounds)) {
    const length = byCharacter ? Math.round(Number(numWords) * 1.5) : Number(numWords);
    const repeated = repeatedUnits(hashes, lengths, length);
    // Where no gram repeats, no longer one does.
    if (repeated === 0) break;
    const share = repeated / text.length;
    if (share > bound) return repeats(`${length}-grams`, share, bound);
  }
  return null;
}

const repeats = (what: string, share: number, bound: number): Refusal => ({
  reason: 'gopher_repetition',
  detail: `repeated ${what} are ${percent(share)}, expected at most ${percent(bound)}`,
});

/** Letters that stand in n-grams met before; a gram that was met is passed over whole. */
function repeatedUnits(hashes: Int32Array, lengths: Uint32Array | null, length: number): number {
  const numGrams = hashes.length - length + 1;
  if (numGrams < 2) return 0;
  // An open table, because this looks at every word six times; 0 marks a free slot.
  const size = 1 << (33 - Math.clz32(numGrams));
  const seen = tableOf(size);
  let repeated = 0;
  for (let start = 0; start < numGrams;) {
    let gram = 0;
    for (let index = start; index < start + length; index += 1)
      gram = (Math.imul(gram, 0x9e3779b1) + hashes[index]!) | 0;
    gram = mixed(gram) || 1;
    let slot = gram & (size - 1);
    while (seen[slot] !== 0 && seen[slot] !== gram) slot = (slot + 1) & (size - 1);
    if (seen[slot] === 0) {
      seen[slot] = gram;
      start += 1;
      continue;
    }
    for (let index = start; index < start + length; index += 1) repeated += lengths?.[index] ?? 1;
    start += length;
  }
  return repeated;
}

const table = new Int32Array(1 << 16);

/** So many free slots, in the same memory for all but the longest texts: a table for each would keep the collector busy. */
function tableOf(size: number): Int32Array {
  return size > table.length ? new Int32Array(size) : table.fill(0, 0, size);
}

/** C4's rules on pages (Raffel et al. 2020): no filler text, no source code, five sentences. */
export function c4({ text }: Judged, given: Thresholds = {}): Refusal | null {
  const { filterLoremIpsum, filterCurlyBracket, minNumSentences } = { ...published.c4, ...given };
  if (filterLoremIpsum && /lorem ipsum/i.test(text))
    return { reason: 'c4', detail: 'found "lorem ipsum", expected none' };
  if (filterCurlyBracket && text.includes('{'))
    return { reason: 'c4', detail: 'found a curly bracket, expected none' };
  const sentences = text.match(/(?<![.!?])[.!?]+["'”’)\]]*(?=\s|$)|[。！？]+/g)?.length ?? 0;
  if (sentences < minNumSentences) {
    const expected = `expected at least ${minNumSentences}`;
    return { reason: 'c4', detail: `found ${sentences} sentences, ${expected}` };
  }
  return null;
}

/** FineWeb's rules (Penedo et al. 2024): ends of lines, short lines, lines said twice, line feeds to words. */
export function fineWeb({ text, script, words }: Judged, given: Thresholds = {}): Refusal | null {
  const { linePunctThr, shortLineThr, charDuplicatesRatio, newLineRatio } = {
    ...published.fineWeb,
    ...given,
  };
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const byCharacter = unspaced.has(script);
  const refusal = (what: string, share: number, bound: string): Refusal => ({
    reason: 'fineweb',
    detail: `${what}: ${percent(share)}, expected ${bound}`,
  });
  const ended = lines.filter((line) => /[.!?"'”’。！？」』；…]$/.test(line)).length / lines.length;
  if (ended < linePunctThr)
    return refusal('lines that end a sentence', ended, `at least ${percent(linePunctThr)}`);
  const short = given.shortLineLength ?? (byCharacter ? 12 : published.fineWeb.shortLineLength);
  const shortLines = lines.filter((line) => line.length <= short).length / lines.length;
  const atMost = (bound: number): string => `at most ${percent(bound)}`;
  if (shortLines > shortLineThr)
    return refusal(`lines of ${short} characters or fewer`, shortLines, atMost(shortLineThr));
  const seen = new Set<string>();
  let repeated = 0;
  for (const line of lines) {
    if (seen.has(line)) repeated += line.length;
    else seen.add(line);
  }
  const share = repeated / text.length;
  if (share > charDuplicatesRatio)
    return refusal('characters of lines said before', share, atMost(charDuplicatesRatio));
  const numWords = byCharacter ? lettersOf(text).length / 1.5 : words.hashes.length;
  const feeds = (text.split('\n').length - 1) / Math.max(1, numWords);
  if (feeds > newLineRatio) return refusal('line feeds to words', feeds, atMost(newLineRatio));
  return null;
}

/** Two words that nearly every text of the language has; languages without a list are not judged. */
export function stopWords(
  { text }: Judged,
  language: string,
  { minStopWords: least = published.stopWords.minStopWords }: Thresholds = {},
): Refusal | null {
  const list = stopWordsOf(language);
  if (list === null || least === 0) return null;
  let found = 0;
  if (list.whole) {
    const met = new Set<string>();
    for (const [word] of text.toLowerCase().matchAll(/[\p{L}\p{M}]+/gu)) {
      if (list.words.has(word)) met.add(word);
      if (met.size >= least) return null;
    }
    found = met.size;
  } else {
    for (const word of list.words) if (text.includes(word)) found += 1;
    if (found >= least) return null;
  }
  return {
    reason: 'stop_words',
    detail: `found ${found} common words of ${language}, expected at least ${least}`,
  };
}

const percent = (value: number): string => `${Math.round(value * 1000) / 10} %`;
