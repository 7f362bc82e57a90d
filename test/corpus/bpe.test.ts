/** Encoding without the tokenizers library, held against the library. */
import { byteLevelPreTokenizer, Tokenizer } from 'tokenizers';
import { expect, test } from 'vitest';
import { byteLetters } from '../../config/token-bytes.ts';
import { bpeEncoder } from '../../corpus/bpe.ts';
import { endOfPretoken } from '../../corpus/pretokens.ts';
import { byteLevelTokenizer } from '../support/tokenizers.ts';
import { english, seeded } from './random.ts';

const letters = byteLetters();
const sample =
  "The cat sat on the mat, and the dog's 1234 bones weren't there; we'll see. " +
  '中華民國憲法第一條規定，中華民國基於三民主義，為民有民治民享之民主共和國。'.repeat(2) +
  'Ἀρχὴ naïve café 🙂🙂 здравствуйте  \n\n\tend';
const json = tokenizerOf(sample, 400);
const encoder = bpeEncoder(json)!;
const library = Tokenizer.fromString(json);

async function expectSame(texts: readonly string[]): Promise<void> {
  const wanted = await library.encodeBatch([...texts], { addSpecialTokens: false });
  for (const [index, text] of texts.entries()) {
    expect(encoder.knows(text)).toBe(true);
    expect({ text, ids: Array.from(encoder.encode(text)!) }).toEqual({
      text,
      ids: wanted[index]!.getIds(),
    });
  }
}

test('texts in many scripts, words met before and long clauses get the ids of the library', async () => {
  const random = seeded(3);
  const alphabets = [
    'abcdefgh tone THE 0123456789 .,;!?-\'"',
    '中華民國憲法規定基於三民主義為有治享之主共和，。、「」',
    "'s 't 're 've 'm 'll 'd 'S ' '' x",
    ' \t\n\r\u0085\u00a0\u2003\u3000\u2028\ufeff\u200b\u180eab1!',
    '🙂👩‍👩‍👧‍👦🇹🇼é́àñ한글ひらがなカタカナкириллицаعربيहिन्दीไทย𠮷𝟘𝔸١٢Ⅷ½²',
    '\u0000\u0001\u007f\u0300\u20e3\ufffd\u{1f3fb}\u{e0100}a 1',
  ].map((alphabet) => Array.from(alphabet));
  const texts = Array.from({ length: 1500 }, (_, round) => {
    const alphabet = alphabets[round % alphabets.length]!;
    const length = Math.floor(random() ** 3 * 300);
    return Array.from({ length }, () => alphabet[Math.floor(random() * alphabet.length)]!).join('');
  });
  await expectSame(['', ' ', '  ', '\n', 'a', "'", ...texts, english(random, 20_000), sample]);
});

test('a word of many thousand characters is merged as the library does', async () => {
  const random = seeded(4);
  const word = Array.from(
    { length: 5000 },
    () => 'theancd中華民國'[Math.floor(random() * 11)],
  ).join('');
  await expectSame([word, `${word} ${word}`]);
});

test('every kind of character is split as the library splits it', () => {
  const reference = byteLevelPreTokenizer(false, true);
  const step = 5;
  for (let first = 0; first < 0x34000; first += step) {
    if (first >= 0xd800 && first <= 0xdfff) continue;
    const character = String.fromCodePoint(first);
    const text = `a${character}1${character} ${character}!${character}${character}  ${character}`;
    const wanted = reference.preTokenizeString(text).map(([piece]) => piece);
    const found = pretokensOf(text).map((piece) =>
      Array.from(Buffer.from(piece), (byte) => letters[byte]!).join(''),
    );
    if (found.join('|') !== wanted.join('|'))
      expect({ point: first.toString(16), found }).toEqual({
        point: first.toString(16),
        found: wanted,
      });
  }
});

test('a text that spells a special token, or half a character, is left to the library', () => {
  expect(encoder.knows('before <|endoftext|> after')).toBe(false);
  expect(encoder.knows('\ud83d alone')).toBe(false);
  expect(encoder.idOf('<|endoftext|>')).toBe(library.tokenToId('<|endoftext|>'));
  expect(encoder.idOf('the')).toBeNull();
});

test.each([
  ['another pre-tokenizer', { pre_tokenizer: { type: 'Whitespace' } }],
  ['a space put in front', { pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true } }],
  [
    'no pattern',
    { pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: false } },
  ],
  ['a normalizer', { normalizer: { type: 'NFC' } }],
  ['truncation', { truncation: { max_length: 8 } }],
  ['a template', { post_processor: { type: 'TemplateProcessing' } }],
  ['another model', { model: { type: 'Unigram', vocab: [] } }],
])('a tokenizer with %s is left to the library', (_, change) => {
  expect(bpeEncoder(JSON.stringify({ ...(JSON.parse(json) as object), ...change }))).toBeNull();
});

test.each([
  ['dropout', { dropout: 0.1 }],
  ['whole words first', { ignore_merges: true }],
  ['a suffix', { end_of_word_suffix: '</w>' }],
  ['an unknown token', { unk_token: '<unk>' }],
  ['a merge of unknown parts', { merges: [['a', 'nowhere']] }],
  ['a missing byte', { vocab: { a: 0 }, merges: [] }],
])('a model with %s is left to the library', (_, change) => {
  const whole = JSON.parse(json) as { model: object };
  const changed = { ...whole, model: { ...whole.model, ...change } };
  expect(bpeEncoder(JSON.stringify(changed))).toBeNull();
});

function pretokensOf(text: string): string[] {
  const pieces: string[] = [];
  for (let start = 0; start < text.length;) {
    const end = endOfPretoken(text, start);
    pieces.push(text.slice(start, end));
    start = end;
  }
  return pieces;
}

/** A byte-level BPE trained on a text: the commonest pair is merged, again and again. */
function tokenizerOf(text: string, numMerges: number): string {
  const words = pretokensOf(text).map((piece) =>
    Array.from(Buffer.from(piece), (byte) => letters[byte]!),
  );
  const specials = ['<|endoftext|>'];
  const vocab = [...letters];
  const merges: [string, string][] = [];
  while (merges.length < numMerges) {
    const counts = new Map<string, number>();
    for (const word of words)
      for (let at = 0; at + 1 < word.length; at += 1) {
        const pair = `${word[at]} ${word[at + 1]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    const best = [...counts].toSorted(([a, one], [b, two]) => two - one || (a < b ? -1 : 1))[0];
    if (best === undefined) break;
    const [left, right] = best[0].split(' ') as [string, string];
    merges.push([left, right]);
    if (!vocab.includes(left + right)) vocab.push(left + right);
    for (const word of words)
      for (let at = 0; at + 1 < word.length; at += 1)
        if (word[at] === left && word[at + 1] === right) word.splice(at, 2, left + right);
  }
  return JSON.stringify(byteLevelTokenizer(specials, vocab, merges));
}
