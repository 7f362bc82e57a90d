/**
 * Finds documents that say what an evaluation set asks: thirteen words of it in a row, as GPT-3 and Gopher
 * looked for, or thirteen characters where no space parts words. A model that read them would be measured wrongly.
 */
import { scriptOf, scripts, scriptShares, unspaced, wordClass } from './characters.ts';
import { cleanText } from './clean.ts';
import type { Refusal } from './decode.ts';
import { lettersOf, wordsOf, type Words } from './words.ts';

export const gramLength = 13;
const bases = [0x01000193, 0x85ebca6b] as const;
const outgoing = bases.map((base) => {
  let power = 1;
  for (let step = 1; step < gramLength; step += 1) power = Math.imul(power, base);
  return power;
}) as [number, number];

/** What an evaluation set says: a record of a file. */
export interface EvaluationText {
  set: string;
  /** Number of the record in its file, from 1. */
  record: number;
  text: string;
}

/** Calls back for each gram, as two numbers of 32 bits, until it is told to stop by `true`. */
function eachGram(
  units: Int32Array,
  see: (high: number, low: number, end: number) => boolean,
): void {
  let high = 0;
  let low = 0;
  for (let index = 0; index < units.length; index += 1) {
    if (index >= gramLength) {
      const gone = units[index - gramLength]!;
      high = (high - Math.imul(gone, outgoing[0])) | 0;
      low = (low - Math.imul(gone, outgoing[1])) | 0;
    }
    high = (Math.imul(high, bases[0]) + units[index]!) | 0;
    low = (Math.imul(low, bases[1]) + units[index]!) | 0;
    if (index >= gramLength - 1 && see(high, low, index + 1)) return;
  }
}

/** Words, or the characters of scripts whose words no space parts. */
type Unit = 'words' | 'characters';
/** Of thirteen characters: a long word or an address in a Chinese question is met in texts of all kinds. */
const leastUnspaced = 7;
const isUnspaced = Uint8Array.from(scripts, (script) => Number(unspaced.has(script)));

/** For each of the units of `lettersOf`, how many of those up to it are of an unspaced script. */
function unspacedUntil(text: string): Uint32Array {
  const sums = new Uint32Array(text.length + 1);
  let units = 0;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (wordClass[unit] === 0) continue;
    sums[units + 1] = sums[units]! + isUnspaced[scriptOf[unit]!]!;
    units += 1;
  }
  return sums;
}

function hasUnspaced(text: string): boolean {
  let found = 0;
  for (let index = 0; index < text.length && found < leastUnspaced; index += 1)
    found += isUnspaced[scriptOf[text.charCodeAt(index)]!]!;
  return found >= leastUnspaced;
}

export interface PackedGrams {
  /** A line of JSON, then four numbers of 32 bits for each gram. */
  packed: Uint8Array;
  numRecords: number;
  /** Records of fewer than thirteen units, which are not looked for. */
  numTooShort: number;
}

/** The grams of evaluation sets. A text in two kinds of script has grams of both kinds. */
export function packGrams(
  texts: Iterable<EvaluationText>,
  onText: (numTexts: number) => void = () => {},
): PackedGrams {
  let numTexts = 0;
  const sets = new Map<string, number>();
  const seen = new Set<number>();
  const rows: number[] = [];
  const kinds = new Set<Unit>();
  const long = new Map<string, boolean>();
  for (const { set, record, text } of texts) {
    onText((numTexts += 1));
    if (!sets.has(set)) sets.set(set, sets.size);
    const clean = cleanText(text);
    const place = `${set} ${record}`;
    if (!long.has(place)) long.set(place, false);
    const add = (kind: Unit, high: number, low: number): void => {
      kinds.add(kind);
      long.set(place, true);
      const key = keyOf(high, low);
      if (seen.has(key)) return;
      seen.add(key);
      rows.push(high, low, sets.get(set)!, record);
    };
    if (!unspaced.has(scriptShares(clean).main)) {
      eachGram(wordsOf(clean).hashes, (high, low) => {
        add('words', high, low);
        return false;
      });
    }
    if (!hasUnspaced(clean)) continue;
    const sums = unspacedUntil(clean);
    eachGram(lettersOf(clean), (high, low, end) => {
      if (sums[end]! - sums[end - gramLength]! >= leastUnspaced) add('characters', high, low);
      return false;
    });
  }
  const numTooShort = [...long.values()].filter((isLong) => !isLong).length;
  const head = Buffer.from(`${JSON.stringify({ sets: [...sets.keys()], kinds: [...kinds] })}\n`);
  const body = Buffer.alloc(rows.length * 4);
  for (const [index, value] of rows.entries()) body.writeInt32LE(value, index * 4);
  return { packed: Buffer.concat([head, body]), numRecords: long.size, numTooShort };
}

