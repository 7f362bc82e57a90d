import { Tokenizer } from 'tokenizers';
import { expect, test } from 'vitest';
import { Chunker, shardBytes } from '../../corpus/chunk.ts';
import { digestOf } from '../../corpus/order.ts';
import { endOfText, Packer, tokenWidth } from '../../corpus/pack.ts';
import { piecesOf } from '../../corpus/pieces.ts';
import { heldOutOf, isHeldOut, sidesOf } from '../../corpus/split.ts';
import { chooseVocabSize } from '../../recipes/vocabulary.ts';
import { byteLevelTokenizer } from '../support/tokenizers.ts';
import { english, seeded } from './random.ts';

const random = seeded(5);
const ids = Array.from({ length: 3000 }, (_, index) =>
  digestOf('document', String(index)).slice(0, 32),
);

/** Of a first version. */
function heldOutIds(of: readonly string[], share: number): Set<string> {
  const { exceptions } = heldOutOf([
    sidesOf(
      of.map((id) => ({ id, bytes: 1 })),
      share,
    ),
  ]);
  return new Set(of.filter((id) => isHeldOut(id, share, exceptions)));
}

test('about the asked share is held out, and no document ever changes sides', () => {
  const few = heldOutIds(ids.slice(0, 1000), 0.05);
  const many = heldOutIds(ids, 0.05);
  expect(many.size).toBeGreaterThan(100);
  expect(many.size).toBeLessThan(200);
  for (const id of ids.slice(0, 1000)) expect(many.has(id)).toBe(few.has(id));
});

test('of two documents one is held out, of one none, and never all', () => {
  expect(heldOutIds(ids.slice(0, 1), 0.5).size).toBe(0);
  for (let at = 0; at < 100; at += 2) {
    expect(heldOutIds(ids.slice(at, at + 2), 0.0001).size).toBe(1);
    expect(heldOutIds(ids.slice(at, at + 2), 1).size).toBe(1);
  }
});

function shardsOf(documents: readonly { id: string; bytes: number }[]): string[] {
  const chunker = new Chunker();
  const shards: string[][] = [[]];
  for (const document of documents) {
    shards.at(-1)!.push(document.id);
    if (chunker.endsAfter(document)) shards.push([]);
  }
  return shards.filter((shard) => shard.length > 0).map((shard) => shard.join());
}

test('a document added in front changes the shards around it and no others', () => {
  const documents = ids.map((id) => ({ id, bytes: 1000 + Math.floor(random() * 20_000) }));
  const before = shardsOf(documents);
  const after = shardsOf([{ id: 'new', bytes: 5000 }, ...documents]);
  const known = new Set(before);
  const remade = after.filter((shard) => !known.has(shard)).length;
  expect(before.length).toBeGreaterThan(25);
  expect(remade).toBeLessThanOrEqual(5);
});

test('shards stay near their size, whatever the sizes of the documents', () => {
  for (const bytes of [10, 5000, 600_000, 3_000_000]) {
    const chunker = new Chunker();
    let filled = 0;
    for (const id of ids.slice(0, 1000)) {
      filled += bytes;
      expect(filled).toBeLessThanOrEqual(2 * shardBytes + bytes);
      if (chunker.endsAfter({ id, bytes })) filled = 0;
    }
  }
});

/** A byte-level BPE of a few merges, as the trainer would write it. */
function smallTokenizer(): Tokenizer {
  const specials = [endOfText, '<|user|>', '<|assistant|>', '<|end|>'];
  const letters = [...'abcdefghijklmnopqrstuvwxyz.Ġ'];
  const merges = [
    ['t', 'h'],
    ['th', 'e'],
    ['Ġ', 'the'],
    ['i', 'n'],
    ['Ġ', 'a'],
    ['e', 'r'],
  ] as const;
  const tokens = [...letters, ...merges.map((merge) => merge.join(''))];
  return Tokenizer.fromString(JSON.stringify(byteLevelTokenizer(specials, tokens, merges)));
}

test.each([2, 4] as const)(
  'packed tokens of %i bytes are those of Hugging Face, each document closed',
  async (width) => {
    const tokenizer = smallTokenizer();
    const texts = Array.from({ length: 20 }, (_, index) => english(seeded(index), 10 + index * 40));
    const packer = new Packer(width, tokenizer.tokenToId(endOfText)!);
    const encodings = await tokenizer.encodeBatch(texts, { addSpecialTokens: false });
    for (const [index, encoding] of encodings.entries()) packer.add(`d${index}`, encoding.getIds());
    const bytes = packer.bytes();
    expect(bytes.length).toBe(packer.numTokens * width);
    const read = (position: number) =>
      width === 2 ? bytes.readUInt16LE(position * 2) : bytes.readUInt32LE(position * 4);
    let position = 0;
    for (const [index, { id, first, num }] of packer.index.entries()) {
      expect([id, first]).toEqual([`d${index}`, position]);
      const ids = Array.from({ length: num }, (_, offset) => read(first + offset));
      expect(ids).toEqual(
        (await tokenizer.encode(texts[index]!, null, { addSpecialTokens: false })).getIds(),
      );
      expect(await tokenizer.decode(ids, false)).toBe(texts[index]);
      expect(read(first + num)).toBe(0);
      position += num + 1;
    }
    expect(position).toBe(packer.numTokens);
  },
);

test('tokens take two bytes as long as they fit', () => {
  expect([512, 65_536, 65_537].map(tokenWidth)).toEqual([2, 2, 4]);
});

test('the vocabulary grows with the text, in powers of two', () => {
  expect([0, 1e4, 1e5, 1e7, 1.06e7, 1e9, 1e13].map(chooseVocabSize)).toEqual([
    512, 512, 512, 4096, 4096, 32_768, 32_768,
  ]);
  let last = 0;
  for (let bytes = 1; bytes < 1e12; bytes *= 1.7) {
    const size = chooseVocabSize(bytes);
    expect(Number.isInteger(Math.log2(size))).toBe(true);
    expect(size).toBeGreaterThanOrEqual(last);
    last = size;
  }
});

test('a text cut into pieces has the tokens of the whole text', async () => {
  const tokenizer = smallTokenizer();
  const spaces = [' ', '  ', '\n', ' \n ', '. ', "'s ", ', "', ' - '];
  for (let round = 0; round < 20; round += 1) {
    const words = english(random, 4000).split(' ');
    const text = words
      .map((word) => word + (random() < 0.8 ? ' ' : spaces[Math.floor(random() * spaces.length)]))
      .join('');
    const pieces = piecesOf(text);
    expect(pieces.length).toBeGreaterThan(3);
    expect(pieces.join('')).toBe(text);
    const parts = await tokenizer.encodeBatch(pieces, { addSpecialTokens: false });
    const whole = await tokenizer.encode(text, null, { addSpecialTokens: false });
    expect(parts.flatMap((part) => part.getIds())).toEqual(whole.getIds());
  }
});

test('a text without spaces is one piece', () => {
  expect(piecesOf('法'.repeat(10_000))).toHaveLength(1);
  expect(piecesOf('')).toEqual(['']);
});
