/** Expected loss of pretraining, by a scaling law whose constants were fitted to runs of this trainer. */

/**
 * The form is that of Hoffmann et al. 2022: irreducible loss, a term for the size and a term for the
 * data, with their exponents. The factors are smaller than theirs, for the optimizer is Muon and the
 * vocabulary small: fitted to the runs listed in docs/log.md, in nats a byte of English text.
 */
const fitted = { irreducible: 0.37, size: 22, data: 25.2, sizeExponent: 0.34, dataExponent: 0.28 };

/**
 * Tokens that repeat are worth less: after R repetitions of U unique tokens they count as
 * U + U·R*·(1 − e^(−R/R*)), with R* = 15.4 (Muennighoff et al. 2023).
 */
export function effectiveTokens(trainedTokens: number, uniqueTokens: number): number {
  if (trainedTokens <= uniqueTokens) return trainedTokens;
  const halfLife = 15.4;
  const repetitions = trainedTokens / uniqueTokens - 1;
  return uniqueTokens * (1 + halfLife * (1 - Math.exp(-repetitions / halfLife)));
}

/** Expected loss in bits a byte, for a model of so many parameters after so many tokens. */
export function expectedBitsPerByte(
  numParameters: number,
  trainedTokens: number,
  uniqueTokens: number,
): number {
  const { irreducible, size, data, sizeExponent, dataExponent } = fitted;
  const tokens = effectiveTokens(trainedTokens, uniqueTokens);
  const nats = irreducible + size / numParameters ** sizeExponent + data / tokens ** dataExponent;
  return nats / Math.LN2;
}

/** Nats a token of a base that has read as much as it can learn from, with the constants of Hoffmann et al. 2022. */
export function baseNatsPerToken(numParameters: number): number {
  return 1.69 + 406.4 / numParameters ** 0.34;
}

/**
 * Of the tokens that a masked model reads first, it learns only how often each word comes; then it goes as with the next
 * word, and the same factors fit (docs/log.md). Half of what comes is lost so after this many.
 */
const plateauTokens = 1_400_000;

/** Expected nats a hidden token, for a masked model of so many parameters after so many tokens. */
export function expectedMaskedLoss(
  numParameters: number,
  trainedTokens: number,
  { numTokens, bytes }: { numTokens: number; bytes: number },
  vocabSize: number,
): number {
  const learntFrom = trainedTokens ** 2 / (trainedTokens + plateauTokens);
  const bpb = expectedBitsPerByte(numParameters, learntFrom, Math.max(1, numTokens));
  const nats = (bpb * Math.LN2 * bytes) / Math.max(1, numTokens);
  // What knows nothing foretells each token alike: no training is worse.
  return Math.min(Math.log(vocabSize), nats);
}
