/** Whether the chats of a batch share rows while SFT learns from them: where most of the rows would be padding. */
import type { ModelShape, Reason } from '../config/recipe.ts';
import { trainingFlopsPerToken } from './shapes.ts';

/** Of a row that chats share, how much they fill; the longest first, each where least room is left. */
const filled = 0.95;
/** Of the arithmetic that padding takes: less would not be noticed beside what a step takes anyway. */
const leastSaved = 0.2;

/** Tokens of a chat on average, and of the row that it would have of its own. */
export interface ChatLengths {
  meanTokens: number;
  rowTokens: number;
}

/** Chats that share rows: what of a row each is counted for. */
export interface Packing {
  rowTokens: number;
  /** Of the arithmetic of rows of their own; null where their lengths are not known. */
  saved: number | null;
}

/** What sharing rows of so many tokens saves of a step. */
export function packingOf(
  shape: ModelShape,
  contextLength: number,
  { meanTokens, rowTokens }: ChatLengths,
): Packing & { saved: number } {
  const flops = (tokens: number, length: number) =>
    tokens * trainingFlopsPerToken({ ...shape, contextLength: Math.round(length) });
  const shared = meanTokens / filled;
  // A shared row is longer, and every token of it is held against all that stand before it.
  const saved = 1 - flops(shared, contextLength) / flops(rowTokens, rowTokens);
  return { rowTokens: shared, saved };
}

/** Whether what sharing saves is worth it; another architecture might let the chats of a row see each other. */
export function isWorthPacking(shape: ModelShape, { saved }: { saved: number }): boolean {
  return shape.family !== 'transformers' && saved >= leastSaved;
}

/** Why chats share rows; none where they do not. */
export function packingReasons(contextLength: number, packing: Packing | undefined): Reason[] {
  if (packing === undefined) return [];
  const why =
    packing.saved === null
      ? 'as the pipeline file asks'
      : `rows of their own would take ${Math.round(100 * (1 / (1 - packing.saved) - 1))} % more arithmetic, for padding`;
  return [
    {
      choice: 'packing',
      value: `chats share rows of ${contextLength} tokens`,
      reason: `${why}; each chat sees itself alone, so loss and gradient are the same`,
      source: 'Krell et al. 2021; counted in the data',
    },
  ];
}
