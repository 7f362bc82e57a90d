import { Tokenizer } from 'tokenizers';
import { expect, test } from 'vitest';
import { measureCompression } from '../../corpus/compression.ts';
import { adoptTokenizer } from '../../corpus/given-tokenizer.ts';
import { madeTokenizer } from '../support/tokenizers.ts';

const letters = (text: string) => Array.from(text, (letter) => letter.codePointAt(0)!);

test('each language is measured on its own, those with most text first', async () => {
  const english = 'If there is no applicable act for a civil case, the case shall be decided.';
  const chinese = '關於一定之數量，同時以文字及號碼表示者，應以文字為準。'.repeat(4);
  const { reference, languages } = await measureCompression(
    [english, chinese, `${english} And so on.`],
    letters,
    null,
  );
  expect(reference).toBeNull();
  expect(languages.map(({ language }) => language)).toEqual(['zh-Hant', 'en']);
  expect(languages[0]).toMatchObject({
    numDocuments: 1,
    bytes: 27 * 3 * 4,
    characters: 27 * 4,
    words: null,
    tokens: 27 * 4,
  });
  expect(languages[1]).toMatchObject({
    numDocuments: 2,
    characters: 2 * english.length + 11,
    words: 15 + 18,
  });
  expect(languages[1]).not.toHaveProperty('reference');
});

test('whoever measures long is heard of after each text', async () => {
  const heard: number[] = [];
  await measureCompression(['one', 'two', '三'], letters, null, (done) => heard.push(done));
  expect(heard).toEqual([1, 2, 3]);
});

test('bits a token are the entropy of the tokens', async () => {
  const measured = async (ids: number[]) => {
    const { languages } = await measureCompression(['12345678'], () => ids, null);
    return languages[0]!.bitsPerToken;
  };
  expect(await measured([7, 7, 7, 7])).toBe(0);
  expect(await measured([1, 2, 3, 4])).toBe(2);
  expect(await measured([1, 1, 1, 2])).toBeCloseTo(0.811, 3);
});

test('a tokenizer with merges spends fewer tokens than its bytes', async () => {
  const { tokenizer: json } = await adoptTokenizer(JSON.stringify(madeTokenizer()), 't');
  const library = Tokenizer.fromString(json);
  const own = async (text: string) =>
    (await library.encode(text, null, { addSpecialTokens: false })).getIds();
  const bytes = (text: string) => Buffer.from(text);
  const text = 'the author of the act, and the other, 統計';
  const { languages } = await measureCompression([text], own, { name: 'bytes', encode: bytes });
  const saved = 2 * (text.match(/the/g)!.length - 0) + (text.match(/th(?!e)/g)?.length ?? 0);
  expect(languages[0]!.reference!.tokens).toBe(Buffer.byteLength(text));
  expect(languages[0]!.tokens).toBe(Buffer.byteLength(text) - saved);
});
