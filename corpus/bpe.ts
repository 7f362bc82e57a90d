/**
 * Encodes with a byte-level BPE tokenizer several times faster than the library it belongs to, to the same ids:
 * pre-tokens that were met before are looked up, new ones merged here. Only for tokenizers whose every part is
 * known to behave so; for the rest there is the library.
 */
import { z } from 'zod';
import { byteLetters } from '../config/token-bytes.ts';
import { maxLength, Merger } from './merges.ts';
import { endOfPretoken } from './pretokens.ts';

const nothing = z.null().optional();
const byteLevel = z.object({
  type: z.literal('ByteLevel'),
  add_prefix_space: z.literal(false),
  use_regex: z.literal(true).default(true),
});
/** Every field that changes ids must be here; what is not recognised is refused. */
const knownSchema = z.object({
  truncation: nothing,
  padding: nothing,
  normalizer: nothing,
  pre_tokenizer: byteLevel,
  post_processor: z.object({ type: z.literal('ByteLevel') }).nullish(),
  added_tokens: z.array(
    z.object({
      id: z.number().int(),
      content: z.string().min(1),
      single_word: z.literal(false),
      lstrip: z.literal(false),
      rstrip: z.literal(false),
    }),
  ),
  model: z.object({
    type: z.literal('BPE'),
    dropout: nothing,
    unk_token: nothing,
    continuing_subword_prefix: z.union([nothing, z.literal('')]),
    end_of_word_suffix: z.union([nothing, z.literal('')]),
    byte_fallback: z.literal(false).default(false),
    ignore_merges: z.literal(false).default(false),
    vocab: z.custom<Record<string, number>>((value) => typeof value === 'object'),
    merges: z.custom<(string | [string, string])[]>((value) => Array.isArray(value)),
  }),
});

/** The encoder of a tokenizer.json, or null where only the library knows what it does. */
export function bpeEncoder(tokenizerJson: string): BpeEncoder | null {
  const parsed = knownSchema.safeParse(JSON.parse(tokenizerJson));
  if (!parsed.success) return null;
  const { added_tokens, model } = parsed.data;
  const vocab = new Map(Object.entries(model.vocab));
  const merges: [number, number, number][] = [];
  for (const merge of model.merges) {
    const [left, right] = typeof merge === 'string' ? merge.split(' ') : merge;
    const ids = [vocab.get(left!), vocab.get(right!), vocab.get(`${left}${right}`)];
    if (ids.includes(undefined)) return null;
    merges.push(ids as [number, number, number]);
  }
  const byteIds = byteLetters().map((character) => vocab.get(character));
  if (byteIds.includes(undefined)) return null;
  return new BpeEncoder(
    Int32Array.from(byteIds as number[]),
    new Merger(merges),
    new Map(added_tokens.map(({ content, id }) => [content, id])),
  );
}

/** Longer pre-tokens are merged each time: they hardly come again. */
const longestKept = 48;
const maxKept = 1 << 19;
const numSlots = 1 << 20;

export class BpeEncoder {
  readonly #byteIds: Int32Array;
  readonly #merger: Merger;
  readonly #added: ReadonlyMap<string, number>;
  /** Of each slot: the hash, and the number of the kept pre-token plus one. */
  readonly #hashes = new Int32Array(numSlots);
  readonly #slots = new Int32Array(numSlots);
  /** Of each kept pre-token: where its units and its ids start; the next one's start is their end. */
  readonly #unitsAt = new Uint32Array(maxKept + 1);
  readonly #idsAt = new Uint32Array(maxKept + 1);
  #units = new Uint16Array(1 << 16);
  #ids = new Int32Array(1 << 16);
  #numKept = 0;
  #symbols = new Int32Array(1 << 10);
  #out = new Int32Array(1 << 12);

  constructor(byteIds: Int32Array, merger: Merger, added: ReadonlyMap<string, number>) {
    this.#byteIds = byteIds;
    this.#merger = merger;
    this.#added = added;
  }

