/** Which source a document is of, and how often an epoch reads it. Pure, and the same everywhere. */
import type { MixedSource } from '../config/mixing.ts';
import { CorpusError } from './errors.ts';
import { byCodeUnits, digestOf } from './order.ts';

/** The number of the source that a document comes from, by the name that it carries; -1 where it is of none of them. */
export function sourceFinder(names: readonly string[]): (document: string) => number {
  // The longest name first: a folder may lie in another one that is a source too.
  const byLength = names
    .map((name, number) => ({ name, number, origin: originOf(name) }))
    .toSorted((a, b) => b.name.length - a.name.length || byCodeUnits(a.name, b.name));
  return (document) => {
    const named = byLength.find(({ name }) => isWithin(document, name));
    if (named !== undefined) return named.number;
    // The pages of a sitemap carry their own address.
    const origin = originOf(document);
    if (origin === null) return -1;
    return byLength.find((source) => source.origin === origin)?.number ?? -1;
  };
}

/** A name is whole: `./laws` is not where `./laws-of-1990/1.txt` lies. */
function isWithin(document: string, name: string): boolean {
  return document.startsWith(name) && /^([/!#?]|$)/.test(document.slice(name.length));
}

function originOf(name: string): string | null {
  return name.startsWith('https://') && URL.canParse(name) ? new URL(name).origin : null;
}

/** Throws where a source that something is wished of has nothing to give; tokens are those of all its documents. */
export function refuseEmpty(sources: readonly (MixedSource & { numTokens: number })[]): void {
  for (const { name, weight, repeat, numTokens } of sources) {
    if (numTokens > 0 || (weight === undefined && repeat === undefined)) continue;
    const wish = weight === undefined ? `repeat ${repeat}` : `weight ${weight}`;
    throw new CorpusError(
      `data.sources: ${name} has ${wish}, and no document of it is left to train on, expected at least one. ` +
        'See in the report what dropped them, correct the source, or remove it.',
    );
  }
}

/** Of many documents: their tokens, and the beginning of their hash by a salt, 64 bits. */
export interface RankedDocuments {
  numTokens: Uint32Array;
  high: Uint32Array;
  low: Uint32Array;
}

/** The beginning of the hash of a document. */
export function rankOf(salt: string, id: string): [high: number, low: number] {
  const digest = digestOf(salt, id);
  return [Number.parseInt(digest.slice(0, 8), 16), Number.parseInt(digest.slice(8, 16), 16)];
}

/** Documents are parted by so many first bits of their hashes before they are sorted. */
const partBits = 12;

/**
 * How often each document of a source is read: all of them as often as the whole part of `times` says, and once more
 * those that come first by their hash, until the tokens are reached to half a document.
 */
export function readingsOf({ numTokens, high, low }: RankedDocuments, times: number): Uint32Array {
  const always = Math.floor(times);
  const readings = new Uint32Array(numTokens.length).fill(always);
  const all = numTokens.reduce((sum, num) => sum + num, 0);
  const wanted = all * (times - always);
  if (wanted === 0) return readings;
  const ends = new Uint32Array(2 ** partBits + 1);
  for (const word of high) ends[(word >>> (32 - partBits)) + 1]! += 1;
  for (let part = 1; part < ends.length; part += 1) ends[part]! += ends[part - 1]!;
  const order = new Uint32Array(numTokens.length);
  const next = ends.slice();
  for (const [at, word] of high.entries()) order[next[word >>> (32 - partBits)]!++] = at;
  let read = 0;
  for (let part = 0; part + 1 < ends.length; part += 1) {
    const inPart = order.subarray(ends[part]!, ends[part + 1]!);
    inPart.sort((a, b) => high[a]! - high[b]! || low[a]! - low[b]! || a - b);
    for (const at of inPart) {
      const num = numTokens[at]!;
      // One at least: a source with a share is never left out.
      if (read + num / 2 > wanted && (always > 0 || read > 0)) return readings;
      readings[at]! += 1;
      read += num;
    }
  }
  return readings;
}
