/** The smallest tokenizer.json: a token a byte, so that a test of preprocessing needs none trained. */
import { byteLetters } from '../../corpus/bpe.ts';

export const byteVocabSize = 257;

export function byteTokenizer(): Buffer {
  const end = '<|endoftext|>';
  const vocab = Object.fromEntries([end, ...byteLetters()].map((token, id) => [token, id]));
  const byteLevel = {
    type: 'ByteLevel',
    add_prefix_space: false,
    trim_offsets: false,
    use_regex: true,
  };
  return Buffer.from(
    JSON.stringify({
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: [
        {
          id: 0,
          content: end,
          single_word: false,
          lstrip: false,
          rstrip: false,
          normalized: false,
          special: true,
        },
      ],
      normalizer: null,
      pre_tokenizer: byteLevel,
      post_processor: byteLevel,
      decoder: byteLevel,
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab,
        merges: [],
      },
    }),
  );
}
