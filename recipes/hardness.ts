/**
 * How much harder a text is to foretell than the one that the loss law was fitted to, by what an n-gram model learns of both. A model
 * that trains for long needs the hardness of more text: what repeats itself, as laws do, gets easier the more of it one has read.
 */
import type { LearningCurve } from '../config/learning-curve.ts';
import type { Reason } from '../config/recipe.ts';

/** Bits a byte of held-out addresses (the quickstart's) after so many bytes of them: what others are measured by. */
const addresses: readonly Point[] = [
  [35_552, 2.1149],
  [71_103, 2.0379],
  [142_206, 1.9344],
  [284_413, 1.8139],
  [568_826, 1.6912],
  [1_137_652, 1.578],
  [2_276_552, 1.4918],
  [4_550_607, 1.4172],
];
type Point = readonly [bytes: number, bitsPerByte: number];

/** A model learns in so many bytes what the n-gram model learns in this share of them. */
const readShare = 1 / 3;

/** A text that costs next to nothing, such as one line again and again: what is expected of it stays a figure above 0. */
const leastHardness = 0.01;

/** A text, and what was measured of it; left out, how hard it is is not known. */
export interface MeasuredText {
  numTokens: number;
  bytes: number;
  learningCurve?: LearningCurve | undefined;
}

/** 1: as the addresses; 1 too where it is not known. */
export function hardnessOf(text: MeasuredText, trainedTokens: number): number {
  const { learningCurve } = text;
  if (learningCurve === undefined) return 1;
  const own = learningCurve.points.map(({ numTokens, bitsPerByte }): Point => [
    numTokens * bytesPerToken(text),
    bitsPerByte,
  ]);
  const most = Math.min(own.at(-1)![0], addresses.at(-1)![0]);
  const wanted = readShare * trainedTokens * bytesPerToken(text);
  const bytes = Math.max(own[0]![0], Math.min(most, wanted));
  return Math.max(leastHardness, lossAt(own, bytes) / lossAt(addresses, bytes));
}

/** How hard a text is, in words, and where that is known from. */
export function hardnessReason(text: MeasuredText, trainedTokens: number, bpb: number): Reason {
  const expected = `expected ${bpb.toFixed(2)} bits a byte`;
  const { learningCurve } = text;
  if (learningCurve === undefined) {
    return {
      choice: 'text',
      value: 'not measured yet',
      reason: `${expected} if it is as hard to foretell as the addresses of the quickstart; how hard it is a run measures when its corpus is made, and plans by that`,
      source: 'constants fitted in docs/log.md',
    };
  }
  const hardness = hardnessOf(text, trainedTokens);
  const { order, points } = learningCurve;
  const last = points.at(-1)!;
  const percent = Math.round(100 * Math.abs(hardness - 1));
  const than = hardness >= 1 ? 'harder' : 'easier';
  return {
    choice: 'text',
    value: percent === 0 ? 'as the addresses of the quickstart' : `${percent} % ${than}`,
    reason: `${expected}: as much ${than} than the addresses of the quickstart as it is to an n-gram model of ${order} tokens, which ends at ${last.bitsPerByte.toFixed(2)} bits a byte of the held-out text after ${(last.numTokens / 1e6).toFixed(2)}M tokens`,
    source: 'Chen and Goodman 1999; measured in docs/log.md',
  };
}

function bytesPerToken({ bytes, numTokens }: MeasuredText): number {
  return bytes / Math.max(1, numTokens);
}

/** By a power of the bytes, as between the two points that are nearest. */
function lossAt(points: readonly Point[], bytes: number): number {
  if (points.length === 1) return points[0]![1];
  const above = points.findIndex(([size]) => size >= bytes);
  const to = above < 0 ? points.length - 1 : Math.max(1, above);
  const [[size, loss], [nextSize, nextLoss]] = [points[to - 1]!, points[to]!];
  // The last point may come a few tokens behind the one before it: in a smaller vocabulary they are one.
  if (nextSize === size) return nextLoss;
  return loss * (nextLoss / loss) ** (Math.log(bytes / size) / Math.log(nextSize / size));
}
