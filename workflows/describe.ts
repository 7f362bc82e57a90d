/** One line for people about what each stage made. */
import type { GateFailure } from '../activities/plan.ts';
import type { PreprocessResult } from '../activities/preprocess-input.ts';
import type { Evaluation } from '../config/manifests.ts';
import type { Recipe } from '../config/recipe.ts';

export function describeCorpus({ summary }: PreprocessResult): string {
  const { kept, dropped, redacted, numTokens } = summary;
  const total = (counts: Record<string, number>) =>
    Object.values(counts).reduce((sum, count) => sum + count, 0);
  const reasons = Object.entries(dropped).map(
    ([reason, count]) => `${count} ${reason.replaceAll('_', ' ')}`,
  );
  const why = reasons.length === 0 ? '' : ` (${reasons.join(', ')})`;
  const millions = (numTokens / 1e6).toFixed(1);
  return `${kept} kept, ${total(dropped)} dropped${why}, ${total(redacted)} redacted, ${millions}M tokens`;
}

export function describeRecipe({ numParameters, estimate }: Recipe): string {
  const minutes = (estimate.trainingMs / 60_000).toFixed(1);
  return `Llama ${(numParameters / 1e6).toFixed(1)}M, ${minutes} min of training, $${estimate.usd}`;
}

/** E.g. `questions.accuracy 0.910 ± 0.010, valBpb 1.580`. */
export function describeEvaluation({ metrics }: Evaluation): string {
  return Object.entries(metrics)
    .map(([name, { value, stderr }]) => {
      const spread = stderr ? ` ± ${stderr.toFixed(3)}` : '';
      return `${name} ${value.toFixed(3)}${spread}`;
    })
    .join(', ');
}

export function describeGate({ metric, value, min, max }: GateFailure): string {
  if (value === null) return `${metric} was not measured`;
  const bound = min !== undefined && value < min ? `below ${min}` : `above ${max}`;
  return `${metric} ${value.toFixed(3)} is ${bound}`;
}
