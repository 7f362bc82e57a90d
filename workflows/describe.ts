/** One line for people about what each stage made. */
import type { IngestResult } from '../activities/ingest.ts';
import type { GateFailure } from '../activities/plan.ts';
import type { PreprocessResult } from '../activities/preprocess-input.ts';
import type { TrainedModel } from '../activities/training-job.ts';
import type { EvaluationSummary } from '../config/manifests.ts';
import type { Recipe } from '../config/recipe.ts';
import type { RungOutcome } from '../config/sweep.ts';

/** E.g. `233 documents, sotu@1; 3 not read (2 binary, 1 undecodable)`. */
export function describeDataset({
  dataset,
  numDocuments,
  sampledFrom,
  dropped,
}: IngestResult): string {
  const unread = describeUnread(dropped);
  const rest = unread === null ? '' : `; ${unread}`;
  const sampled = sampledFrom === undefined ? '' : ` of ${sampledFrom}`;
  return `${numDocuments}${sampled} documents${sampled && ', a sample'}, ${dataset.name}@${dataset.version}${rest}`;
}

/** Files and records that ingest could not read, with the reasons; null when it read all. */
export function describeUnread(dropped: IngestResult['dropped']): string | null {
  return total(dropped) === 0 ? null : `${total(dropped)} not read${reasonsOf(dropped)}`;
}

export function describeCorpus({ summary }: PreprocessResult): string {
  const { kept, dropped, redacted, numTokens } = summary;
  const tokens =
    numTokens < 1e5 ? `${(numTokens / 1e3).toFixed(1)}K` : `${(numTokens / 1e6).toFixed(1)}M`;
  return `${kept} kept, ${total(dropped)} dropped${reasonsOf(dropped)}, ${total(redacted)} redacted, ${tokens} tokens`;
}

function total(counts: Record<string, number>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

function reasonsOf(dropped: Record<string, number>): string {
  const reasons = Object.entries(dropped).map(
    ([reason, count]) => `${count} ${reason.replaceAll('_', ' ')}`,
  );
  return reasons.length === 0 ? '' : ` (${reasons.join(', ')})`;
}

export function describeRecipe({ numParameters, model, estimate }: Recipe): string {
  const minutes = (estimate.trainingMs / 60_000).toFixed(1);
  const named = { modernbert: 'ModernBERT' }[model.family as string] ?? model.family;
  const name = model.family === 'transformers' ? model.architecture : named;
  return `${name.charAt(0).toUpperCase()}${name.slice(1)} ${(numParameters / 1e6).toFixed(1)}M, ${minutes} min of training, $${estimate.usd}`;
}

/** E.g. `2400 steps, loss 3.91, rate ×0.5 from step 812, taken back to step 900 (×0.5)`. */
export function describeTraining({
  numSteps,
  finalLoss,
  adapted,
  learningRates = [],
  rollbacks = [],
  microBatches = [],
  plateau,
  worlds = [],
  codes = [],
  ended,
}: TrainedModel): string {
  const rates = learningRates.map(
    ({ step, scale }) => `, rate ${describeScale(scale)} from step ${step}`,
  );
  const returns = rollbacks.map(
    ({ step, scale }) => `, taken back to step ${step} (${describeScale(scale)})`,
  );
  const hosts = worlds.map(
    ({ step, numHosts }) =>
      `, on ${numHosts} ${numHosts === 1 ? 'host' : 'hosts'} from step ${step}`,
  );
  const by = codes.map(
    ({ step, code, instructionSet }) =>
      `, by code ${code.slice(0, 12)} of the trainer${instructionSet === undefined ? '' : ` on ${instructionSet}`} from step ${step}`,
  );
  const exact = worlds.length + codes.length === 0 ? '' : ', not exact';
  const halvings = microBatches.map(
    ({ step, size }) => `, ${size} sequences at once from step ${step} (out of memory)`,
  );
  const spent = ended && `, ended by the budget at step ${ended.step} of ${ended.numSteps}`;
  const end = spent ?? (plateau === undefined ? '' : ', ended early on a plateau');
  const gain =
    adapted === undefined
      ? ''
      : `, held-out text ${adapted.valBpbBefore.toFixed(3)} → ${adapted.valBpb.toFixed(3)} bits a byte`;
  return `${numSteps} steps, loss ${finalLoss.toFixed(2)}${gain}${end}${rates.join('')}${returns.join('')}${halvings.join('')}${hosts.join('')}${by.join('')}${exact}`;
}

/** E.g. `after step 40 of the sweep ×1 3.214, ×2 3.190 go on; ×0.5 3.402, ×4 diverged end`. */
export function describeRung({ step, trials, goesOn }: RungOutcome): string {
  const told = (numbers: number[]) =>
    trials
      .filter(({ trial }) => numbers.includes(trial))
      .map(({ multiple, loss }) => `${describeScale(multiple)} ${loss?.toFixed(3) ?? 'diverged'}`)
      .join(', ');
  const lost = trials.map(({ trial }) => trial).filter((trial) => !goesOn.includes(trial));
  const onwards =
    goesOn.length === 0
      ? 'none goes on'
      : `${told(goesOn)} ${goesOn.length === 1 ? 'goes' : 'go'} on`;
  return `after step ${step} of the sweep ${onwards}${lost.length === 0 ? '' : `; ${told(lost)} ${lost.length === 1 ? 'ends' : 'end'}`}`;
}

/** E.g. `×0.5`. */
export function describeScale(scale: number): string {
  return `×${Number(scale.toPrecision(3))}`;
}

/** E.g. `questions.accuracy 0.910 ± 0.010, valBpb 1.580`. */
export function describeEvaluation({ metrics }: Pick<EvaluationSummary, 'metrics'>): string {
  return Object.entries(metrics)
    .map(([name, { value, stderr }]) => {
      const spread = stderr ? ` ± ${stderr.toFixed(3)}` : '';
      return `${name} ${value.toFixed(3)}${spread}`;
    })
    .join(', ');
}

export function describeGate({ metric, value, min, max, rival }: GateFailure): string {
  if (value === null) return `${metric} was not measured`;
  if (rival !== undefined) {
    const other = `${rival.name}@${rival.version}`;
    return `${metric} ${value.toFixed(3)} is worse than ${rival.value.toFixed(3)} of ${other}`;
  }
  const bound = min !== undefined && value < min ? `below ${min}` : `above ${max}`;
  return `${metric} ${value.toFixed(3)} is ${bound}`;
}
