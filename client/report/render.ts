/** The page of a run: facts in, one HTML file out, which needs nothing beside itself. Pure. */
import { isOfKept } from '../../config/dropped.ts';
import { architectureOf } from '../../config/recipe.ts';
import { stageOfPhase } from '../live-status.ts';
import { bandChart, spanBar } from './charts.ts';
import { foreign, html, type Html, type Part } from './html.ts';
import { renderData } from './render-data.ts';
import { renderAbilities } from './render-abilities.ts';
import { renderLedger } from './render-ledger.ts';
import { renderTraining } from './render-training.ts';
import { renderPage } from './page.ts';
import { digest, table } from './render-parts.ts';
import type { RunReport, StageReport } from './run-report.ts';
import {
  baseWords,
  count,
  duration,
  large,
  metricValue,
  percent,
  plural,
  rateWords,
  size,
  when,
} from './words.ts';

/** The whole page. With `refreshS` the browser reads it again after so many seconds, while the run goes on. */
export function renderReport(report: RunReport, refreshS: number | null = null): string {
  const sections: [id: string, title: string, body: Html | null][] = [
    ['plan', 'Plan against outcome', renderPlan(report)],
    ['training', 'Training', renderTraining(report)],
    ['ledger', 'What it was trained on, and how often', renderLedger(report)],
    ['abilities', 'What it can do', renderAbilities(report)],
    ['data', 'What it read', renderData(report)],
    ['way', 'What happened on the way', renderNotes(report)],
    ['stages', 'The ten stages and their digests', renderStages(report)],
    ['again', 'Make it again', renderRepeat(report)],
  ];
  const present = sections.flatMap(([id, title, body]) =>
    body === null ? [] : [{ id, title, body }],
  );
  const body = html`${renderHeader(report)}
    <main>
      <nav aria-label="Sections">
        ${present.map(({ id, title }) => html`<a href="#${id}">${title}</a>`)}
      </nav>
      ${renderMissing(report)}
      ${present.map(
        ({ id, title, body: inner }) =>
          html`<section aria-labelledby="${id}">
            <h2 id="${id}">${title}</h2>
            ${inner}
          </section>`,
      )}
    </main>
    <footer>
      <p>
        Made ${when(report.madeAt)} by <code>npx temper report ${report.run}</code>. This page is
        one file and loads nothing; the same facts:
        <code>npx temper report ${report.run} --json</code>
      </p>
    </footer>`;
  return renderPage(`${report.run} · Temper report`, body, refreshS);
}

const stateBadges: Record<RunReport['state'], string> = {
  finished: 'good',
  failed: 'bad',
  cancelled: 'warn',
  running: '',
  unknown: 'warn',
};

const goalWords: Record<string, string> = {
  base: 'a base model',
  adapt: 'an adapted model',
  assistant: 'an assistant',
  embeddings: 'a model that embeds text',
};

function renderHeader(report: RunReport): Html {
  const { run, state, startedAt, endedAt, madeAt, machine, model, goal, endpoint, parent, base } =
    report;
  const spent = startedAt === null ? null : Date.parse(endedAt ?? madeAt) - Date.parse(startedAt);
  const about: Part[] = [];
  if (goal !== null) about.push(goalWords[goal] ?? goal);
  if (report.plan !== null) about.push(`${large(report.plan.recipe.numParameters)} parameters`);
  if (parent !== null) about.push(`from ${parent.name}@${parent.version}`);
  if (base !== null) about.push(html`from ${foreign(baseWords(base))}`);
  if (spent !== null) {
    const verb = state === 'running' ? 'running for' : state === 'finished' ? 'made in' : 'after';
    about.push(`${verb} ${duration(spent)}`);
  }
  if (machine !== null)
    about.push(
      `on ${plural(machine.cores, 'core')} (${machine.device}, ${machine.instructionSet}, ${Math.round(machine.memoryBytes / 2 ** 30)} GB)`,
    );
  return html`<header>
    <p class="eyebrow">Run report${startedAt !== null && html` · ${when(startedAt)}`}</p>
    <div class="title">
      <h1>${model === null ? run : `${model.name}@${model.version}`}</h1>
      <span class="badge ${stateBadges[state]}"
        >${state === 'unknown' ? 'state not stored' : state}</span
      >
    </div>
    <p class="lead">${model !== null && html`Run ${run}: `}${sentence(about)}</p>
    ${model?.bundle != null && html`<p class="hint">bundle ${digest(model.bundle)}${endpoint !== null && html` · served as <strong>${endpoint}</strong>`}${model.reused && ' · the same model had been made before, so it kept its number'}</p>`}
    ${report.failure !== null && html`<div class="box ${state === 'cancelled' ? 'warn' : 'bad'}" role="note"><strong>${state === 'cancelled' ? 'It was cancelled.' : 'Why it failed.'}</strong> ${foreign(report.failure)}</div>`}
    ${renderCards(report)}
  </header>`;
}

