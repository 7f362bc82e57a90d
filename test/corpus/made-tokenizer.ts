/** A small byte-level tokenizer.json as somebody else might have made it. */
import { byteLetters } from '../../corpus/bpe.ts';

const byteLevel = {
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: true,
};

/** Every byte, and two merges; without special tokens of its own. */
export function madeTokenizer() {
  const tokens = [...byteLetters(), 'th', 'the'];
  return {
    version: '1.0',
    truncation: { max_length: 9, stride: 0, strategy: 'LongestFirst', direction: 'Right' },
    padding: null,
    added_tokens: [] as object[],
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
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])) as Record<string, number>,
      merges: [
        ['t', 'h'],
        ['th', 'e'],
      ],
    },
  };
}
