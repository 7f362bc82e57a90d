/** The section about data: where it came from, what was dropped and why with samples, tokens and tokenizer. */
import { isOfKept } from '../../config/dropped.ts';
import { heldOutWarning } from '../../config/held-out.ts';
import { lengthChart, shareBar } from './charts.ts';
import { dataCharts, fateChart, type Went } from './data-charts.ts';
import { foreign, html, langOf, type Html } from './html.ts';
import { renderCompression } from './render-compression.ts';
import { renderMixture } from './render-mixture.ts';
import { digest, table } from './render-parts.ts';
import type { DataReport, RunReport } from './run-report.ts';
import { count, large, percent, plural, reasonWords, size, words } from './words.ts';
import { personal } from './personal-words.ts';

export function renderData({ data, goal }: RunReport): Html | null {
  if (data === null) return null;
  const { dataset, corpus } = data;
  return html`<p>
      Dataset <strong>${dataset.name}@${dataset.version}</strong>, ${digest(dataset.digest)}:
      ${plural(dataset.numDocuments, 'document')}, ${size(dataset.bytes)} of text.
    </p>
    ${table(
      ['source', 'licence', 'documents', 'text'],
      dataset.sources.map(({ name, license, numDocuments, bytes }) => [
        foreign(name),
        license,
        { number: count(numDocuments) },
        { number: size(bytes) },
      ]),
    )}
    ${renderDrops(data)}
    ${dataCharts({ read: dataset.distributions ?? null, kept: corpus?.distributions ?? null })}
    ${corpus !== null && renderCorpus(corpus, data.personalData, goal)} ${renderCard(data)}`;
}

function renderDrops(data: DataReport): Html {
  const { dropped, corpus, dataset } = data;
  const numDropped = dropped.reduce((sum, drop) => sum + drop.count, 0);
  const unread = dropped
    .filter(({ stage, reason }) => stage === 'ingest' && !isOfKept(reason))
    .reduce((sum, drop) => sum + drop.count, 0);
  const total = dataset.numDocuments + unread;
  const kept = corpus?.kept ?? dataset.numDocuments;
  const reference = `${dataset.name}@${dataset.version}`;
  const sampled = dropped.filter(({ samples }) => samples.length > 0);
  return html`<h3>Kept and dropped</h3>
    ${fateChart(fatesOf(data))}
    ${table(
      ['', 'documents', '', ''],
      [
        [
          'kept',
          { number: count(kept) },
          { number: percent(kept / total) },
          { chart: shareBar(kept / total, 'kept') },
        ],
        ...dropped.map(({ reason, stage, count: number }) => [
          html`${reasonWords(reason, stage)}${stage === 'ingest' && html` <span class="hint">(could not be read)</span>`}`,
          { number: count(number) },
          ...(isOfKept(reason)
            ? ['', '']
            : [
                { number: percent(number / total) },
                { chart: shareBar(number / total, kindOf({ reason, stage })) },
              ]),
        ]),
      ],
    )}
    ${numDropped === 0 && html`<p>Nothing was dropped.</p>`}
    ${sampled.map(
      ({ reason, count: number, samples }) =>
        html`<details>
          <summary>
            ${words(reason)}:
            ${samples.length === number ? '' : `${samples.length} of `}${plural(number, 'document')}
          </summary>
          ${samples.map(renderSample)}
          ${
            samples.length < number &&
            html`<p class="hint">
              All of them:
              <code>npx temper datasets inspect ${reference} --reason ${reason} --number all</code>
            </p>`
          }
        </details>`,
    )}
    ${
      numDropped > 0 &&
      html`<p class="hint">
        Every dropped document with its reason:
        <code>npx temper datasets inspect ${reference} --dropped --number all</code>; what was kept:
        <code>npx temper datasets inspect ${reference} --kept</code>
      </p>`
    }`;
}

/** The reasons in a few kinds, which fit into one bar. */
function fatesOf({ dropped, corpus, dataset }: DataReport): Went[] {
  const sum = (some: DataReport['dropped']): number =>
    some.reduce((total, drop) => total + drop.count, 0);
  const of = (kind: Went['kind']): number =>
    sum(dropped.filter((drop) => kindOf(drop) === kind && !isOfKept(drop.reason)));
  return [
    { name: 'kept', number: corpus?.kept ?? dataset.numDocuments, kind: 'kept' },
    { name: 'duplicates', number: of('duplicates'), kind: 'duplicates' },
    { name: 'left out by a rule', number: of('left-out'), kind: 'left-out' },
    { name: 'could not be read', number: of('unread'), kind: 'unread' },
  ];
}

function kindOf({
  reason,
  stage,
}: Pick<DataReport['dropped'][number], 'reason' | 'stage'>): Went['kind'] {
  if (stage === 'ingest') return 'unread';
  return reason.startsWith('duplicate') ? 'duplicates' : 'left-out';
}

