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

/** How much worse than the best rival, as a share, a challenger may be: less than held-out text can tell apart. */
const challengeTolerance = 0.01;

export interface Rival {
  name: string;
  version: number;
  /** Bits a byte on the challenger's held-out text; null when they were not measured. */
  valBpb: number | null;
}

type Measured = Rival & { valBpb: number };

/** The rival with the fewest bits a byte; null when there is none. */
export function bestRival(rivals: readonly Rival[]): Measured | null {
  const measured = rivals.filter((rival): rival is Measured => rival.valBpb !== null);
  return measured.reduce<Measured | null>(
    (best, rival) => (best === null || rival.valBpb < best.valBpb ? rival : best),
    null,
  );
}

/** Whether a challenger is worse than the best of its rivals on the same held-out text. */
export function failedChallenge(
  rivals: readonly Rival[],
  evaluation: Pick<EvaluationSummary, 'metrics'>,
): GateFailure[] {
  if (rivals.length === 0) return [];
  const value = evaluation.metrics['valBpb']?.value ?? null;
  const best = bestRival(rivals);
  const unmeasured = rivals.some(({ valBpb }) => valBpb === null);
  if (value === null || best === null || unmeasured) return [{ metric: 'valBpb', value: null }];
  const max = Number((best.valBpb * (1 + challengeTolerance)).toFixed(4));
  if (value <= max) return [];
  const { name, version, valBpb } = best;
  return [{ metric: 'valBpb', value, max, rival: { name, version, value: valBpb } }];
}

/** The declared gates whose metric was not judged. */
export function openGates(
  gates: Pipeline['evaluate']['gates'],
  judged: ReadonlySet<GateMetric>,
): GateMetric[] {
  return (Object.keys(gates) as GateMetric[]).filter((metric) => !judged.has(metric));
}
