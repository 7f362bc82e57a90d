/** A text as characters: a tokenizer with one token for each, and the token files that the trainer reads. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { TrainerRun } from '../../config/trainer.ts';
import { specialToken } from '../../test/support/tokenizers.ts';

export interface CharacterCorpus {
  tokenizer: string;
  vocabSize: number;
  /** Of the part that is trained on. */
  bytes: number;
  data: Extract<TrainerRun['data'], { kind: 'tokens' }>;
}

/** Stand before the characters, as in every tokenizer of ours. */
const specialTokens = ['<|endoftext|>', '<|user|>', '<|assistant|>', '<|end|>'];
const tokenBytes = 2;

/** Writes tokenizer and tokens of a text; its last tenth is held out, as nanoGPT does. */
export function writeCharacters(file: string, folder: string): CharacterCorpus {
  const characters = Array.from(readFileSync(file, 'utf8'));
  const distinct = [...new Set(characters)].toSorted(
    (a, b) => a.codePointAt(0)! - b.codePointAt(0)!,
  );
  const vocabulary = [...specialTokens, ...distinct];
  const ids = new Map(vocabulary.map((token, id) => [token, id]));
  mkdirSync(folder, { recursive: true });
  const tokenizer = path.join(folder, 'tokenizer.json');
  writeFileSync(tokenizer, JSON.stringify(tokenizerOf(ids)));
  const cut = Math.floor(characters.length * 0.9);
  const part = (name: string, text: string[]) => {
    const tokens = Uint16Array.from(text, (character) => ids.get(character)!);
    const at = path.join(folder, name);
    writeFileSync(at, new Uint8Array(tokens.buffer));
    return { path: at, numTokens: tokens.length };
  };
  const [trained, heldOut] = [characters.slice(0, cut), characters.slice(cut)];
  const size = (text: string[]) => Buffer.byteLength(text.join(''));
  return {
    tokenizer,
    vocabSize: vocabulary.length,
    bytes: size(trained),
    data: {
      kind: 'tokens',
      shards: [part('train.bin', trained)],
      tokenBytes,
      heldOut: { ...part('held-out.bin', heldOut), bytes: size(heldOut) },
    },
  };
}

/** As the tokenizers library writes one that gives each character its own token. */
function tokenizerOf(ids: ReadonlyMap<string, number>) {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map((content, id) => specialToken(id, content)),
    normalizer: null,
    pre_tokenizer: {
      type: 'Split',
      pattern: { Regex: String.raw`[\s\S]` },
      behavior: 'Isolated',
      invert: false,
    },
    post_processor: null,
    decoder: { type: 'Fuse' },
    model: {
      type: 'WordLevel',
      vocab: Object.fromEntries(ids),
      unk_token: specialTokens[0],
    },
  };
}
