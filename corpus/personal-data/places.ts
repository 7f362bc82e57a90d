/** Where a text can hold personal data at all: around its numbers, its at signs and its tokens. Most of a text is none of these. */
import type { Span } from './detector.ts';

export interface Places {
  /** Around five digits or more with at most three spaces, brackets, dots or dashes between two of them. */
  number: Span[];
  /** Around each at sign, spelt or not. */
  at: Span[];
  /** The whole text where one of its words is long and holds letters and digits, or is the name of a key; else none. */
  token: Span[];
  text: Span[];
}
export type Place = keyof Places;

/** Numbers are named by the words before them, and an identity may begin with letters. */
const reach = 64;

export function placesIn(text: string): Places {
  const whole: Span[] = [[0, text.length]];
  const number: Span[] = [];
  let token = text.includes('PRIVATE KEY') || /AKIA|hf_[A-Za-z]{34}/.test(text);
  let start = -1;
  let end = -1;
  let numDigits = 0;
  const digits = /\d+/g;
  for (let match = digits.exec(text); match !== null; match = digits.exec(text)) {
    const at = match.index;
    const until = digits.lastIndex;
    if (end >= 0 && at - end <= 3 && joins(text, end, at)) {
      numDigits += until - at;
    } else {
      if (numDigits >= 5) add(number, start - reach, end + reach, text.length);
      start = at;
      numDigits = until - at;
    }
    end = until;
    if (!token && (isLetter(text, at - 1) || isLetter(text, until)))
      token = isToken(text, at, until);
  }
  if (numDigits >= 5) add(number, start - reach, end + reach, text.length);
  return { number, at: atSigns(text), token: token ? whole : [], text: whole };
}

function add(spans: Span[], from: number, to: number, length: number): void {
  const span: Span = [Math.max(0, from), Math.min(length, to)];
  const last = spans.at(-1);
  if (last !== undefined && span[0] <= last[1]) last[1] = span[1];
  else spans.push(span);
}

const joiners = new Set([...' ().+-'].map((character) => character.charCodeAt(0)));

function joins(text: string, from: number, to: number): boolean {
  for (let index = from; index < to; index += 1)
    if (!joiners.has(text.charCodeAt(index))) return false;
  return true;
}

/** A letter, an underscore or a sign of base64. */
function isLetter(text: string, index: number): boolean {
  const unit = text.charCodeAt(index) | 32;
  return (unit >= 0x61 && unit <= 0x7a) || unit === 0x7f || unit === 0x2b || unit === 0x2f;
}

/** Whether the word around a place, up to the next space, has twelve characters. */
function isToken(text: string, from: number, to: number): boolean {
  let start = from;
  let end = to;
  while (start > 0 && to - start < 12 && isVisible(text, start - 1)) start -= 1;
  while (end < text.length && end - start < 12 && isVisible(text, end)) end += 1;
  return end - start >= 12;
}

function isVisible(text: string, index: number): boolean {
  const unit = text.charCodeAt(index);
  return unit > 0x20 && unit < 0x7f;
}

function atSigns(text: string): Span[] {
  if (text.includes('(at)') || text.includes('[at]') || text.includes('(@)'))
    return [[0, text.length]];
  const spans: Span[] = [];
  // What stands before the sign has 64 characters at most, what follows it 255.
  for (let at = text.indexOf('@'); at >= 0; at = text.indexOf('@', at + 1))
    add(spans, at - reach - 2, at + 300, text.length);
  return spans;
}
