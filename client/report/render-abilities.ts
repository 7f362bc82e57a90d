/** The section about what the model can do: evaluations side by side, gates, latency, and answers to read. */
import type { Evaluation } from '../../config/manifests.ts';
import { shareBar } from './charts.ts';
import { foreign, html, type Html, type Part } from './html.ts';
import { table, type Cell } from './render-parts.ts';
import type { RunReport } from './run-report.ts';
import { count, metricValue, metricWords } from './words.ts';

const columns: Record<string, string> = {
  'evaluate-base': 'base',
  'evaluate-tuned': 'after SFT',
  evaluate: 'after DPO',
};

export function renderAbilities({ gates, plan, ...report }: RunReport): Html | null {
  if (report.evaluations.length === 0 && gates.length === 0) return null;
  const adapts = plan?.recipe.pretrain?.lora !== undefined;
  const named: Record<string, string> = {
    ...columns,
    ...(adapts && { 'evaluate-base': 'adapted' }),
    ...(plan?.recipe.orpo && { evaluate: 'after ORPO' }),
  };
  const evaluations = report.evaluations.map((one) => ({
    ...one,
    title: named[one.stage] ?? one.stage,
  }));
  return html`${evaluations.length > 0 && metricsTable(evaluations)}
  ${gates.length > 0 && gatesTable(gates)}
  ${
    evaluations.length > 0 &&
    html`<h3>Speed of the server</h3>
      ${latencyTable(evaluations)}${samplesTable(evaluations)}`
  }`;
}

type Evaluations = (RunReport['evaluations'][number] & { title: string })[];

function metricsTable(evaluations: Evaluations): Html {
  const names = [
    ...new Set(evaluations.flatMap(({ evaluation }) => Object.keys(evaluation.metrics))),
  ].toSorted();
  const rows = names.map((metric): Cell[] => [
    html`${metric}<br /><span class="hint">${metricWords(metric)}</span>`,
    ...evaluations.map(({ evaluation }): Cell => {
      const found = evaluation.metrics[metric];
      if (found === undefined) return html`<span class="soft">–</span>`;
      const { value, stderr, count: asked } = found;
      const figure = html`<strong>${metricValue(metric, value)}</strong
        >${stderr !== null && html` <span class="hint">± ${metricValue(metric, stderr)}</span>`}`;
      const bar = metric.endsWith('.accuracy') ? shareBar(value, 'score') : html`<br />`;
      return html`${figure}${bar}<span class="hint">${count(asked)} measured</span>`;
    }),
  ]);
  return table(['', ...evaluations.map(({ title }) => title)], rows);
}

function gatesTable(gates: RunReport['gates']): Html {
  return html`<h3>Gates</h3>
    ${table(
      ['', 'bound', 'measured', 'by how much', ''],
      gates.map(({ metric, min, max, value, passed }) => {
        const bounds = [
          min === null ? null : `≥ ${metricValue(metric, min)}`,
          max === null ? null : `≤ ${metricValue(metric, max)}`,
        ].filter((bound) => bound !== null);
        const room =
          value === null
            ? null
            : Math.min(
                min === null ? Infinity : value - min,
                max === null ? Infinity : max - value,
              );
        return [
          metric,
          bounds.join(', '),
          value === null ? '–' : metricValue(metric, value),
          room === null ? '–' : `${room < 0 ? '−' : '+'}${metricValue(metric, Math.abs(room))}`,
          passed === null
            ? html`<span class="badge warn">not measured</span>`
            : html`<span class="badge ${passed ? 'good' : 'bad'}"
                >${passed ? 'passed' : 'failed'}</span
              >`,
        ];
      }),
    )}`;
}

function latencyTable(evaluations: Evaluations): Html {
  const row = (what: string, read: (latency: Evaluation['latency']) => Part): Cell[] => [
    what,
    ...evaluations.map(({ evaluation }) => read(evaluation.latency)),
  ];
  return html`${table(
      ['', ...evaluations.map(({ title }) => title)],
      [
        row('first token', ({ firstTokenMs }) => `${firstTokenMs.toFixed(0)} ms`),
        row('tokens a second', ({ tokensPerSecond }) => count(tokensPerSecond)),
        row('largest difference to PyTorch', ({ probeDifference }) =>
          probeDifference.toExponential(1),
        ),
      ],
    )}
    <p class="hint">One request at a time on the machine of the run, median of five.</p>`;
}

/** The same question is one row: what each phase answered to it. */
function samplesTable(evaluations: Evaluations): Html | null {
  const questions = new Map<string, { expected: string; answers: Map<string, string> }>();
  for (const { stage, evaluation } of evaluations) {
    for (const { question, expected, answer } of evaluation.samples) {
      const known = questions.get(question) ?? { expected, answers: new Map<string, string>() };
      known.answers.set(stage, answer);
      questions.set(question, known);
    }
  }
  if (questions.size === 0) return null;
  const rows = [...questions].map(([question, { expected, answers }]): Cell[] => [
    foreign(question),
    foreign(expected),
    ...evaluations.map(({ stage }): Part => {
      const answer = answers.get(stage);
      if (answer === undefined) return html`<span class="soft">–</span>`;
      const right = answer.trim() === expected.trim();
      const shown = answer.trim() === '' ? html`<em>nothing</em>` : foreign(cut(answer));
      return html`<span class="${right ? 'right' : 'soft'}">${right ? '✓ ' : ''}${shown}</span>`;
    }),
  ]);
  return html`<h3>Questions and answers</h3>
    <p>In phrasings that were never trained on. ✓ is the expected answer, letter for letter.</p>
    ${table(['question', 'expected', ...evaluations.map(({ title }) => title)], rows)}`;
}

function cut(text: string): string {
  const characters = [...text.trim()];
  return characters.length <= 160 ? text.trim() : `${characters.slice(0, 159).join('')}…`;
}
