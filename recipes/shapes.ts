/** The ladder of model shapes that the planner chooses from, and what each one costs. */
import {
  type Family,
  type GivenShape,
  type MeasuredModel,
  type ModelShape,
  type PlainShape,
} from '../config/recipe.ts';
import { countMasked, maskedFlopsPerToken } from './masked-shapes.ts';

/**
 * Width, depth and heads of each rung: heads of 64, width about 64 times the depth
 * (Kaplan et al. 2020 find loss flat over a wide range of that ratio), a gated feed-forward of 8/3 the width
 * rounded up to 64 (Touvron et al. 2023).
 */
const rungs = [
  { hiddenSize: 64, numLayers: 2 },
  { hiddenSize: 128, numLayers: 3 },
  { hiddenSize: 192, numLayers: 4 },
  { hiddenSize: 256, numLayers: 4 },
  { hiddenSize: 320, numLayers: 5 },
  { hiddenSize: 384, numLayers: 6 },
  { hiddenSize: 512, numLayers: 8 },
  { hiddenSize: 640, numLayers: 10 },
  { hiddenSize: 768, numLayers: 12 },
] as const;

/** Every shape of the ladder for a vocabulary and a context, smallest first. */
export function ladder(
  vocabSize: number,
  contextLength: number,
  family: Family = 'llama',
): PlainShape[] {
  return rungs.map(({ hiddenSize, numLayers }) =>
    shapeOf({
      family,
      vocabSize,
      contextLength,
      hiddenSize,
      numLayers,
      intermediateSize: Math.ceil((hiddenSize * 8) / 3 / 64) * 64,
    }),
  );
}

/** A shape of the ladder's kind: every head its own keys, head and embedding one matrix. */
export function shapeOf(
  size: Pick<
    PlainShape,
    'family' | 'vocabSize' | 'contextLength' | 'hiddenSize' | 'numLayers' | 'intermediateSize'
  >,
  numHeads = size.hiddenSize / 64,
): PlainShape {
  const { family, vocabSize, hiddenSize, intermediateSize, numLayers, contextLength } = size;
  return {
    family,
    vocabSize,
    hiddenSize,
    intermediateSize,
    numLayers,
    numHeads,
    numKvHeads: numHeads,
    contextLength,
    ropeTheta: 10_000,
    tieEmbeddings: true,
  };
}

/** Parameters of a model: embedding, attention, gated feed-forward, norms, and what its family adds. */
export function countParameters(shape: ModelShape): number {
  if (shape.family === 'transformers') return shape.numParameters;
  if (shape.family === 'modernbert') return countMasked(shape);
  const { vocabSize, hiddenSize: d, intermediateSize, numLayers, numKvHeads } = shape;
  const head = headWidth(shape);
  const [query, kv] = [shape.numHeads * head, numKvHeads * head];
  const attention = 2 * d * query + 2 * d * kv;
  const added = { llama: 0, qwen2: query + 2 * kv, qwen3: 2 * head }[shape.family];
  const layer = attention + 3 * d * intermediateSize + 2 * d + added;
  return vocabSize * d * (shape.tieEmbeddings ? 1 : 2) + numLayers * layer + d;
}

/** The shape of a configuration that was given, with a vocabulary. */
export function givenShape(
  { parameters, ...measured }: MeasuredModel,
  vocabSize: number,
): GivenShape {
  const numParameters = parameters.fixed + parameters.perToken * vocabSize;
  return { family: 'transformers', ...measured, vocabSize, numParameters };
}

function headWidth({ headDim, hiddenSize, numHeads }: PlainShape): number {
  return headDim ?? hiddenSize / numHeads;
}

/**
 * Floating-point operations of training on one token: six for each parameter that multiplies it (Kaplan
 * et al. 2020), and attention over the context.
 */
export function trainingFlopsPerToken(shape: ModelShape): number {
  if (shape.family === 'modernbert') return maskedFlopsPerToken(shape);
  const tied = shape.tieEmbeddings
    ? countParameters(shape)
    : countParameters(shape) - shape.vocabSize * shape.hiddenSize;
  const width =
    shape.family === 'transformers' ? shape.hiddenSize : shape.numHeads * headWidth(shape);
  const attended = shape.numLayers * width * shape.contextLength;
  return 6 * tied + 6 * attended;
}
