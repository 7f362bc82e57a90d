/**
 * What whoever asks for a plan has fixed beforehand, so that two recipes can be compared at the same size and on as
 * much text. The planner chooses the rest.
 */
import type { Family, PlainShape, Reason } from '../config/recipe.ts';
import { countParameters, shapeOf } from './shapes.ts';

export interface Limits {
  /** At most so many, and as near to them as a shape comes. */
  numParameters?: number | undefined;
  /** At most so many to train on. */
  numTokens?: number | undefined;
  /** At most so many in a window. */
  contextLength?: number | undefined;
}

/** Steps in which a feed-forward widens. */
const grain = 16;
/** Of a feed-forward to the width (Touvron et al. 2023). */
const feedForward = 8 / 3;
/** Of the width to the depth, as on the ladder and a little beyond. */
const aspect = { least: 32, most: 64 };
const widest = 8192;

/**
 * The shape that comes nearest to a number of parameters from below: width and depth in the proportions of the
 * ladder, the feed-forward as wide as the number allows, and of these the one whose feed-forward is most usual.
 */
export function shapeWithin(
  numParameters: number,
  vocabSize: number,
  contextLength: number,
  family: Family = 'llama',
): PlainShape {
  let best: PlainShape | null = null;
  const oddity = ({ intermediateSize, hiddenSize }: PlainShape) =>
    Math.abs(intermediateSize / hiddenSize - feedForward);
  for (let hiddenSize = 64; hiddenSize <= widest; hiddenSize += 64) {
    for (
      let numLayers = Math.ceil(hiddenSize / aspect.most);
      numLayers <= hiddenSize / aspect.least;
      numLayers += 1
    ) {
      const width = { family, vocabSize, contextLength, hiddenSize, numLayers };
      const bare = countParameters(shapeOf({ ...width, intermediateSize: 0 }));
      const room = (numParameters - bare) / (3 * hiddenSize * numLayers);
      const intermediateSize = Math.floor(room / grain) * grain;
      if (intermediateSize < hiddenSize) continue;
      const shape = shapeOf({ ...width, intermediateSize }, headsOf(hiddenSize));
      if (best === null || oddity(shape) < oddity(best)) best = shape;
    }
  }
  if (best === null) {
    throw new RangeError(
      `numParameters: found ${numParameters}, expected more for a vocabulary of ${vocabSize}`,
    );
  }
  return best;
}

/** Heads of 64; of narrower ones, four, as in the runs of that size in docs/log.md. */
function headsOf(hiddenSize: number): number {
  return Math.max(4, hiddenSize / 64);
}

/** The reasons for what was fixed, in place of the planner's own. */
export function limitReasons(limits: Limits): Reason[] {
  const fixed = [
    limits.numParameters && `${limits.numParameters} parameters`,
    limits.numTokens && `${limits.numTokens} tokens`,
    limits.contextLength && `windows of ${limits.contextLength}`,
  ].filter(Boolean);
  return [
    {
      choice: 'limits',
      value: fixed.join(', '),
      reason: 'fixed by whoever asked for the plan: at most so many of each',
      source: 'limits',
    },
  ];
}