  /** Whether this text is encoded here: one that spells an added token is the library's to split. */
  knows(text: string): boolean {
    for (const token of this.#added.keys()) if (text.includes(token)) return false;
    return text.isWellFormed();
  }

  /** The id of an added token. */
  idOf(token: string): number | null {
    return this.#added.get(token) ?? null;
  }

  /** The ids of a text that it knows, as a view that the next call overwrites; null where a word is longer than any. */
  encode(text: string): Int32Array | null {
    let count = 0;
    for (let start = 0; start < text.length;) {
      const end = endOfPretoken(text, start);
      const length = end - start;
      if (length * 3 >= maxLength) return null;
      if (count + length * 3 > this.#out.length) this.#out = grown(this.#out, count + length * 3);
      count =
        length > longestKept
          ? this.#merged(text, start, end, count)
          : this.#found(text, start, end, count);
      start = end;
    }
    return this.#out.subarray(0, count);
  }

  /** Appends the ids of a pre-token that may have been met before. */
  #found(text: string, start: number, end: number, count: number): number {
    let hash = 0x811c9dc5 | 0;
    for (let index = start; index < end; index += 1)
      hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
    hash ^= hash >>> 15;
    let slot = hash & (numSlots - 1);
    for (; this.#slots[slot] !== 0; slot = (slot + 1) & (numSlots - 1)) {
      if (this.#hashes[slot] !== hash) continue;
      const kept = this.#slots[slot]! - 1;
      if (!this.#isKept(kept, text, start, end)) continue;
      const to = this.#idsAt[kept + 1]!;
      let at = count;
      for (let from = this.#idsAt[kept]!; from < to; from += 1) this.#out[at++] = this.#ids[from]!;
      return at;
    }
    const after = this.#merged(text, start, end, count);
    if (this.#numKept === maxKept) this.#forget();
    else this.#keep(slot, hash, text, start, end, count, after);
    return after;
  }

  #isKept(kept: number, text: string, start: number, end: number): boolean {
    const from = this.#unitsAt[kept]!;
    if (this.#unitsAt[kept + 1]! - from !== end - start) return false;
    for (let index = start; index < end; index += 1)
      if (this.#units[from + index - start] !== text.charCodeAt(index)) return false;
    return true;
  }

  #keep(
    slot: number,
    hash: number,
    text: string,
    start: number,
    end: number,
    from: number,
    to: number,
  ): void {
    const kept = this.#numKept++;
    const unitsAt = this.#unitsAt[kept]!;
    const idsAt = this.#idsAt[kept]!;
    const unitsEnd = unitsAt + end - start;
    const idsEnd = idsAt + to - from;
    if (unitsEnd > this.#units.length) this.#units = grown(this.#units, unitsEnd);
    if (idsEnd > this.#ids.length) this.#ids = grown(this.#ids, idsEnd);
    for (let index = start; index < end; index += 1)
      this.#units[unitsAt + index - start] = text.charCodeAt(index);
    for (let index = from; index < to; index += 1)
      this.#ids[idsAt + index - from] = this.#out[index]!;
    this.#unitsAt[kept + 1] = unitsEnd;
    this.#idsAt[kept + 1] = idsEnd;
    this.#hashes[slot] = hash;
    this.#slots[slot] = kept + 1;
  }

  /** A full table starts anew: memory stays bounded, and the ids do not depend on it. */
  #forget(): void {
    this.#slots.fill(0);
    this.#numKept = 0;
  }

  /** Appends the ids of a pre-token by merging its bytes. */
  #merged(text: string, start: number, end: number, count: number): number {
    const most = (end - start) * 3;
    if (most > this.#symbols.length) this.#symbols = new Int32Array(most * 2);
    const symbols = this.#symbols;
    const byteIds = this.#byteIds;
    let length = 0;
    for (let index = start; index < end; index += 1) {
      let point = text.charCodeAt(index);
      if (point < 0x80) {
        symbols[length++] = byteIds[point]!;
        continue;
      }
      if (point < 0x800) {
        symbols[length++] = byteIds[0xc0 | (point >> 6)]!;
      } else {
        if (point >= 0xd800 && point <= 0xdbff) {
          index += 1;
          point = 0x10000 + ((point - 0xd800) << 10) + (text.charCodeAt(index) - 0xdc00);
          symbols[length++] = byteIds[0xf0 | (point >> 18)]!;
          symbols[length++] = byteIds[0x80 | ((point >> 12) & 0x3f)]!;
        } else {
          symbols[length++] = byteIds[0xe0 | (point >> 12)]!;
        }
        symbols[length++] = byteIds[0x80 | ((point >> 6) & 0x3f)]!;
      }
      symbols[length++] = byteIds[0x80 | (point & 0x3f)]!;
    }
    const left = this.#merger.merge(symbols, length);
    for (let at = 0; at < left; at += 1) this.#out[count + at] = symbols[at]!;
    return count + left;
  }
}

function grown<Numbers extends Int32Array | Uint16Array>(numbers: Numbers, least: number): Numbers {
  const larger = new (numbers.constructor as new (length: number) => Numbers)(
    Math.max(least, numbers.length * 2),
  );
  larger.set(numbers);
  return larger;
}