function sentence(parts: readonly Part[]): Html {
  return html`${parts.map((part, index) => html`${index > 0 && ', '}${part}`)}.`;
}

/** The few figures that answer "was it worth it". */
function renderCards({ evaluations, gates, plan, data, notes, phases }: RunReport): Html | null {
  const cards: { what: string; figure: string; more: string }[] = [];
  const [first, last] = [evaluations[0], evaluations.at(-1)];
  const bpb = evaluations.find(({ evaluation }) => evaluation.metrics['valBpb'])?.evaluation
    .metrics['valBpb'];
  if (bpb !== undefined) {
    const band = plan?.recipe.estimate;
    cards.push({
      what: 'Bits a byte, unseen text',
      figure: bpb.value.toFixed(3),
      more: band ? `planned ${band.valBpbLow.toFixed(2)} to ${band.valBpbHigh.toFixed(2)}` : '',
    });
  }
  const found = first?.evaluation.metrics['retrieval.accuracy'];
  if (found !== undefined) {
    cards.push({
      what: 'Passages found',
      figure: metricValue('retrieval.accuracy', found.value),
      more: `of ${count(found.count)}, each by its other half`,
    });
  }
  const [before, after] = [first, last].map(
    (one) => one?.evaluation.metrics['questions.accuracy'] ?? null,
  );
  if (after) {
    const tuned = before && first !== last;
    cards.push({
      what: 'Answers right',
      figure: metricValue('questions.accuracy', after.value),
      more: tuned
        ? `${percent(before.value)} before fine-tuning`
        : `of ${count(after.count)} questions`,
    });
  }
  const adapted = phases.findLast((phase) => phase.adapted !== null)?.adapted ?? null;
  if (adapted !== null) {
    const gain = 1 - adapted.valBpb / adapted.valBpbBefore;
    cards.push({
      what: 'Gained on held-out text',
      figure: percent(gain),
      more: `${adapted.valBpbBefore.toFixed(3)} → ${adapted.valBpb.toFixed(3)} bits a byte`,
    });
  }
  const measured = gates.filter(({ passed }) => passed !== null);
  if (gates.length > 0) {
    const passed = measured.filter((gate) => gate.passed).length;
    cards.push({
      what: 'Gates',
      figure: `${passed} of ${gates.length}`,
      more:
        measured.length < gates.length
          ? `passed, ${gates.length - measured.length} not measured`
          : 'passed',
    });
  }
  if (data?.corpus) {
    const { kept, numTokens } = data.corpus;
    const total = data.dropped
      .filter(({ reason }) => !isOfKept(reason))
      .reduce((sum, drop) => sum + drop.count, kept);
    cards.push({
      what: 'Documents kept',
      figure: `${count(kept)} of ${count(total)}`,
      more: `${large(numTokens)} tokens`,
    });
  }
  const losses = phases.flatMap(({ marks }) => marks).filter(({ kind }) => kind === 'lost').length;
  if (phases.length > 0 && notes.length > 0) {
    cards.push({
      what: 'Losses survived',
      figure: count(losses),
      more: plural(notes.length, 'note'),
    });
  }
  if (cards.length === 0) return null;
  return html`<dl class="cards">
    ${cards.map(
      ({ what, figure, more }) =>
        html`<div>
          <dt>${what}</dt>
          <dd>${figure}${more !== '' && html`<small>${more}</small>`}</dd>
        </div>`,
    )}
  </dl>`;
}

function renderMissing({ missing }: RunReport): Html | null {
  if (missing.length === 0) return null;
  return html`<div class="box warn" role="note">
    <strong>Not in this report</strong>
    <ul>
      ${missing.map((text) => html`<li>${foreign(text)}</li>`)}
    </ul>
  </div>`;
}

const comparisonWords = {
  valBpb: 'Bits a byte, unseen text',
  finalLoss: 'Loss at the end of pretraining',
  trainingMs: 'Training time, all phases',
  numTokens: 'Tokens trained on',
  numParameters: 'Parameters',
} as const;

type Comparison = NonNullable<RunReport['plan']>['comparisons'][number];

