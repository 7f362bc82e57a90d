/** Expected loss of pretraining, by a scaling law whose constants were fitted to runs of this trainer. */

/**
 * The form is that of Hoffmann et al. 2022: irreducible loss, a term for the size and a term for the
 * data, with their exponents. The factors are smaller than theirs, for the optimizer is Muon and the
 * vocabulary small: fitted to the runs listed in docs/log.md, in nats a byte of English text.
 */
const fitted = { irreducible: 0.37, size: 22, data: 25.2, sizeExponent: 0.34, dataExponent: 0.28 };

/** Text that is trained on, each document once; of a mix, by source with its share of what is read. */
export type UniqueTokens = number | readonly { share: number; numTokens: number }[];

/** What training reads: the tokens and bytes of an epoch, and of a mix the text that each source gives. */
export interface ReadText {
  numTokens: number;
  bytes: number;
  /** Left out, an epoch reads each document once. */
  mixture?: readonly { source: string; share: number; numTokens: number }[] | undefined;
}

/** The text of a corpus without its repetitions, as the law takes it. */
export function uniqueOf({ numTokens, mixture }: ReadText): UniqueTokens {
  return mixture ?? numTokens;
}

/** Tokens of the corpus, each document once. */
export function distinctTokens({ numTokens, mixture }: ReadText): number {
  return mixture?.reduce((sum, source) => sum + source.numTokens, 0) ?? numTokens;
}

/** Tokens that may be trained on before those of any source came more often than that. */
export function mostReadable({ numTokens, mixture }: ReadText, maxTimes: number): number {
  if (mixture === undefined) return numTokens * maxTimes;
  return Math.min(...mixture.map((source) => (source.numTokens * maxTimes) / source.share));
}

/**
 * Tokens that repeat are worth less: after R repetitions of U unique tokens they count as
 * U + U·R*·(1 − e^(−R/R*)), with R* = 15.4 (Muennighoff et al. 2023).
 */
export function effectiveTokens(trainedTokens: number, unique: UniqueTokens): number {
  if (typeof unique === 'number') return effectiveOf(trainedTokens, unique);
  // Of a mix each source has repetitions of its own.
  return unique.reduce(
    (sum, { share, numTokens }) => sum + effectiveOf(trainedTokens * share, numTokens),
    0,
  );
}

function effectiveOf(trainedTokens: number, uniqueTokens: number): number {
  if (trainedTokens <= uniqueTokens) return trainedTokens;
  const halfLife = 15.4;
  const repetitions = trainedTokens / uniqueTokens - 1;
  return uniqueTokens * (1 + halfLife * (1 - Math.exp(-repetitions / halfLife)));
}

/** Expected loss in bits a byte, for a model of so many parameters after so many tokens. */
export function expectedBitsPerByte(
  numParameters: number,
  trainedTokens: number,
  unique: UniqueTokens,
): number {
  const { irreducible, size, data, sizeExponent, dataExponent } = fitted;
  const tokens = effectiveTokens(trainedTokens, unique);
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
  statistics: ReadText,
  vocabSize: number,
): number {
  const learntFrom = trainedTokens ** 2 / (trainedTokens + plateauTokens);
  const { numTokens, bytes, mixture } = statistics;
  const unique = mixture ?? Math.max(1, numTokens);
  const bpb = expectedBitsPerByte(numParameters, learntFrom, unique);
  const nats = (bpb * Math.LN2 * bytes) / Math.max(1, numTokens);
  // What knows nothing foretells each token alike: no training is worse.
  return Math.min(Math.log(vocabSize), nats);
}
