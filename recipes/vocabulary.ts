/** How many tokens the tokenizer gets: the first choice of a recipe, because everything after it counts in tokens. */

const least = 512;
const most = 32_768;

/**
 * Powers of two between 512 for 100 KB and 32,768 for 1 GB, as larger corpora show each token often
 * enough to learn it. The middle is measured: 10 MB of English with 4,096 gave 4.34 bytes a token.
 */
export function chooseVocabSize(bytes: number): number {
  const ideal = 12 + 1.5 * Math.log10(Math.max(bytes, 1) / 1e7);
  return Math.min(most, Math.max(least, 2 ** Math.round(ideal)));
}

/** Tokens that text of so many bytes is about to make, in a vocabulary of its own. */
export function estimateTokens(bytes: number): number {
  // Byte pairs of this size of vocabulary cover about so many bytes of running text.
  return Math.max(1, Math.round(bytes / (0.36 * Math.log2(chooseVocabSize(bytes)))));
}