function inUnit(what: Comparison['what'], value: number): string {
  if (what === 'trainingMs') return duration(value);
  return what === 'valBpb' || what === 'finalLoss' ? value.toFixed(2) : large(value);
}

function plannedWords({ what, planned }: Comparison): string {
  const band = `${inUnit(what, planned.low)} to ${inUnit(what, planned.high)}`;
  if (planned.value === null) return band;
  const value = inUnit(what, planned.value);
  return what === 'trainingMs' ? `${value} (${band})` : value;
}

function renderPlan({ plan, model, base }: RunReport): Html | null {
  if (plan === null) return null;
  const { recipe, comparisons, earlierRounds } = plan;
  const shape = recipe.model;
  const lora = recipe.pretrain?.lora;
  const named = { ...comparisonWords, ...(lora && { finalLoss: 'Loss at the end of adapting' }) };
  const verdicts: Record<Comparison['verdict'], string> = {
    'as planned': '',
    better: 'good',
    worse: 'bad',
    'not there yet': '',
  };
  return html`<p>
      A ${architectureOf(shape)} of ${large(recipe.numParameters)} parameters:
      ${plural(shape.numLayers, 'layer')} of width ${count(shape.hiddenSize)},
      ${shape.family !== 'transformers' && html`${plural(shape.numHeads, 'head')},`} a vocabulary of
      ${count(shape.vocabSize)} and a context of ${count(shape.contextLength)}
      tokens.${model?.onnxBytes != null && ` As served it takes ${size(model.onnxBytes)}.`}
    </p>
    ${
      lora !== undefined &&
      html`<p>
        ${base === null ? 'The model that it starts from' : foreign(base.title)} stayed frozen;
        adapters of rank ${lora.rank} (LoRA) learnt the documents, and ${percent(lora.mergeShare)}
        of what they learnt is merged into it.
      </p>`
    }
    ${table(
      ['', 'planned', 'came out', '', 'band and outcome'],
      comparisons.map((one) => [
        named[one.what],
        plannedWords(one),
        one.found === null ? '–' : inUnit(one.what, one.found),
        html`<span class="badge ${verdicts[one.verdict]}">${one.verdict}</span>`,
        { chart: bandChart(one.planned, one.found, one.verdict) },
      ]),
    )}
    <p class="hint">
      For the loss, within 5 % counts as planned. Training time runs from the first event of each
      phase to its last, with everything that was lost in between.
    </p>
    ${
      earlierRounds.length > 0 &&
      html`<h3>Earlier rounds</h3>
        <ul>
          ${earlierRounds.map(({ round, failedGates }) => html`<li>Round ${round + 1} did not pass: ${failedGates.join('; ')}. The planner chose another recipe.</li>`)}
        </ul>`
    }
    <h3>Why this recipe</h3>
    ${table(
      ['choice', 'value', 'reason', 'source'],
      recipe.reasons.map(({ choice, value, reason, source }) => [choice, value, reason, source]),
    )}`;
}

function renderNotes({ notes, stages }: RunReport): Html | null {
  if (notes.length === 0) {
    // Without the run's own board there is nobody to say that nothing happened.
    if (stages.every(({ startedAt }) => startedAt === null)) return null;
    return html`<p>
      Nothing was lost and nothing had to be done twice: no worker, trainer or service went away for
      long enough to be noticed.
    </p>`;
  }
  return html`<p>
      ${plural(notes.length, 'thing')} happened that the run had to deal with. It did so unattended.
    </p>
    ${table(
      ['when', 'stage', 'what'],
      notes.map(({ at, stage, text }) => [
        when(at).replace(/^\S+ /, '').replace(' UTC', at.slice(16, 19)),
        stage,
        foreign(text),
      ]),
    )}`;
}

const stateWords: Record<StageReport['state'], [string, string]> = {
  waiting: ['not begun', ''],
  running: ['running', ''],
  done: ['done', 'good'],
  reused: ['reused', 'good'],
  skipped: ['not needed', ''],
  failed: ['failed', 'bad'],
};

