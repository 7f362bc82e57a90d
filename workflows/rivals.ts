/** The models that a challenger must equal, all measured on the same held-out text. */
import { proxyActivities } from '@temporalio/workflow';
import type { EvaluateActivities } from '../activities/evaluate.ts';
import type { ExportActivities } from '../activities/export.ts';
import type { GateFailure, ParentModel } from '../activities/plan.ts';
import type { EvaluationSummary } from '../config/manifests.ts';
import { gpu } from './activity-options.ts';
import type { PipelineResult } from './messages.ts';

/** How much worse than the best rival, as a share, a challenger may be: less than held-out text can tell apart. */
const challengeTolerance = 0.01;

interface Rival {
  name: string;
  version: number;
  /** Bits a byte on the challenger's held-out text; null when they were not measured. */
  valBpb: number | null;
}

type Measured = Rival & { valBpb: number };

/** The rival with the fewest bits a byte; null when there is none. */
function bestRival(rivals: readonly Rival[]): Measured | null {
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

/** Those of a run: nobody until they are measured. */
export class Rivals {
  /** The model that the challenger went on from. */
  parent: Rival | null = null;
  /** The best of the parent's line, measured too where it is not the parent itself. */
  #anchor: Rival | null = null;

  get all(): Rival[] {
    return [this.parent, this.#anchor].filter((one) => one !== null);
  }

  /** Measures each once. */
  async measure(parent: ParentModel, corpus: string, threads: number): Promise<void> {
    this.parent ??= await measureRival(parent, corpus, threads);
    if (parent.anchor === undefined) return;
    this.#anchor ??= await measureRival(parent.anchor, corpus, threads);
  }

  /** The best rival stays the one to equal until a model is at least as good: what is let through does not add up. */
  anchorFor(evaluations: PipelineResult['evaluations']): {
    anchor?: { name: string; version: number };
  } {
    const base = evaluations.find(({ stage }) => stage === 'evaluate-base')?.evaluation;
    const value = base?.metrics['valBpb']?.value;
    const best = bestRival(this.all);
    if (value === undefined || best === null || value <= best.valBpb) return {};
    return { anchor: { name: best.name, version: best.version } };
  }
}

/** A rival's base model on this corpus' held-out text, through the same server: both count alike. */
async function measureRival(
  { name, version, pretrain }: Pick<ParentModel, 'name' | 'version' | 'pretrain'>,
  corpus: string,
  threads: number,
): Promise<Rival> {
  if (pretrain === null) return { name, version, valBpb: null };
  const who = `${name}@${version}`;
  const { exportOnnx } = proxyActivities<ExportActivities>({
    ...gpu,
    summary: `export ${who} to ONNX`,
  });
  const { evaluateModel } = proxyActivities<EvaluateActivities>({
    ...gpu,
    summary: `${who} on the same held-out text`,
  });
  const model = { phase: 'pretrain' as const, stage: pretrain };
  const { stage: exported } = await exportOnnx({ model, corpus, threads });
  const { evaluation } = await evaluateModel({ exported, corpus, heldOut: true });
  return { name, version, valBpb: evaluation.metrics['valBpb']?.value ?? null };
}
