/** Evaluation gates: which bounds of the pipeline file a model does not keep. */
import type { GateFailure } from '../activities/plan.ts';
import type { EvaluationSummary } from '../config/manifests.ts';
import type { GateMetric, Pipeline } from '../config/pipeline.ts';

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

/** How much worse than the champion, as a share, a challenger may be: less than held-out text can tell apart. */
const challengeTolerance = 0.01;

export interface Rival {
  name: string;
  version: number;
  /** Bits a byte on the challenger's held-out text; null when they were not measured. */
  valBpb: number | null;
}

/** Whether a challenger is worse than its rival on the same held-out text. */
export function failedChallenge(
  { name, version, valBpb }: Rival,
  evaluation: Pick<EvaluationSummary, 'metrics'>,
): GateFailure[] {
  const value = evaluation.metrics['valBpb']?.value ?? null;
  if (value === null || valBpb === null) return [{ metric: 'valBpb', value: null }];
  const max = Number((valBpb * (1 + challengeTolerance)).toFixed(4));
  if (value <= max) return [];
  return [{ metric: 'valBpb', value, max, rival: { name, version, value: valBpb } }];
}

/** The declared gates whose metric was not judged. */
export function openGates(
  gates: Pipeline['evaluate']['gates'],
  judged: ReadonlySet<GateMetric>,
): GateMetric[] {
  return (Object.keys(gates) as GateMetric[]).filter((metric) => !judged.has(metric));
}