function renderStages({ stages, startedAt, endedAt, madeAt, phases }: RunReport): Html {
  const from = startedAt === null ? 0 : Date.parse(startedAt);
  const whole = Math.max(1, Date.parse(endedAt ?? madeAt) - from);
  const share = (iso: string | null) =>
    Math.max(0, Math.min(1, (Date.parse(iso ?? madeAt) - from) / whole));
  const timed = stages.some((stage) => stage.startedAt !== null);
  const rows = stages.map((stage, index): Part[] => {
    const [text, kind] = stateWords[stage.state];
    const spent =
      stage.startedAt === null
        ? null
        : Date.parse(stage.endedAt ?? madeAt) - Date.parse(stage.startedAt);
    const phase = phases.find((one) => stageOfPhase[one.phase] === stage.name);
    return [
      html`<td class="number">${index + 1}</td>`,
      html`<td>
        <strong>${stage.name}</strong>
        <span class="badge ${kind}">${text}</span
        >${stage.summary !== '' && html`<br />${foreign(stage.summary)}`}${stage.seed !== null && html`<br /><span class="hint">seed ${stage.seed}${phase !== undefined && phase.generations > 1 && `, ${phase.generations} generations`}</span>`}
        ${stage.inputs.length + stage.outputs.length > 0 && html`<br /><span class="hint">${stage.inputs.length > 0 && html`from ${list(stage.inputs)}`}${stage.inputs.length > 0 && stage.outputs.length > 0 && html`<br />`}${stage.outputs.length > 0 && html`made ${list(stage.outputs)}`}</span>`}
      </td>`,
      timed
        ? html`<td class="chart">
            ${stage.startedAt !== null && html`${spanBar(share(stage.startedAt), share(stage.endedAt), stage.state)}<span class="hint">${spent === null ? '' : duration(spent)}</span>`}
          </td>`
        : null,
    ];
  });
  return html`<p>
      A stage is a function of digests: the same inputs, configuration and code give the same
      result, and a second run looks it up. <em>Job, code included</em> is the digest under which
      that look-up is made.
    </p>
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th class="number">no.</th>
            <th>stage</th>
            ${timed && html`<th>time in the run</th>`}
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            (cells) =>
              html`<tr>
                ${cells}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    <details>
      <summary>All digests in full</summary>
      ${table(
        ['stage', '', 'what', 'SHA-256'],
        stages.flatMap(({ name, inputs, outputs }) => [
          ...inputs.map(({ what, digest: full }) => [
            name,
            'from',
            what,
            html`<code class="digest">${full}</code>`,
          ]),
          ...outputs.map(({ what, digest: full }) => [
            name,
            'made',
            what,
            html`<code class="digest">${full}</code>`,
          ]),
        ]),
      )}
    </details>`;
}

function list(digests: StageReport['inputs']): Part {
  return digests.map(
    ({ what, digest: full }, index) => html`${index > 0 && ', '}${what} ${digest(full)}`,
  );
}

function renderRepeat({ repeat, machine, model, parent, base }: RunReport): Html | null {
  if (repeat.pipeline === null) return null;
  const { code, pipeline, commands, compare, orders } = repeat;
  return html`<p>
      Put the file below beside the same documents and run the commands. On the same kind of
      machine${machine !== null && ` (${machine.device}, ${machine.instructionSet})`} every digest
      comes out the
      same${orders.length > 0 && ', once it is given the same orders'}${model?.exact === false && ', except that this run had to change its number of ranks, or the code of its trainer, on the way and is not exact'}.
    </p>
    ${parent !== null && html`<p>It goes on from ${parent.name}@${parent.version}, which the registry of the repeat must hold: the file names that version, whichever is champion by then.</p>`}
    ${base !== null && html`<p>It adapts ${foreign(baseWords(base))}, ${base.name.includes('/') ? html`which must lie at <code>${base.name}</code> from the file on, with` : html`which the run installs, and which must have`} weights ${digest(base.weights)} when imported.</p>`}
    ${
      orders.length > 0 &&
      html`<p>This run had orders, which neither the file nor the commands repeat:</p>
        <ul>
          ${orders.map((order) => html`<li>learning rate of ${order.phase} ${rateWords(order)}</li>`)}
        </ul>
        <p>
          A repeat needs each of them at the same step. Without that the dataset, the tokenizer and
          the recipe come out the same, and the weights from ${orders[0]!.phase} on, the ONNX and
          the bundle do not.
        </p>`
    }
    <pre>${commands.join('\n')}</pre>
    <p class="hint">
      ${
        code === null
          ? 'The commit of the code is not known: this checkout is no git repository.'
          : html`The checkout that made this report is at commit
              <code>${code.commit.slice(0, 12)}</code
              >${code.changed && ', with changes that are not committed'}. Whether it is the code
              that made the model, the digests tell.`
      }
    </p>
    <h3>Digests to compare</h3>
    ${table(
      ['what', 'SHA-256'],
      compare.map(({ what, digest: full }) => [what, html`<code class="digest">${full}</code>`]),
    )}
    <details>
      <summary>pipeline.yaml, with every default resolved</summary>
      <pre>${pipeline}</pre>
    </details>`;
}
