/**
 * How hard a text is to foretell: what an n-gram model costs on held-out text, after more and more of the training text. From a
 * sample of bounded size, so that a large corpus takes no longer. Pure.
 */
import type { LearningCurve } from '../config/learning-curve.ts';
import { NgramModel } from './ngram.ts';
import { littleEndian } from './words-and-bytes.ts';

/** Longer runs are hardly ever met twice in a sample of this size. */
const order = 4;
/** Tokens to learn from, and to be measured on, at most. */
export const mostLearnt = 1 << 20;
export const mostMeasured = 1 << 16;
/** Tokens that lie together in a sample. */
const pieceLength = 512;
/** Tokens of the first point; each further one has twice as many. */
const firstPoint = 1 << 13;
/** Bits a byte are told to so many places, and of text that costs next to nothing as the least that can be told. */
const places = 4;
const leastBits = 10 ** -places;

export type Tokens = Uint16Array | Uint32Array;

/** The tokens of a shard, by the width of one of them. */
export function tokensIn(shard: Uint8Array, width: 2 | 4): Tokens {
  const length = Math.floor(shard.byteLength / width);
  // A copy begins where numbers may lie.
  const bytes = Buffer.from(new ArrayBuffer(length * width));
  bytes.set(shard.subarray(0, bytes.length));
  if (!littleEndian)
    if (width === 2) bytes.swap16();
    else bytes.swap32();
  return width === 2 ? new Uint16Array(bytes.buffer) : new Uint32Array(bytes.buffer);
}

/** Null where there is nothing to learn from, or to be measured on. `onProgress` is called now and then. */
export function learningCurve(
  {
    shards,
    heldOut,
    vocabSize,
    heldOutBytesPerToken,
  }: {
    shards: readonly Tokens[];
    heldOut: Tokens;
    vocabSize: number;
    heldOutBytesPerToken: number;
  },
  onProgress: (done: number, total: number) => void = () => {},
): LearningCurve | null {
  const pieces = spread(piecesOf(shards));
  const measured = upTo(mostMeasured, spread(piecesOf([heldOut])));
  const numHeldOut = lengthOf(measured);
  const numLearnt = Math.min(mostLearnt, lengthOf(pieces));
  if (numLearnt === 0 || numHeldOut === 0) return null;
  const model = new NgramModel(order, vocabSize);
  const points: LearningCurve['points'] = [];
  let numTokens = 0;
  let wanted = firstPoint;
  for (const piece of pieces) {
    const tokens = piece.subarray(0, numLearnt - numTokens);
    model.learn(tokens);
    numTokens += tokens.length;
    if (numTokens < Math.min(wanted, numLearnt)) continue;
    const nats = model.measure(measured) / numHeldOut;
    const bitsPerByte = nats / Math.LN2 / heldOutBytesPerToken;
    const told = Math.max(leastBits, Number(bitsPerByte.toFixed(places)));
    points.push({ numTokens, bitsPerByte: told });
    onProgress(numTokens, numLearnt);
    wanted *= 2;
    if (numTokens >= numLearnt) break;
  }
  return { order, numHeldOut, points };
}

function piecesOf(shards: readonly Tokens[]): Tokens[] {
  return shards.flatMap((tokens) =>
    Array.from({ length: Math.ceil(tokens.length / pieceLength) }, (_, piece) =>
      tokens.subarray(piece * pieceLength, (piece + 1) * pieceLength),
    ),
  );
}

/** In an order whose every beginning is spread over the whole: by steps of the golden section, which never come near a place soon. */
function spread<Item>(items: readonly Item[]): Item[] {
  const { length } = items;
  let step = Math.max(1, Math.round(length * 0.618_033_988_75));
  while (divisor(step, length) > 1) step += 1;
  return Array.from({ length }, (_, at) => items[(at * step) % length]!);
}

function divisor(one: number, other: number): number {
  return other === 0 ? one : divisor(other, one % other);
}

function upTo(most: number, pieces: readonly Tokens[]): Tokens[] {
  const taken: Tokens[] = [];
  let left = most;
  for (const piece of pieces) {
    if (left === 0) break;
    taken.push(piece.subarray(0, left));
    left -= Math.min(left, piece.length);
  }
  return taken;
}

function lengthOf(pieces: readonly Tokens[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}
