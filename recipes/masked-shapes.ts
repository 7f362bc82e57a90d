/** The shapes of a ModernBERT that the planner chooses from, and what each one costs. */
import type { MaskedShape } from '../config/recipe.ts';

/** Of the words, how many are hidden. */
export const maskRate = 0.3;
/** Tokens that a masked model has beside those of its corpus: the mask and the padding. */
export const addedTokens = 2;

/** Deep and narrow: 22 layers for a width of 768, 28 for one of 1,024 (Warner et al. 2024). */
const rungs = [
  { hiddenSize: 64, numLayers: 3 },
  { hiddenSize: 128, numLayers: 4 },
  { hiddenSize: 192, numLayers: 6 },
  { hiddenSize: 256, numLayers: 7 },
  { hiddenSize: 320, numLayers: 9 },
  { hiddenSize: 384, numLayers: 11 },
  { hiddenSize: 512, numLayers: 15 },
  { hiddenSize: 640, numLayers: 18 },
  { hiddenSize: 768, numLayers: 22 },
] as const;

/** Every shape for the vocabulary of a corpus and a context, smallest first. */
export function maskedLadder(vocabSize: number, contextLength: number): MaskedShape[] {
  return rungs.map(({ hiddenSize, numLayers }) => ({
    family: 'modernbert',
    vocabSize: vocabSize + addedTokens,
    hiddenSize,
    intermediateSize: (hiddenSize * 3) / 2,
    numLayers,
    numHeads: hiddenSize / 64,
    contextLength,
    ropeTheta: 10_000,
    globalEvery: 3,
    localWindow: 128,
  }));
}

/** Parameters of the layers: attention, a gated feed-forward, and their norms, of which the first layer has one. */
export function countLayers({ hiddenSize: d, intermediateSize, numLayers }: MaskedShape): number {
  return numLayers * (4 * d * d + 3 * d * intermediateSize + 2 * d) - d;
}

/** Parameters of the head that makes words of hidden states, beside the embedding that it shares. */
function countHead({ hiddenSize: d, vocabSize }: MaskedShape): number {
  return d * d + d + vocabSize;
}

/** Parameters of a model: embedding and its norm, layers, last norm, head. */
export function countMasked(shape: MaskedShape): number {
  const { hiddenSize: d, vocabSize } = shape;
  return vocabSize * d + d + countLayers(shape) + d + countHead(shape);
}

/**
 * Floating-point operations of training on one token: six for each parameter that multiplies it, the head only where a
 * word was hidden, and attention over the whole row, of which the layers that look nearby mask what is far.
 */
export function maskedFlopsPerToken(shape: MaskedShape): number {
  const { hiddenSize: d, vocabSize, numLayers, contextLength } = shape;
  const head = maskRate * (countHead(shape) + vocabSize * d);
  return 6 * (countLayers(shape) + head) + 12 * numLayers * d * contextLength;
}
