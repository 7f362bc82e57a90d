import { Tokenizer } from 'tokenizers';
import { expect, test } from 'vitest';
import { bpeEncoder } from '../../corpus/bpe.ts';
import { adoptTokenizer } from '../../corpus/given-tokenizer.ts';
import { cutsWords } from '../../corpus/pieces.ts';
import { madeTokenizer, piecesTokenizer, spacesPut, specialToken } from '../support/tokenizers.ts';
import { seeded } from './random.ts';

type Made = ReturnType<typeof madeTokenizer>;

async function adopted(change: (made: Made) => void = () => {}) {
  const made = madeTokenizer();
  change(made);
  return adoptTokenizer(JSON.stringify(made), './t.json');
}

test('the special tokens that a tokenizer lacks come behind its own, which keep their ids', async () => {
  const { tokenizer: json, vocabSize } = await adopted();
  const tokenizer = Tokenizer.fromString(json);
  expect(vocabSize).toBe(262);
  expect(tokenizer.tokenToId('the')).toBe(257);
  const specials = ['<|endoftext|>', '<|user|>', '<|assistant|>', '<|end|>'];
  expect(specials.map((token) => tokenizer.tokenToId(token))).toEqual([258, 259, 260, 261]);
  const encoding = await tokenizer.encode('the<|end|>', null, { addSpecialTokens: false });
  expect(encoding.getIds()).toEqual([257, 261]);
});

test('tokens that are there are not added again, and ChatML stands in for our form of chat', async () => {
  const { vocabSize, tokenizer } = await adopted((made) => {
    made.model.vocab['<|endoftext|>'] = 258;
    made.added_tokens = [specialToken(259, '<|im_start|>'), specialToken(260, '<|im_end|>')];
  });
  expect(vocabSize).toBe(261);
  expect(Tokenizer.fromString(tokenizer).tokenToId('<|endoftext|>')).toBe(258);
  expect(Tokenizer.fromString(tokenizer).tokenToId('<|user|>')).toBeNull();
});

test('a long text is neither cut nor padded, and the same file gives the same bytes', async () => {
  const one = await adopted();
  const encoding = await Tokenizer.fromString(one.tokenizer).encode('the '.repeat(40));
  expect(encoding.getLength()).toBe(80);
  expect(await adopted()).toEqual(one);
});

test('a vocabulary is of any size', async () => {
  const { vocabSize } = await adopted(({ model: { vocab } }) => {
    for (let id = 258; id < 250_000; id += 1) vocab[`word${id}`] = id;
  });
  expect(vocabSize).toBe(250_004);
});

test('what is encoded here has the ids of the library', async () => {
  const { tokenizer: json } = await adopted();
  const encoder = bpeEncoder(json)!;
  const text = 'the other 統計\n  thee 12';
  const encoding = await Tokenizer.fromString(json).encode(text, null, { addSpecialTokens: false });
  expect([...encoder.encode(text)!]).toEqual(encoding.getIds());
});

test.each<[string, (made: Made) => void, string]>([
  ['no decoder', (made) => (made.decoder = null), 'found the decoder none, expected ByteLevel'],
  [
    'a decoder of words',
    (made) => (made.decoder = { type: 'WordPiece', prefix: '##', cleanup: true }),
    'found the decoder WordPiece, expected ByteLevel',
  ],
  ['dropout', (made) => (made.model.dropout = 0.1), 'found a dropout of 0.1, expected none'],
  [
    'a missing byte',
    (made) => {
      const { q: id, ...vocab } = made.model.vocab;
      made.model.vocab = { ...vocab, q2: id! };
    },
    'found 1 bytes without a token, expected all 256',
  ],
  ['a gap', (made) => (made.model.vocab['zz'] = 300), 'found 259 ids up to 300'],
  ['lower case', (made) => (made.normalizer = { type: 'Lowercase' }), 'found that "The year 1945'],
  [
    'a space put before each text',
    (made) => (made.pre_tokenizer = { ...made.pre_tokenizer, add_prefix_space: true }),
    'expected each text to come back as it was',
  ],
  ['an unknown normalizer', (made) => (made.normalizer = { type: 'Magic' }), 'cannot load'],
])('a tokenizer with %s is refused', async (_, change, message) => {
  await expect(adopted(change)).rejects.toThrow(message);
});

type Pieces = ReturnType<typeof piecesTokenizer>;

