/** Gates that a plan expects to be missed: told before anything is spent, and never refused, for a forecast may be wrong. */
import type { GateMetric } from '../config/gates.ts';
import type { Pipeline } from '../config/pipeline.ts';
import type { Recipe } from '../config/recipe.ts';

/** One sentence for each gate that stands outside of what is expected, or at its far end. */
export function gateWarnings({ gates, onFailure }: Pipeline['evaluate'], recipe: Recipe): string[] {
  const rounds = onFailure.replan + 1;
  return Object.entries(forecastOf(recipe)).flatMap(([metric, [low, high]]) => {
    const { max = Infinity, min = -Infinity } = gates[metric as GateMetric] ?? {};
    const gate = `evaluate.gates.${metric}`;
    const range = `the forecast, ${low.toFixed(2)} to ${high.toFixed(2)}`;
    const cost = `a run would train ${rounds === 1 ? 'once' : `${rounds} rounds`} and deploy nothing`;
    if (max < low) {
      return `${gate}: max ${max} stands below ${range}: ${cost}. Raise it, or give more text or time.`;
    }
    if (min > high) return `${gate}: min ${min} stands above ${range}: ${cost}. Lower it.`;
    if (max >= (low + high) / 2) return [];
    return `${gate}: max ${max} stands in the lower half of ${range}: it is sooner missed than kept, and then ${cost}.`;
  });
}

/** What the plan expects of each metric that it can foretell. */
function forecastOf({ pretrain, estimate }: Recipe): Partial<Record<GateMetric, [number, number]>> {
  if (pretrain === null) return {};
  const { valBpbLow: low, valBpbHigh: high, finalLoss } = estimate;
  if (pretrain.mask === undefined) return { valBpb: [low, high] };
  const nats = finalLoss / ((low + high) / 2);
  return { 'masked.loss': [low * nats, high * nats] };
}
