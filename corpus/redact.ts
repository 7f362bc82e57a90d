/**
 * Personal data become typed placeholders. Money, years and dates must survive, so a number needs the
 * shape of its kind, its check digits, or the word that names it.
 */
import { certainKinds, type PersonalData } from '../config/personal-data.ts';
import { email, ip, phone } from './personal-data/contacts.ts';
import type { Detector, Span } from './personal-data/detector.ts';
import { folded } from './personal-data/folded.ts';
import {
  cnId,
  twCompany,
  twId,
  twResident,
  ukNhs,
  ukNino,
  usSsn,
} from './personal-data/identities.ts';
import { card, iban } from './personal-data/numbers.ts';
import { address, name } from './personal-data/people.ts';
import { placesIn, type Places } from './personal-data/places.ts';
import { secret } from './personal-data/secrets.ts';

/** In the order in which they are looked for: what is surer, or holds the other, first. */
const detectors: readonly Detector[] = [
  secret,
  email,
  iban,
  cnId,
  card,
  twId,
  twResident,
  twCompany,
  usSsn,
  ukNino,
  ukNhs,
  ip,
  phone,
  address,
  name,
];
/** What stands where something of a kind stood. */
export const placeholder = (kind: PersonalData): string => `<${kind.toUpperCase()}>`;

/** Joiners, breaks and marks without width, inside a number. */
const unseen = /(?<=[\dA-Za-z])[\u00AD\u200B-\u200D\u2060\uFEFF]+(?=\d)/g;

/** Replaces personal data and counts what it replaced. A redacted text has nothing left to redact. */
export function redact(
  text: string,
  kinds: readonly PersonalData[] = certainKinds,
): { text: string; counts: Partial<Record<PersonalData, number>> } {
  const counts: Partial<Record<PersonalData, number>> = {};
  // What nobody sees would hide a number from its pattern.
  let result = text.replaceAll(unseen, '');
  let plain = folded(result);
  let places = placesIn(plain);
  // What was replaced no longer hides what stood beside it, so a text is gone through until nothing is found.
  for (let numFound = 1; numFound > 0;) {
    numFound = 0;
    for (const detector of detectors) {
      const { kind } = detector;
      if (!kinds.includes(kind)) continue;
      const found = search(detector, plain, places);
      if (found.length === 0) continue;
      numFound += found.length;
      counts[kind] = (counts[kind] ?? 0) + found.length;
      const stands = placeholder(kind);
      result = replaced(result, found, stands);
      plain = replaced(plain, found, stands);
      places = placesIn(plain);
    }
  }
  return { text: result, counts };
}

/** Where personal data lie in a text, for measuring. */
export function locate(
  text: string,
  kinds: readonly PersonalData[] = certainKinds,
): { kind: PersonalData; start: number; end: number }[] {
  const plain = folded(text);
  const places = placesIn(plain);
  const all: { kind: PersonalData; start: number; end: number }[] = [];
  for (const detector of detectors) {
    if (!kinds.includes(detector.kind)) continue;
    for (const [start, end] of search(detector, plain, places)) {
      const taken = all.some((other) => start < other.end && other.start < end);
      if (!taken) all.push({ kind: detector.kind, start, end });
    }
  }
  return all.toSorted((a, b) => a.start - b.start);
}

function search({ place, mayBe, find }: Detector, text: string, places: Places): Span[] {
  const found: Span[] = [];
  for (const [from, to] of places[place]) {
    const part = from === 0 && to === text.length ? text : text.slice(from, to);
    if (mayBe?.(part) === false) continue;
    for (const [start, end] of find(part)) found.push([from + start, from + end]);
  }
  return found;
}

function replaced(text: string, spans: readonly Span[], stands: string): string {
  let result = '';
  let from = 0;
  for (const [start, end] of spans) {
    result += text.slice(from, start) + stands;
    from = end;
  }
  return result + text.slice(from);
}