/** 53 of the 64 bits: what a number holds exactly. */
const keyOf = (high: number, low: number): number => (high >>> 0) * 2 ** 21 + (low >>> 11);

export interface Contamination {
  /** Why a clean text must not be trained on, or null. */
  refusal: (text: string, words: Words) => Refusal | null;
}

/** Reads packed grams. */
export function readGrams(packed: Uint8Array): Contamination {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength);
  const end = bytes.indexOf(0x0a);
  // Grams that were packed before both kinds were looked for name none.
  const { sets, kinds = ['words', 'characters'] } = JSON.parse(
    bytes.subarray(0, end).toString('utf8'),
  ) as {
    sets: string[];
    kinds?: Unit[];
  };
  const places = new Map<number, number>();
  // Most grams of a text are in no set; a bit for each low half tells so without a look-up.
  const bits = new Uint8Array(2 ** 20);
  for (let at = end + 1; at < bytes.length; at += 16) {
    const low = bytes.readInt32LE(at + 4);
    bits[(low >>> 3) & 0xfffff]! |= 1 << (low & 7);
    places.set(keyOf(bytes.readInt32LE(at), low), at);
  }
  const look = (units: Int32Array, kind: Unit): Refusal | null => {
    let found = -1;
    eachGram(units, (high, low) => {
      if ((bits[(low >>> 3) & 0xfffff]! & (1 << (low & 7))) === 0) return false;
      found = places.get(keyOf(high, low)) ?? -1;
      return found >= 0;
    });
    if (found < 0) return null;
    const set = sets[bytes.readInt32LE(found + 8)]!;
    const record = bytes.readInt32LE(found + 12);
    return {
      reason: 'contaminated',
      detail: `says ${gramLength} ${kind} of ${set}, record ${record}, in a row`,
    };
  };
  // By both kinds: a page of one script may end with a question in another.
  return {
    refusal: (text, words) =>
      (kinds.includes('words') ? look(words.hashes, 'words') : null) ??
      (kinds.includes('characters') && hasUnspaced(text)
        ? look(lettersOf(text), 'characters')
        : null),
  };
}

/** The texts of one file of an evaluation set: every string of each record of JSON, else every line. */
export function evaluationTexts(set: string, text: string): EvaluationText[] {
  const records = /\.jsonl?(?:\.gz)?$/i.test(set) ? jsonRecords(text) : text.split('\n');
  const texts: EvaluationText[] = [];
  for (const [index, record] of records.entries())
    for (const said of stringsOf(record)) texts.push({ set, record: index + 1, text: said });
  return texts;
}

function jsonRecords(text: string): unknown[] {
  try {
    const whole: unknown = JSON.parse(text);
    return Array.isArray(whole) ? whole : [whole];
  } catch {
    return text.split('\n').flatMap((line) => {
      try {
        return line.trim() === '' ? [] : [JSON.parse(line) as unknown];
      } catch {
        return [line];
      }
    });
  }
}

function stringsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (value === null || typeof value !== 'object') return [];
  return Object.values(value).flatMap(stringsOf);
}