/** Texts of letters that are pieces and of letters that are bytes, of spaces and of what is spelt like a token. */
function textsOfManyScripts(): string[] {
  const random = seeded(5);
  const alphabets = [
    'the tha a quick 0123456789 .,;!?-<0x41>',
    '統計資料民國年，臺灣的簡体字。',
    'москва Ελλάδα שלום سلام हिन्दी ไทย',
    '한글ありがとうカタカナ',
    ' \n\t  a🙂👩‍👩‍👧𠮷é́àñ½²\u0001\u00a0\u3000',
  ].map((alphabet) => Array.from(alphabet));
  return Array.from({ length: 400 }, (_, round) => {
    const alphabet = alphabets[round % alphabets.length]!;
    const length = 1 + Math.floor(random() ** 2 * 120);
    return Array.from({ length }, () => alphabet[Math.floor(random() * alphabet.length)]!).join('');
  });
}

test.each(spacesPut)(
  'pieces with byte fallback, their space put by %s, keep their ids, and each text comes back',
  async (put) => {
    const made = JSON.stringify(piecesTokenizer(put));
    const given = Tokenizer.fromString(made);
    const { tokenizer: json, vocabSize } = await adoptTokenizer(made, './t.json');
    expect(vocabSize).toBe(given.getVocabSize(true) + 4);
    expect(bpeEncoder(json)).toBeNull();
    const tokenizer = Tokenizer.fromString(json);
    // Where the pre-tokenizer puts it, a space that stands there already is taken for it.
    const texts = textsOfManyScripts().map((text) =>
      put === 'pre-tokenizer' ? text.trimStart() : text,
    );
    const own = await given.encodeBatch(texts, { addSpecialTokens: false });
    const adopted = await tokenizer.encodeBatch(texts);
    for (const [at, text] of texts.entries()) {
      const ids = adopted[at]!.getIds();
      expect({ text, ids }).toEqual({ text, ids: own[at]!.getIds() });
      expect(await tokenizer.decode(ids, false)).toBe(text);
    }
  },
);

test.each<[string, (made: Pieces) => void, string]>([
  [
    'a decoder of other steps',
    (made) => made.decoder.decoders.pop(),
    'expected each text to come back as it was',
  ],
  [
    'a decoder that takes two spaces away',
    (made) => (made.decoder.decoders[3] = { type: 'Strip', content: ' ', start: 2, stop: 0 }),
    'found the decoder Sequence of Replace, ByteFallback, Fuse, Strip, expected ByteLevel, or that of SentencePiece',
  ],
  [
    'no byte fallback',
    (made) => (made.model.byte_fallback = false),
    'found a model without byte_fallback, expected byte_fallback: else',
  ],
  [
    'a missing byte',
    ({ model }) => {
      const { '<0x0A>': id, ...vocab } = model.vocab;
      model.vocab = { ...vocab, zz: id! };
    },
    'found 1 bytes without a token, expected all 256',
  ],
  [
    'letters put into another form',
    (made) =>
      (made.normalizer = {
        type: 'Sequence',
        normalizers: [{ type: 'NFKC' }, made.normalizer],
      }),
    'comes back as',
  ],
])('pieces with %s are refused', async (_, change, message) => {
  const made = piecesTokenizer();
  change(made);
  await expect(adoptTokenizer(JSON.stringify(made), './t.json')).rejects.toThrow(message);
});

test('a file that is no tokenizer is refused with what to do', async () => {
  for (const text of ['{"a": 1}', 'not JSON', '[]']) {
    await expect(adoptTokenizer(text, './vocab.json')).rejects.toThrow(
      'tokenizer.from: ./vocab.json: found no tokenizer in it, expected the tokenizer.json of Hugging Face’s tokenizers. A vocab.json',
    );
  }
});

test('only where words are cut as GPT-2 cuts them is a long text encoded in pieces', () => {
  const made = madeTokenizer();
  expect(cutsWords(JSON.stringify(made))).toBe(true);
  expect(cutsWords(JSON.stringify({ ...made, normalizer: { type: 'NFC' } }))).toBe(false);
  const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: false };
  expect(cutsWords(JSON.stringify({ ...made, pre_tokenizer: metaspace }))).toBe(false);
  const digits = { type: 'Digits', individual_digits: true };
  const sequence = { type: 'Sequence', pretokenizers: [digits, made.pre_tokenizer] };
  expect(cutsWords(JSON.stringify({ ...made, pre_tokenizer: sequence }))).toBe(true);
});
