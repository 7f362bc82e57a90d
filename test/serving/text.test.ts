import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { adoptTokenizer } from '../../corpus/given-tokenizer.ts';
import { openTextCodec, openTextStream, type TextCodec } from '../../serving/engine-text.ts';
import { madeTokenizer, piecesTokenizer, spacesPut, specialToken } from '../support/tokenizers.ts';

function run(parts: Uint8Array[], stop: string[]) {
  const stream = openTextStream(stop);
  const pieces: string[] = [];
  for (const part of parts) {
    pieces.push(stream.push(part));
    if (stream.stopped) break;
  }
  return { pieces: [...pieces, stream.end()], stopped: stream.stopped };
}

describe('the text of an answer', () => {
  test('a character split over tokens appears whole, and only then', () => {
    const bytes = Buffer.from('a😀é');
    const { pieces } = run(
      Array.from(bytes, (byte) => Uint8Array.of(byte)),
      [],
    );
    expect(pieces).toEqual(['a', '', '', '', '😀', '', 'é', '']);
  });

  test('bytes that never become a character end as replacement characters', () => {
    expect(run([Buffer.from('a'), Uint8Array.of(0xe4, 0xb8)], []).pieces.join('')).toBe('a\ufffd');
  });

  test('a byte order mark is text like any other', () => {
    expect(run([Buffer.from('\ufeffa')], []).pieces.join('')).toBe('\ufeffa');
  });

  test('a stop sequence over token borders ends the text before it, and nothing of it gets out', () => {
    const parts = ['one. ', 'Que', 'st', 'ion: x'].map((text) => Buffer.from(text));
    const { pieces, stopped } = run(parts, ['Question:', 'zzz']);
    expect(stopped).toBe(true);
    expect(pieces.join('')).toBe('one. ');
    expect(pieces).toEqual(['one. ', '', '', '', '']);
  });

  test('what only began like a stop sequence is released', () => {
    const parts = ['Que', 'll', 'Ques'].map((text) => Buffer.from(text));
    const { pieces, stopped } = run(parts, ['Question:']);
    expect(stopped).toBe(false);
    expect(pieces).toEqual(['', 'Quell', '', 'Ques']);
  });

  test('the earliest of several stop sequences counts', () => {
    expect(run([Buffer.from('a b c d')], ['d', 'c', ' c']).pieces.join('')).toBe('a b');
  });
});

async function codecOf(tokenizer: object) {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'temper-codec-'));
  try {
    const adopted = await adoptTokenizer(JSON.stringify(tokenizer), './t.json');
    await writeFile(path.join(folder, 'tokenizer.json'), adopted.tokenizer);
    return await openTextCodec(folder, {
      schemaVersion: 1,
      contextLength: 64,
      bosToken: '<|endoftext|>',
      eosTokens: ['<|end|>', '<|endoftext|>'],
      chat: false,
      maxNewTokens: 8,
      numLayers: 1,
      numKvHeads: 1,
      headDim: 16,
      vocabSize: adopted.vocabSize,
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

function textOf(codec: TextCodec, ids: number[]): string {
  const parts = ids.map((id, at) => codec.textBytes(id, ids[at - 1] ?? null));
  return Buffer.concat(parts).toString('utf8');
}

describe('the tokens of a vocabulary', () => {
  const text = 'the 統計\n of other 🙂';
  const made = madeTokenizer();
  const pieces = Object.keys(made.model.vocab).map((token): [string, number] => [
    token,
    -9 + token.length,
  ]);
  const unigram = { type: 'Unigram', unk_id: null, byte_fallback: false, vocab: pieces };

  test.each([
    ['byte pairs', made],
    ['a unigram model', { ...made, model: unigram }],
  ])('of %s are bytes, and a text comes back from them', async (_, tokenizer) => {
    const codec = await codecOf(tokenizer);
    const ids = await codec.encode({ kind: 'text', text });
    expect(ids[0]).toBe(258);
    expect(textOf(codec, ids)).toBe(text);
    expect(Buffer.from(codec.bytes(ids[1]!)).toString()).toBe('the');
    expect([codec.isEnd(258), codec.isEnd(261), codec.isEnd(257)]).toEqual([true, true, false]);
  });

  test.each(spacesPut)(
    'of pieces are bytes too, and the space put by %s is no part of a text or an answer',
    async (put) => {
      const codec = await codecOf(piecesTokenizer(put));
      expect(textOf(codec, await codec.encode({ kind: 'text', text }))).toBe(text);
      const turn = `<|user|>the 統計<|end|><|assistant|>a`;
      const ids = await codec.encode({ kind: 'text', text: turn });
      expect(textOf(codec, ids)).toBe('the 統計a');
      // In the middle of a text a space is one.
      const [the] = (await codec.encode({ kind: 'text', text: 'a the' })).slice(-1);
      expect(Buffer.from(codec.textBytes(the!, ids.at(-1)!)).toString()).toBe(' the');
    },
  );

  test('of pieces that were added are bytes as the others are', async () => {
    const pieces = piecesTokenizer('none');
    const spaces = { ...specialToken(pieces.model.vocab['▁▁']!, '▁▁'), special: false };
    const codec = await codecOf({ ...pieces, added_tokens: [...pieces.added_tokens, spaces] });
    const ids = await codec.encode({ kind: 'text', text: 'a  q' });
    expect(ids).toContain(spaces.id);
    expect(textOf(codec, ids)).toBe('a  q');
  });
});
