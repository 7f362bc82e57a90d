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

/** Hashes in a row; of millions of documents they take longer than a heartbeat may. */
export const hashesAtOnce = 10_000;

/**
 * How often each document of a source is read: all of them as often as the whole part of `times` says, and once more
 * those that come first by their hash, until the tokens are reached to half a document. `breathe` is awaited between.
 */
export async function readingsOf(
  documents: readonly { id: string; numTokens: number }[],
  times: number,
  salt: string,
  breathe: () => Promise<void> = async () => {},
): Promise<Uint32Array> {
  const always = Math.floor(times);
  const readings = new Uint32Array(documents.length).fill(always);
  const all = documents.reduce((sum, { numTokens }) => sum + numTokens, 0);
  const wanted = all * (times - always);
  if (wanted === 0) return readings;
  const ranked: { at: number; rank: string }[] = [];
  for (const [at, { id }] of documents.entries()) {
    ranked.push({ at, rank: digestOf(salt, id) });
    if (ranked.length % hashesAtOnce === 0) await breathe();
  }
  const byHash = ranked.toSorted((a, b) => byCodeUnits(a.rank, b.rank));
  let read = 0;
  for (const { at } of byHash) {
    const { numTokens } = documents[at]!;
    // One at least: a source with a share is never left out.
    if (read + numTokens / 2 > wanted && (always > 0 || read > 0)) break;
    readings[at]! += 1;
    read += numTokens;
  }
  return readings;
}
