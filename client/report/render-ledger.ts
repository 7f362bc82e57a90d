/** The section about the token ledger: how often what was trained on, and what proves that nothing was left out. */
import { ledgerLines, ledgerTitle } from '../ledger/words.ts';
import { html, type Html } from './html.ts';
import { table } from './render-parts.ts';
import type { RunReport } from './run-report.ts';
import { count } from './words.ts';

export function renderLedger({ ledger, run }: RunReport): Html | null {
  if (ledger === null || ledger.phases.length === 0) return null;
  return html`<p>
      ${ledger.proven ? 'No gaps and no doubles' : 'No gaps and no doubles is not proven'}: the
      order of the data is a function of the seed and the step, and every commit and event of all
      generations was held against it.
    </p>
    ${ledger.phases.map(
      (phase) =>
        html`<h3>${phase.phase}${phase.round > 0 && `, round ${phase.round + 1}`}</h3>
          <p>
            ${ledgerTitle(phase)}${phase.trainedBy !== run && `; trained by run ${phase.trainedBy}`}.
          </p>
          ${table(['', 'found'], ledgerLines(phase))}
          ${
            phase.steps.faults.length > 0 &&
            html`<div class="box bad" role="note">
              <strong>What contradicts it</strong>
              <ul>
                ${phase.steps.faults.map((fault) => html`<li>${fault}</li>`)}
              </ul>
            </div>`
          }
          <details>
            <summary>The generations of ${phase.phase}</summary>
            ${table(
              ['generation', 'began', 'from step', 'to step', 'committed'],
              phase.steps.generations.map(({ generation, began, from, to, checkpoints }) => [
                String(generation),
                began,
                { number: count(from) },
                { number: count(to) },
                checkpoints.map(count).join(', ') || '–',
              ]),
            )}
          </details>`,
    )}
    ${ledger.missing.map((sentence) => html`<p class="soft">${sentence}</p>`)}`;
}
