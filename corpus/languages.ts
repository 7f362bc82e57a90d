/**
 * The main language of a text: by its letters where they tell it, else by what letters come together, as a library has
 * counted them. Traditional and simplified Chinese are told apart by the characters that only one of their everyday
 * standards knows: Big5 and GB 2312.
 */
import { findPackageJSON } from 'node:module';
import path from 'node:path';
import type { eld } from 'eld/small';
import { languagesOfScript, scriptNames, type SharedScript } from '../config/languages.ts';
import { endOfLetters, scriptOf, scripts, scriptShares, type Script } from './characters.ts';
import { openDetector } from './languages-table.ts';

/** Letters looked at in one text; more would not change the answer. */
const enough = 24_000;

const ofScript: Partial<Record<Script, string>> = {
  kana: 'ja',
  hangul: 'ko',
  thai: 'th',
  lao: 'lo',
  khmer: 'km',
  myanmar: 'my',
};

/** A language tag where it is known, else the name of the script; "no letters" where there are none. */
export function languageOf(text: string): string {
  const sample = sampleOf(text);
  const { main } = scriptShares(sample);
  if (main === 'none') return 'no letters';
  if (main === 'han') return chinese(sample);
  if (main === 'latin' && isEnglish(sample)) return 'en';
  return ofScript[main] ?? amongOthers(sample, main as SharedScript);
}

/** Whether a text in Cyrillic letters has those of Kazakh, Kyrgyz, Tatar and the like, which the library takes for Russian. */
function isTurkic(text: string): boolean {
  return (text.match(/[әғқңөұүһҗӣӯҳҷӊҥ]/gi)?.length ?? 0) * 100 > text.length;
}

/** Characters that the library looks at. */
const looksAt = 1000;

/** The language of a text in an alphabet that several share, where the library is sure of it; else the name of the script. */
function amongOthers(sample: string, script: SharedScript): string {
  if (script === 'cyrillic' && isTurkic(sample)) return scriptNames.cyrillic;
  const found = detector().detect(spread(sample));
  const known = languagesOfScript[script].has(found.language) && found.isReliable();
  return known ? found.language : scriptNames[script];
}

/** Beginning, middle and end of a text, as much as the library looks at. */
function spread(text: string): string {
  if (text.length <= looksAt) return text;
  const part = Math.floor(looksAt / 3) - 1;
  const middle = Math.floor((text.length - part) / 2);
  return `${text.slice(0, part)} ${text.slice(middle, middle + part)} ${text.slice(-part)}`;
}

let loaded: typeof eld | null = null;

/** Loaded when a text needs it. */
function detector(): typeof eld {
  loaded ??= openDetector(path.dirname(findPackageJSON('eld', import.meta.url)!));
  return loaded;
}

/** Beginning, middle and end: a preface in another language does not decide. */
function sampleOf(text: string): string {
  if (text.length <= enough) return text;
  const part = enough / 3;
  const middle = Math.floor((text.length - part) / 2);
  return `${text.slice(0, part)} ${text.slice(middle, middle + part)} ${text.slice(-part)}`;
}

function chinese(text: string): string {
  const marks = chineseMarks();
  const han = scripts.indexOf('han');
  let letters = 0;
  let traditional = 0;
  let simplified = 0;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (scriptOf[unit] !== han) continue;
    letters += 1;
    if (marks[unit] === 1) traditional += 1;
    else if (marks[unit] === 2) simplified += 1;
  }
  // A quotation or a rare character is no sign of the whole.
  if (traditional + simplified < Math.max(1, letters / 200)) return 'zh';
  if (traditional >= simplified * 2) return 'zh-Hant';
  if (simplified >= traditional * 2) return 'zh-Hans';
  return 'zh';
}

let marks: Uint8Array | null = null;

/** By code unit: 1 in Big5 alone, 2 in GB 2312 alone, 0 in both or neither. */
function chineseMarks(): Uint8Array {
  if (marks !== null) return marks;
  marks = new Uint8Array(0x10000);
  const big5 = decodeTable(
    'big5',
    [0xa4, 0xf9],
    [
      [0x40, 0x7e],
      [0xa1, 0xfe],
    ],
  );
  const gb2312 = decodeTable('gbk', [0xb0, 0xf7], [[0xa1, 0xfe]]);
  const han = scripts.indexOf('han');
  for (let unit = 0; unit < 0x10000; unit += 1) {
    if (scriptOf[unit] !== han || big5.has(unit) === gb2312.has(unit)) continue;
    marks[unit] = big5.has(unit) ? 1 : 2;
  }
  return marks;
}

type Range = [from: number, to: number];

/** Every code unit that two bytes of these ranges stand for. */
function decodeTable(encoding: string, first: Range, second: Range[]): Set<number> {
  const bytes: number[] = [];
  for (let lead = first[0]; lead <= first[1]; lead += 1) {
    for (const [from, to] of second)
      for (let trail = from; trail <= to; trail += 1) bytes.push(lead, trail);
  }
  const text = new TextDecoder(encoding).decode(Uint8Array.from(bytes));
  const units = new Set<number>();
  for (let index = 0; index < text.length; index += 1) units.add(text.charCodeAt(index));
  return units;
}

/** Words that English runs on and that no other language in Latin script shares in such numbers. */
const english = new Set(
  'the of and to that with was were is are be this which from by have has not for it as or shall'.split(
    ' ',
  ),
);
const longestEnglish = Math.max(...[...english].map(({ length }) => length));
const certain = new Set(['the', 'of', 'and', 'that', 'with', 'this', 'which', 'from']);

function isEnglish(text: string): boolean {
  const lower = text.toLowerCase();
  let words = 0;
  let hits = 0;
  const seen = new Set<string>();
  for (let index = 0; index < lower.length;) {
    const end = endOfLetters(lower, index);
    if (end === index) {
      index += 1;
      continue;
    }
    words += 1;
    const word = end - index > longestEnglish ? '' : lower.slice(index, end);
    if (english.has(word)) {
      hits += 1;
      if (certain.has(word)) seen.add(word);
    }
    index = end;
  }
  const sure = seen.has('the') || seen.has('and');
  return sure && hits >= words * 0.12 && seen.size >= Math.min(3, Math.ceil(words / 100));
}
