/** Expected loss of pretraining, by a scaling law whose constants were fitted to runs of this trainer. */
import { hardnessOf, type MeasuredText } from './hardness.ts';

interface Law {
  irreducible: number;
  size: number;
  data: number;
  /** Of the tokens that a model reads first it learns little: after this many, half of what comes is lost so. */
  plateau: number;
}

const sizeExponent = 0.34;
const dataExponent = 0.28;

/**
 * The form is that of Hoffmann et al. 2022: irreducible loss, a term for the size and a term for the data, with their
 * exponents and about their proportion of the two, and a beginning in which little is learnt, without which the law
 * prefers models that a short run does not teach. Fitted to the runs listed in docs/log.md, in nats a byte of English.
 */
const nextWord: Law = { irreducible: 0.508, size: 16.5, data: 18.9, plateau: 275_000 };
/** The beginning is longer, for a model of hidden words first learns only how often each word comes (docs/log.md). */
const hiddenWords: Law = { irreducible: 0.37, size: 22, data: 25.2, plateau: 1_400_000 };

function natsPerByte(
  law: Law,
  numParameters: number,
  trained: number,
  unique: UniqueTokens,
  halfLife?: number,
): number {
  const learnt = effectiveTokens(trained ** 2 / (trained + law.plateau), unique, halfLife);
  const { irreducible, size, data } = law;
  return irreducible + size / numParameters ** sizeExponent + data / learnt ** dataExponent;
}

/** Text that is trained on, each document once; of a mix, by source with its share of what is read. */
export type UniqueTokens = number | readonly { share: number; numTokens: number }[];

/** What training reads: the tokens and bytes of an epoch, and of a mix the text that each source gives. */
export interface ReadText extends MeasuredText {
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

/** Repetitions after which what comes again is worth 1/e of what is new (Muennighoff et al. 2023). */
const usualHalfLife = 15.4;
/**
 * Distinct tokens for each parameter, below which a model has room to learn the text by heart (Morris et al. 2025 count 3.6
 * bits a parameter): the fewer, the sooner repetitions teach nothing that holds for other text. Fitted in docs/log.md.
 */
const tokensPerParameter = 6.25;

function halfLifeOf(numParameters: number, unique: UniqueTokens): number {
  const numTokens =
    typeof unique === 'number' ? unique : unique.reduce((sum, source) => sum + source.numTokens, 0);
  return usualHalfLife * Math.min(1, numTokens / (tokensPerParameter * numParameters));
}

/**
 * Tokens that repeat are worth less: after R repetitions of U unique tokens they count as
 * U + U·R*·(1 − e^(−R/R*)), with R* = 15.4 (Muennighoff et al. 2023).
 */
export function effectiveTokens(
  trainedTokens: number,
  unique: UniqueTokens,
  halfLife = usualHalfLife,
): number {
  if (typeof unique === 'number') return effectiveOf(trainedTokens, unique, halfLife);
  // Of a mix each source has repetitions of its own.
  return unique.reduce(
    (sum, { share, numTokens }) => sum + effectiveOf(trainedTokens * share, numTokens, halfLife),
    0,
  );
}

function effectiveOf(trainedTokens: number, uniqueTokens: number, halfLife: number): number {
  if (trainedTokens <= uniqueTokens) return trainedTokens;
  const repetitions = trainedTokens / uniqueTokens - 1;
  return uniqueTokens * (1 + halfLife * (1 - Math.exp(-repetitions / halfLife)));
}

/**
 * Expected loss in bits a byte of a text, as hard as it is and as soon as it is learnt by heart, for a model of so many
 * parameters after so many tokens.
 */
export function expectedOfText(
  numParameters: number,
  trainedTokens: number,
  text: ReadText,
): number {
  const unique = uniqueOf(text);
  const halfLife = halfLifeOf(numParameters, unique);
  const nats = natsPerByte(nextWord, numParameters, trainedTokens, unique, halfLife);
  return (nats / Math.LN2) * hardnessOf(text, trainedTokens);
}

/** By the law alone: of text like the addresses that it was fitted to, which is large enough for a model. Shapes are chosen by it. */
export function expectedBitsPerByte(
  numParameters: number,
  trainedTokens: number,
  unique: UniqueTokens,
): number {
  return natsPerByte(nextWord, numParameters, trainedTokens, unique) / Math.LN2;
}

/** Bytes for which a base spends what the law says of a token, where text is as hard as the addresses. Fitted in docs/log.md. */
const bytesOfBaseToken = 4;

/**
 * Expected loss in bits a byte of a base that has read as much as it can learn from, with the constants of Hoffmann et al.
 * 2022 in nats a token, once adapters have read so many tokens of a text.
 */
export function expectedOfBase(
  numParameters: number,
  trainedTokens: number,
  text: ReadText,
): number {
  const bitsPerToken = (1.69 + 406.4 / numParameters ** 0.34) / Math.LN2;
  // How hard a text is not known: its own tokens say the most of it.
  if (text.learningCurve === undefined) return (bitsPerToken * text.numTokens) / text.bytes;
  return (bitsPerToken / bytesOfBaseToken) * hardnessOf(text, trainedTokens);
}

/** Expected nats a hidden token, for a masked model of so many parameters after so many tokens. */
export function expectedMaskedLoss(
  numParameters: number,
  trainedTokens: number,
  statistics: ReadText,
  vocabSize: number,
): number {
  const { numTokens, bytes, mixture } = statistics;
  const unique = mixture ?? Math.max(1, numTokens);
  const perByte = natsPerByte(hiddenWords, numParameters, trainedTokens, unique);
  const nats = (perByte * bytes) / Math.max(1, numTokens);
  // What knows nothing foretells each token alike: no training is worse.
  return Math.min(Math.log(vocabSize), nats);
}
