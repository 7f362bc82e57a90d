/** How well a tokenizer packs the text of each language: what its tokens stand for, beside those of another one. Pure. */
import type { Compression } from '../config/compression.ts';
import { scriptShares, unspaced } from './characters.ts';
import { languageOf } from './languages.ts';
import { byCodeUnits } from './order.ts';
import { wordsOf } from './words.ts';

/** The ids of a text. */
export type Encode = (text: string) => ArrayLike<number> | Promise<ArrayLike<number>>;

/** What is known of the texts of a language. */
class Tally {
  numDocuments = 0;
  bytes = 0;
  characters = 0;
  /** Null where no spaces part them. */
  words: number | null = 0;
  readonly own = new Map<number, number>();
  readonly other = new Map<number, number>();
}

/** Measures texts, language by language, those with most text first. `onText` is called after each. */
export async function measureCompression(
  texts: readonly string[],
  encode: Encode,
  reference: { name: string; encode: Encode } | null,
  onText: (numTexts: number) => void = () => {},
): Promise<Compression> {
  const tallies = new Map<string, Tally>();
  for (const [index, text] of texts.entries()) {
    const language = languageOf(text);
    const tally = tallies.get(language) ?? new Tally();
    tallies.set(language, tally);
    tally.numDocuments += 1;
    tally.bytes += Buffer.byteLength(text);
    for (const _ of text) tally.characters += 1;
    if (unspaced.has(scriptShares(text).main)) tally.words = null;
    else if (tally.words !== null) tally.words += wordsOf(text).hashes.length;
    count(await encode(text), tally.own);
    if (reference !== null) count(await reference.encode(text), tally.other);
    onText(index + 1);
  }
  return {
    reference: reference?.name ?? null,
    languages: [...tallies]
      .toSorted(([a, one], [b, two]) => two.bytes - one.bytes || byCodeUnits(a, b))
      .map(([language, { numDocuments, bytes, characters, words, own, other }]) => ({
        language,
        numDocuments,
        bytes,
        characters,
        words,
        ...spentOf(own),
        ...(reference !== null && { reference: spentOf(other) }),
      })),
  };
}

function count(ids: ArrayLike<number>, into: Map<number, number>): void {
  for (let at = 0; at < ids.length; at += 1) {
    const id = ids[at]!;
    into.set(id, (into.get(id) ?? 0) + 1);
  }
}

/** Tokens, and the entropy of which one comes: what a code for single tokens would take of each. */
function spentOf(counts: ReadonlyMap<number, number>): { tokens: number; bitsPerToken: number } {
  const often = [...counts.values()].toSorted((a, b) => a - b);
  const tokens = often.reduce((sum, number) => sum + number, 0);
  const bits = often.reduce((sum, number) => sum - number * Math.log2(number / tokens), 0);
  return { tokens, bitsPerToken: Number((bits / Math.max(1, tokens)).toFixed(3)) };
}
