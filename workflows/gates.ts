/** Evaluation gates: which bounds of the pipeline file a model does not keep. */
import type { GateFailure } from '../activities/plan.ts';
import type { Evaluation } from '../config/manifests.ts';
import type { GateMetric, Pipeline } from '../config/pipeline.ts';

/** The failed gates among those metrics; a metric that was not measured fails its gate. */
export function failedGates(
  gates: Pipeline['evaluate']['gates'],
  evaluation: Evaluation,
  metrics: GateMetric[],
): GateFailure[] {
  return metrics.flatMap((metric) => {
    const bound = gates[metric];
    if (bound === undefined) return [];
    const value = evaluation.metrics[metric]?.value ?? null;
    const kept =
      value !== null && value >= (bound.min ?? -Infinity) && value <= (bound.max ?? Infinity);
    return kept ? [] : [{ metric, value, ...bound }];
  });
}

/** One line for people, e.g. `valBpb 1.58, questions.accuracy 0.91 ± 0.01`. */
export function describeEvaluation({ metrics }: Evaluation): string {
  return Object.entries(metrics)
    .map(
      ([name, { value, stderr }]) =>
        `${name} ${value.toFixed(3)}${stderr ? ` ± ${stderr.toFixed(3)}` : ''}`,
    )
    .join(', ');
}
