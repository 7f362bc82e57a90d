/** The section about training: a chart for each phase, what happened on it, and the numbers as a table. */
import { describeRollback } from '../../registry/rollbacks.ts';
import { budgetEvents, budgetLine } from '../budget-words.ts';
import { describeCurve, lossChart } from './charts.ts';
import { figureCharts } from './figure-charts.ts';
import { foreign, html, type Html } from './html.ts';
import { digest, table } from './render-parts.ts';
import type { PhaseReport, RunReport } from './run-report.ts';
import { adaptedWords, count, duration, large, percent, plural, rateWords, size } from './words.ts';

const titles: Record<string, string> = {
  pretrain: 'Pretraining',
  sft: 'Fine-tuning (SFT)',
  dpo: 'Alignment (DPO)',
  orpo: 'Alignment (ORPO)',
};

const maxRows = 40;

export function renderTraining({
  phases,
  plan,
  base,
  run,
  budget,
  sweep = [],
}: RunReport): Html | null {
  if (phases.length === 0) return null;
  const adapts = base !== null || plan?.recipe.pretrain?.lora !== undefined;
  const title = ({ phase }: PhaseReport) =>
    adapts && phase === 'pretrain' ? 'Adapting (LoRA)' : (titles[phase] ?? phase);
  const rungsOf = ({ phase, round }: PhaseReport) =>
    sweep.filter((rung) => rung.phase === phase && rung.round === round);
  return html`${budget && renderBudget(budget)}${phases.map((phase) => html`${renderPhase(phase, title(phase), run)}${renderSweep(rungsOf(phase))}`)}`;
}

/** Which of the rates that were tried went on, one row for each trial. */
function renderSweep(rungs: NonNullable<RunReport['sweep']>): Html | null {
  const [first] = rungs;
  if (first === undefined) return null;
  const rows = first.trials.map(({ trial, multiple, learningRate }) => [
    `×${Number(multiple.toPrecision(3))}`,
    { number: String(Number(learningRate.toPrecision(4))) },
    ...rungs.map(({ trials, goesOn }) => {
      const found = trials.find((one) => one.trial === trial);
      if (found === undefined) return '';
      const loss = found.loss === null ? 'diverged' : found.loss.toFixed(3);
      return goesOn.includes(trial) ? `${loss}, goes on` : loss;
    }),
  ]);
  return html`<h4>Learning rates tried</h4>
    <p>
      The loss on unseen text after so many steps, in nats a token; the lowest went on from their
      own checkpoints (successive halving). The curve above is that of the last one.
    </p>
    ${table(['of the planned rate', 'learning rate', ...rungs.map(({ step }) => `step ${count(step)}`)], rows)}`;
}

function renderBudget(budget: NonNullable<RunReport['budget']>): Html {
  const events = budgetEvents(budget);
  return html`<p>Spent: ${budgetLine(budget)}.</p>
    ${
      events.length > 0 &&
      html`<ul>
        ${events.map((text) => html`<li>${foreign(text)}</li>`)}
      </ul>`
    }`;
}

function renderPhase(phase: PhaseReport, title: string, run: string): Html {
  const { points, marks, evaluations, numSteps, numTokens, trainingMs, weights } = phase;
  const { rollbacks, plateau } = phase;
  const done = points.at(-1)?.step ?? 0;
  const facts = [
    numSteps === null ? null : `${count(done)} of ${count(numSteps)} steps`,
    numTokens === null ? null : `${large(numTokens)} tokens`,
    trainingMs === null ? null : duration(trainingMs),
    phase.learningRates.length === 0
      ? null
      : `learning rate, as ordered, ${phase.learningRates.map(rateWords).join(', ')}`,
    rollbacks.length === 0 ? null : `taken back ${plural(rollbacks.length, 'time')}`,
    plateau === null ? null : `ended early on a plateau`,
    phase.adapted === null ? null : adaptedWords(phase.adapted),
    phase.round > 0 ? `round ${phase.round + 1}` : null,
  ].filter((fact) => fact !== null);
  return html`<h3>${title}</h3>
    <p>
      ${facts.join(', ')}${weights !== null && html`; weights ${digest(weights)}`}.${phase.reused && ` Nothing had changed, so it was not trained again${phase.trainedBy === run ? '' : `: this is how run ${phase.trainedBy} trained it`}.`}
    </p>
    ${
      points.length === 0
        ? html`<p class="soft">No step is stored yet.</p>`
        : html`<figure>
              ${lossChart(phase)}
              <figcaption>
                <span class="dots"
                  ><span><i style="background:var(--accent)"></i>loss, smoothed</span
                  ><span><i style="background:var(--raw)"></i>loss of each step</span
                  ><span><i style="background:var(--rate)"></i>learning rate</span>${
                    evaluations.length > 0 &&
                    html`<span><i style="background:var(--warn)"></i>loss on unseen text</span>`
                  }<span>◆ checkpoint in S3</span
                  >${marks.length > 0 && html`<span>numbers: see the list</span>`}</span
                ><br />${describeCurve(phase)}
              </figcaption>
            </figure>
            ${figureCharts(phase)}`
    }
    ${
      marks.length > 0 &&
      html`<ol class="marks">
        ${marks.map(({ step, kind, text }) => html`<li class="${kind}">${foreign(text)} <span class="hint">(at step ${count(step)})</span></li>`)}
      </ol>`
    }
    ${
      rollbacks.length > 0 &&
      html`<p>
          Its loss went wrong, so it went on from an earlier step, at a lower rate, past what it had
          read. A repeat decides the same.
        </p>
        <ul>
          ${rollbacks.map((rollback) => html`<li>${describeRollback(rollback)}</li>`)}
        </ul>`
    }
    ${
      plateau !== null &&
      html`<p>
        At step ${count(plateau.step)} the loss on unseen text had fallen no more:
        ${plateau.found.toFixed(3)} at best, where at most ${plateau.bound.toFixed(3)} was asked.
        The rate fell to zero until step ${count(plateau.end)}, and training ended.
      </p>`
    }
    ${
      evaluations.length > 0 &&
      table(
        ['step', 'bits a byte on unseen text', 'loss on unseen text'],
        evaluations.map(({ step, valBpb, valLoss }) => [
          count(step),
          { number: valBpb.toFixed(3) },
          { number: valLoss.toFixed(3) },
        ]),
      )
    }
    ${points.length > 0 && numbersTable(phase)}`;
}

function numbersTable({ points, checkpoints, phase }: PhaseReport): Html {
  const every = Math.max(1, Math.ceil(points.length / maxRows));
  const shown = points.filter((_, index) => index % every === 0 || index === points.length - 1);
  const kept = checkpoints.map(
    ({ step, generation }) => `${count(step)} (generation ${generation})`,
  );
  return html`<details>
    <summary>The numbers of ${phase} as a table</summary>
    ${table(
      ['step', 'loss', 'learning rate', 'tokens a second', 'gradient norm', 'MFU', 'memory'],
      shown.map(({ step, loss, learningRate, tokensPerSecond, gradNorm, mfu, memoryBytes }) => [
        count(step),
        { number: loss.toFixed(3) },
        { number: learningRate.toExponential(2) },
        { number: count(tokensPerSecond) },
        { number: gradNorm === undefined ? '–' : gradNorm.toPrecision(3) },
        { number: mfu === undefined ? '–' : percent(mfu) },
        { number: memoryBytes === undefined ? '–' : size(memoryBytes) },
      ]),
      true,
    )}
    <p class="hint">Checkpoints at step ${kept.length === 0 ? '–' : kept.join(', ')}.</p>
  </details>`;
}
