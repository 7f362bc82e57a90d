/** The end of a run, for people: what came out of it, what it can do, where it is served. */
import type { LiveStatus } from '../live-status.ts';
import type { Evaluation } from '../../config/manifests.ts';
import type { StageName } from '../../workflows/messages.ts';
import { clock, plain, shortDigest, table, type Paint } from './text.ts';

/** The last lines about a run that has ended. */
export function endLines(status: LiveStatus, paint: Paint): string[] {
  const spent = clock(endOf(status) - status.startedAt);
  if (status.state === 'cancelled')
    return [paint('yellow', `run ${status.run} was cancelled after ${spent}`)];
  if (status.result === null) {
    const why = status.failure === null ? 'it ended without a result' : plain(status.failure);
    return [`${paint('red', `✗ run ${status.run} failed after ${spent}:`)} ${why}`];
  }
  const { model, digests, endpoint } = status.result;
  const reused = model.reused ? ' (the same model as before: reused)' : '';
  return [
    `${paint('green', '✓')} ${paint('bold', `${model.name}@${model.version}`)}${reused}, bundle ${shortDigest(digests.bundle)}, in ${spent}`,
    ...(endpoint === null ? [] : [`  served as ${endpoint}`]),
    ...(endpoint === null || status.recipe?.model.family !== 'modernbert'
      ? []
      : embeddingLines(endpoint, status)),
  ];
}

/** What to do with a model that embeds text, as no chat shows it. */
function embeddingLines(endpoint: string, { stages }: LiveStatus): string[] {
  const served = stages.find(({ name }) => name === 'deploy')?.summary ?? '';
  const url = / live at (\S+?)\/?$/.exec(served)?.[1] ?? 'http://127.0.0.1:8080';
  const body = JSON.stringify({ model: endpoint, input: ['a text', 'another'] });
  return [
    '  turn texts into vectors, of which those near each other mean much the same:',
    `    curl ${url}/v1/embeddings -H "Authorization: Bearer $(head -1 .temper/api-key)" -H 'content-type: application/json' -d '${body}'`,
  ];
}

const phases: Record<string, string> = {
  'evaluate-base': 'base',
  'evaluate-tuned': 'tuned',
  evaluate: 'aligned',
};

type Figures = Pick<Evaluation, 'metrics' | 'latency'>;

/** The evaluations side by side: one row a metric, one column a phase. Of an adapted model the first is no base. */
export function evaluationTable(
  evaluations: { stage: StageName; evaluation: Figures }[],
  { adapted }: { adapted: boolean },
): string[] {
  if (evaluations.length === 0) return [];
  const metrics = new Set(evaluations.flatMap(({ evaluation }) => Object.keys(evaluation.metrics)));
  const named: Record<string, string> = {
    ...phases,
    ...(adapted && { 'evaluate-base': 'adapted' }),
  };
  const header = ['', ...evaluations.map(({ stage }) => named[stage] ?? stage)];
  const row = (name: string, read: (evaluation: Figures) => string) => [
    name,
    ...evaluations.map(({ evaluation }) => read(evaluation)),
  ];
  return table(header, [
    ...[...metrics].toSorted().map((metric) =>
      row(metric, ({ metrics: found }) => {
        const score = found[metric];
        if (score === undefined) return '–';
        const told = isShare(metric) ? percent : (value: number) => value.toFixed(3);
        const value = told(score.value);
        const error = score.stderr === null ? '' : ` ± ${told(score.stderr)}`;
        return `${value}${error}`;
      }),
    ),
    row('first token', ({ latency }) => `${latency.firstTokenMs.toFixed(0)} ms`),
    row('tokens a second', ({ latency }) => latency.tokensPerSecond.toFixed(0)),
    row('largest difference to PyTorch', ({ latency }) => latency.probeDifference.toExponential(1)),
  ]);
}

/** Whether a run adapts a model that exists, as its recipe says. */
export function adapts({ recipe }: Pick<LiveStatus, 'recipe'>): boolean {
  return recipe?.pretrain?.lora !== undefined;
}

/** Time inside stages, and the rest of the run. */
export function stageTimes(status: LiveStatus): {
  totalMs: number;
  stagesMs: number;
  betweenMs: number;
} {
  const totalMs = endOf(status) - status.startedAt;
  const intervals = status.stages
    .flatMap(({ startedAt, endedAt }) =>
      startedAt === null || endedAt === null ? [] : [[startedAt, endedAt] as const],
    )
    .toSorted(([a], [b]) => a - b);
  let stagesMs = 0;
  let reached = 0;
  for (const [start, end] of intervals) {
    stagesMs += Math.max(0, end - Math.max(start, reached));
    reached = Math.max(reached, end);
  }
  return { totalMs, stagesMs, betweenMs: Math.max(0, totalMs - stagesMs) };
}

/** A run says that it has ended a moment before its execution closes: until then, the end of its last stage. */
function endOf({ startedAt, endedAt, stages }: LiveStatus): number {
  return endedAt ?? Math.max(startedAt, ...stages.map((stage) => stage.endedAt ?? startedAt));
}

/** Of a metric that counts how often something is right. */
function isShare(metric: string): boolean {
  return metric.endsWith('.accuracy');
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
