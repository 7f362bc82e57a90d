/** What a model is for, and what comes first where its size is chosen. */
import { z } from 'zod';
import { tunes } from './phases.ts';
import { teachesAnswers } from './questions.ts';
import type { Phase } from './recipe.ts';
import { isBase } from './start-from.ts';

export const preferences = ['quality', 'latency', 'size'] as const;
export type Preference = (typeof preferences)[number];

export const goalSchema = z
  .enum(['base', 'adapt', 'assistant', 'embeddings'])
  .optional()
  .describe(
    'base: pretrain only; adapt: teach a model that exists the documents, by LoRA; assistant: then SFT and DPO; embeddings: pretrain a ModernBERT on hidden words, which turns texts into vectors to search by; left out, assistant where there are questions, else adapt for a base model, else base',
  );

export const preferSchema = z
  .enum(preferences)
  .optional()
  .describe(
    'what comes first where the size of a model is chosen: quality (default), the lowest expected loss; latency, the quickest to answer within 5 % of it; size, the smallest within 10 %',
  );

/** What a file means that does not say it. */
export function defaultGoal(file: {
  startFrom: string;
  data: { conversations?: unknown };
  questions: unknown[];
  phases?: readonly Phase[] | undefined;
}) {
  const { phases } = file;
  if (phases !== undefined && tunes(phases)) return 'assistant' as const;
  if (phases !== undefined) return isBase(file.startFrom) ? ('adapt' as const) : ('base' as const);
  if (teachesAnswers(file)) return 'assistant' as const;
  return isBase(file.startFrom) ? ('adapt' as const) : ('base' as const);
}
