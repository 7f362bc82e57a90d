/** Small tokenizer.json files, as the tokenizers library writes them. */
import { byteLetters } from '../../config/token-bytes.ts';
import { endOfText } from '../../corpus/pack.ts';

const byteLevel = {
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: true,
};

/** A token that is found whole in a text, whatever stands beside it. */
export function specialToken(id: number, content: string) {
  return {
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  };
}

/** Byte-level BPE: the special tokens, the others behind them, and the merges. */
export function byteLevelTokenizer(
  specials: readonly string[],
  tokens: readonly string[],
  merges: readonly (readonly [string, string])[],
) {
  return {
    version: '1.0',
    truncation: null as object | null,
    padding: null,
    added_tokens: specials.map((content, id): object => specialToken(id, content)),
    normalizer: null as object | null,
    pre_tokenizer: byteLevel as object,
    post_processor: null as object | null,
    decoder: byteLevel as object | null,
    model: {
      type: 'BPE',
      dropout: null as number | null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: idsOf([...specials, ...tokens]),
      merges: merges as readonly (readonly [string, string])[],
    },
  };
}

/** As somebody else might have made it: every byte, two merges, no special tokens, and texts cut at nine tokens. */
export function madeTokenizer() {
  const merges = [
    ['t', 'h'],
    ['th', 'e'],
  ] as const;
  return {
    ...byteLevelTokenizer([], [...byteLetters(), 'th', 'the'], merges),
    truncation: { max_length: 9, stride: 0, strategy: 'LongestFirst', direction: 'Right' },
  };
}

/** The smallest that preprocessing takes: a token a byte, so that a test of it needs none trained. */
export function byteTokenizer(): Buffer {
  return Buffer.from(JSON.stringify(byteLevelTokenizer([endOfText], byteLetters(), [])));
}
export const byteVocabSize = 257;

/** How a tokenizer of SentencePiece's kind comes by a space before a text: as Llama 2, as Mistral 0.3, or not, as Gemma. */
export const spacesPut = ['normalizer', 'pre-tokenizer', 'none'] as const;

/** BPE with byte fallback, as SentencePiece's models are converted: some letters of some scripts, a few merges. */
export function piecesTokenizer(put: (typeof spacesPut)[number] = 'normalizer') {
  const specials = ['<unk>', '<s>', '</s>'];
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  );
  const merges = [
    ['t', 'h'],
    ['th', 'e'],
    ['▁', 'the'],
    ['▁', '▁'],
    ['▁▁', '▁▁'],
    ['▁', 'a'],
    ['統', '計'],
    ['м', 'о'],
  ] as const;
  const letters = [
    ...'▁abcdefghijklmnopqrstuvwxyzTAEM0123456789.,;!?<>|х統計資料民國年москва한글ありはé🙂',
  ];
  const tokens = [...bytes, ...letters, ...merges.map((merge) => merge.join(''))];
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const prepend = { type: 'Prepend', prepend: '▁' };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specials.map((content, id) => specialToken(id, content)),
    normalizer: {
      normalizer: { type: 'Sequence', normalizers: [prepend, replace] } as object,
      'pre-tokenizer': null,
      none: replace,
    }[put],
    pre_tokenizer: (put === 'pre-tokenizer'
      ? { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first', split: false }
      : null) as object | null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(put === 'none' ? [] : [{ type: 'Strip', content: ' ', start: 1, stop: 0 }]),
      ] as object[],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: '<unk>',
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: idsOf([...new Set([...specials, ...tokens])]),
      merges: merges as readonly (readonly [string, string])[],
    },
  };
}

/** For a training that never asks it for a text: one token, which parts documents. */
export function endOfTextTokenizer(): Buffer {
  return Buffer.from(
    JSON.stringify({
      version: '1.0',
      added_tokens: [specialToken(0, endOfText)],
      model: { type: 'WordLevel', vocab: { [endOfText]: 0 }, unk_token: endOfText },
    }),
  );
}

function idsOf(tokens: readonly string[]): Record<string, number> {
  return Object.fromEntries(tokens.map((token, id) => [token, id]));
}
