/** What finds one kind of personal data. */
import type { PersonalData } from '../../config/personal-data.ts';
import type { Place } from './places.ts';

export interface Detector {
  kind: PersonalData;
  place: Place;
  /** Whether a text is worth a search: cheaper than one, and true wherever there may be one. */
  mayBe?: (text: string) => boolean;
  /** Spans from the first to the last, none over another. The text is folded. */
  find: (text: string) => Iterable<Span>;
}
export type Span = [start: number, end: number];

/** Places that a pattern matches and a check accepts; the check gets the match and where it lies. */
export function* matches(
  text: string,
  pattern: RegExp,
  accepts: (match: string, start: number, text: string) => boolean = () => true,
): Generator<Span> {
  for (const match of text.matchAll(pattern)) {
    const [found] = match;
    if (accepts(found, match.index, text)) yield [match.index, match.index + found.length];
  }
}

/**
 * What stands before a number that is one: no part of another number, decimal commas and points included, no sum of money,
 * no path of an address. A comma parts the cells of a row, and a slash two numbers one after the other.
 */
export const before = String.raw`(?<![\w$€£¥+-]|[$€£¥] |\d\.|(?<!\d)\d{1,3},|(?<!(?<![\w.-])\(?(?!\d{4}-\d\d-\d\d\/)\d[\d ()-]{5,}|[^\w:/.%-])\/|:\/\/\S{0,200}\/)`;
/** What stands after it; of a comma, no decimals. */
export const after = String.raw`(?![\w%]|[.-]\d|,\d{1,2}(?![\d/]))`;

/** Whether the words just before a place, on its line or the one above, match. */
export function follows(text: string, start: number, words: RegExp, reach = 32): boolean {
  return words.test(text.slice(Math.max(0, start - reach), start));
}

export const digitsOf = (text: string): string => text.replaceAll(/\D/g, '');
