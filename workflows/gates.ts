/** Evaluation gates: which bounds of the pipeline file a model does not keep. */
import type { GateFailure } from '../activities/plan.ts';
import type { GateMetric } from '../config/gates.ts';
import type { EvaluationSummary } from '../config/manifests.ts';
import type { Pipeline } from '../config/pipeline.ts';

/** The failed gates among those metrics; a metric that was not measured fails its gate. */
export function failedGates(
  gates: Pipeline['evaluate']['gates'],
  evaluation: Pick<EvaluationSummary, 'metrics'>,
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

/** The declared gates whose metric was not judged. */
export function openGates(
  gates: Pipeline['evaluate']['gates'],
  judged: ReadonlySet<GateMetric>,
): GateMetric[] {
  return (Object.keys(gates) as GateMetric[]).filter((metric) => !judged.has(metric));
}
