/** How many tokens are trained on, and why no more: in words that name what bound them. */
import type { Reason } from '../config/recipe.ts';

/** What bound them; least: fewer steps are not planned; few: the budget, to too few of them. */
export type TokenBound = 'budget' | 'epochs' | 'fixed' | 'least' | 'few';

/** As many as all three allow, and which of them allows the fewest. */
export function boundTokens(allowed: {
  /** By the time. */
  budget: number;
  /** Before the text, or one of its sources, came too often. */
  epochs: number;
  /** By whoever asks; left out, any number. */
  fixed?: number | undefined;
}): { numTokens: number; bound: TokenBound } {
  const { budget, epochs, fixed = Infinity } = allowed;
  const numTokens = Math.min(budget, epochs, fixed);
  if (numTokens === fixed) return { numTokens, bound: 'fixed' };
  return { numTokens, bound: numTokens === epochs ? 'epochs' : 'budget' };
}

/** `because`: why no text is read more often. */
export function tokensReason(
  bound: TokenBound,
  recipe: { numSteps: number; batchSize: number; contextLength: number },
  text: { epochTokens: number; maxEpochs: number; because: string; source: string },
): Reason {
  const { maxEpochs, because, source } = text;
  const numTokens = recipe.numSteps * recipe.batchSize * recipe.contextLength;
  const amount =
    numTokens < 1e6 ? `${Math.round(numTokens / 1e3)}K` : `${(numTokens / 1e6).toFixed(1)}M`;
  const reasons: Record<TokenBound, string> = {
    budget: `what the budget affords; up to ${maxEpochs} epochs, for ${because}`,
    epochs: `no text is read more than ${maxEpochs} times, though the budget affords more: ${because}`,
    fixed: `as many as were fixed; up to ${maxEpochs} epochs, for ${because}`,
    few: `what the budget affords beside reading, scoring and writing the model: ${recipe.numSteps} ${recipe.numSteps === 1 ? 'step' : 'steps'} hardly teach, so give it more`,
    least: `the fewest steps that are planned, ${recipe.numSteps}: fewer would hardly teach`,
  };
  return {
    choice: 'tokens',
    value: `${amount}, ${(numTokens / Math.max(1, text.epochTokens)).toFixed(2)} epochs`,
    reason: reasons[bound],
    source,
  };
}