function renderCard({ card }: DataReport): Html | null {
  if (card === undefined) return null;
  return html`<details>
    <summary>The data card, to copy</summary>
    <pre class="card">${card}</pre>
  </details>`;
}

function renderSample({
  source,
  detail,
  text,
}: DataReport['dropped'][number]['samples'][number]): Html {
  const lang = text === null ? undefined : langOf(text);
  return html`<div class="sample">
    <p><strong>${foreign(source)}</strong> <span class="hint">${foreign(detail)}</span></p>
    ${
      text !== null &&
      (lang === undefined
        ? html`<p class="text" dir="auto">${text}</p>`
        : html`<p class="text" lang="${lang}" dir="auto">${text}</p>`)
    }
  </div>`;
}

function conversationsText({
  numRecords,
  numTrain,
  numPreferences,
  dropped,
}: NonNullable<NonNullable<DataReport['corpus']>['conversations']>): string {
  const reasons = Object.entries(dropped).map(
    ([reason, number]) => `${count(number)} ${reasonWords(reason)}`,
  );
  const left = reasons.length === 0 ? 'none left out' : `left out: ${reasons.join(', ')}`;
  return `${count(numTrain)} conversations and ${count(numPreferences)} preferences of ${count(numRecords)} records; ${left}`;
}

function renderSteps(cleaned: Readonly<Record<string, number>>): Html {
  const steps = Object.entries(cleaned);
  return html`<h3>Cleaning</h3>
    ${
      steps.length === 0
        ? html`<p>No step of cleaning changed or dropped anything.</p>`
        : table(
            ['step', 'documents changed or dropped'],
            steps.map(([step, number]) => [step, { number: count(number) }]),
          )
    }`;
}

function renderCorpus(
  corpus: NonNullable<DataReport['corpus']>,
  personalData: DataReport['personalData'],
  goal: RunReport['goal'],
): Html {
  const { numTokens, bytes, characters, heldOut, instructions, tokenizer, vocabSize } = corpus;
  const redacted = Object.entries(corpus.redacted).filter(([, number]) => number > 0);
  const numRedacted = redacted.reduce((sum, [, number]) => sum + number, 0);
  const scripts = Object.entries(corpus.scripts).toSorted(([, a], [, b]) => b - a);
  const read = numTokens + heldOut.numTokens;
  const few = heldOutWarning(heldOut, { masked: goal === 'embeddings' });
  const lengths = corpus.tokensPerDocument;
  return html`<h3>Personal data</h3>
    <p>
      ${
        personalData === 'keep'
          ? 'The pipeline says personalData: keep, so nothing was redacted.'
          : numRedacted === 0
            ? 'None was found.'
            : `${redacted.map(([kind, number]) => personal(kind, number)).join(', ')} replaced by placeholders before anything was trained on, in the samples here too.`
      }
    </p>
    ${corpus.cleaned !== null && renderSteps(corpus.cleaned)}
    ${corpus.mixture !== undefined && renderMixture(corpus.mixture)}
    <h3>Tokens</h3>
    ${table(
      ['', ''],
      [
        ['to train on', `${large(numTokens)} tokens`],
        [
          'held out, never trained on',
          `${large(heldOut.numTokens)} tokens, ${plural(heldOut.numDocuments, 'document')}, ${size(heldOut.bytes)}`,
        ],
        ...(few === null ? [] : [['', few]]),
        ['tokenizer', html`${count(vocabSize)} entries, ${digest(tokenizer.sha256)}`],
        [
          'a token is',
          `${(bytes / read).toFixed(2)} bytes, ${(characters / read).toFixed(2)} characters on average`,
        ],
        [
          'main script',
          scripts.map(([script, number]) => `${words(script)} ${count(number)}`).join(', '),
        ],
        ...(lengths === null
          ? []
          : [
              [
                'tokens a document',
                `median ${count(lengths.median)}; half of them ${count(lengths.quarter)} to ${count(lengths.threeQuarters)}; all ${count(lengths.low)} to ${count(lengths.high)}`,
              ],
            ]),
        ...(corpus.conversations === null
          ? []
          : [['read of conversations', conversationsText(corpus.conversations)]]),
        ...(instructions === null
          ? []
          : [
              [
                corpus.conversations === null
                  ? 'made from the metadata'
                  : 'made from the metadata, and read of conversations',
                `${count(instructions.numTrain)} conversations and ${count(instructions.numPreferences)} preferences to train on; ${count(instructions.numQuestions)} questions and ${count(instructions.numPreferencesHeldOut)} preferences to measure by; ${count(instructions.numAmbiguous)} left out because the documents answer them twice`,
              ],
            ]),
      ],
    )}
    ${corpus.compression !== undefined && renderCompression(corpus.compression)}
    ${lengths !== null && html`<figure>${lengthChart(lengths)}</figure>`}`;
}
