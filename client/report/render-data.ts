/** The section about data: where it came from, what was dropped and why with samples, tokens and tokenizer. */
import { lengthChart, shareBar } from './charts.ts';
import { foreign, html, langOf, type Html } from './html.ts';
import { renderCompression } from './render-compression.ts';
import { renderMixture } from './render-mixture.ts';
import { digest, table } from './render-parts.ts';
import type { DataReport, RunReport } from './run-report.ts';
import { count, large, percent, plural, reasonWords, size, words } from './words.ts';

export function renderData({ data }: RunReport): Html | null {
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
    ${renderDrops(data)} ${corpus !== null && renderCorpus(corpus, data.personalData)}`;
}

function renderDrops({ dropped, corpus, dataset }: DataReport): Html {
  const numDropped = dropped.reduce((sum, drop) => sum + drop.count, 0);
  const unread = dropped
    .filter(({ stage }) => stage === 'ingest')
    .reduce((sum, drop) => sum + drop.count, 0);
  const total = dataset.numDocuments + unread;
  const kept = corpus?.kept ?? dataset.numDocuments;
  const sampled = dropped.filter(({ samples }) => samples.length > 0);
  return html`<h3>Kept and dropped</h3>
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
          html`${reasonWords(reason)}${stage === 'ingest' && html` <span class="hint">(could not be read)</span>`}`,
          { number: count(number) },
          { number: percent(number / total) },
          { chart: shareBar(number / total, 'dropped') },
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
        </details>`,
    )}`;
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
        ? html`<p>No step of data.clean changed or dropped anything.</p>`
        : table(
            ['step', 'documents changed or dropped'],
            steps.map(([step, number]) => [step, { number: count(number) }]),
          )
    }`;
}

const personalWords: Record<string, [one: string, many: string]> = {
  email: ['e-mail address', 'e-mail addresses'],
  ip: ['IP address', 'IP addresses'],
  iban: ['IBAN', 'IBANs'],
  secret: ['secret or key', 'secrets and keys'],
  address: ['address', 'addresses'],
  name: ['name', 'names'],
  tw_id: ['Taiwan identity number', 'Taiwan identity numbers'],
  tw_resident: ['Taiwan resident certificate', 'Taiwan resident certificates'],
  tw_company: ['Taiwan company number', 'Taiwan company numbers'],
  us_ssn: ['US social security number', 'US social security numbers'],
  uk_nino: ['UK insurance number', 'UK insurance numbers'],
  uk_nhs: ['NHS number', 'NHS numbers'],
  cn_id: ['Chinese identity number', 'Chinese identity numbers'],
};

function personal(kind: string, number: number): string {
  const [one, many] = personalWords[kind] ?? [`${words(kind)} number`, `${words(kind)} numbers`];
  return plural(number, one, many);
}

function renderCorpus(
  corpus: NonNullable<DataReport['corpus']>,
  personalData: DataReport['personalData'],
): Html {
  const { numTokens, bytes, characters, heldOut, instructions, tokenizer, vocabSize } = corpus;
  const redacted = Object.entries(corpus.redacted).filter(([, number]) => number > 0);
  const numRedacted = redacted.reduce((sum, [, number]) => sum + number, 0);
  const scripts = Object.entries(corpus.scripts).toSorted(([, a], [, b]) => b - a);
  const read = numTokens + heldOut.numTokens;
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
        ['tokenizer', html`byte-level, ${count(vocabSize)} entries, ${digest(tokenizer.sha256)}`],
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
