/** The page of two runs: their losses over each other, and what differs. Pure. */
import type { RunComparison } from '../compare-runs.ts';
import { gridLines, path, scale, smooth, tickLabels, ticks } from './charts.ts';
import { foreign, html, type Html } from './html.ts';
import { renderPage } from './page.ts';
import { table } from './render-parts.ts';
import type { PhaseReport, RunReport } from './run-report.ts';
import { large } from './words.ts';

const width = 880;
const left = 52;
const right = 92;
const top = 20;
const bottom = 250;

/** The whole page. */
export function renderComparison(
  { rows, digests }: RunComparison,
  a: RunReport,
  b: RunReport,
): string {
  const pairs = a.phases.flatMap((phase): [PhaseReport, PhaseReport][] => {
    const other = b.phases.find((one) => one.phase === phase.phase);
    const drawn = phase.points.length > 0 && other !== undefined && other.points.length > 0;
    return drawn ? [[phase, other]] : [];
  });
  const differing = rows.filter((row) => row.a !== row.b);
  const cell = (value: string | number | null) => (value === null ? '–' : foreign(String(value)));
  const body = html`<header>
      <p class="eyebrow">Two runs side by side</p>
      <h1>${a.run} and ${b.run}</h1>
      <p class="lead">
        ${
          digests.equal.length + digests.differing.length === 0
            ? 'No digest is stored of both.'
            : digests.differing.length === 0
              ? `The same bits: ${digests.equal.join(', ')}.`
              : `Other bits: ${digests.differing.join(', ')}.`
        }
      </p>
    </header>
    <main>
      ${pairs.map(([one, other]) => overlay(one, other, [a.run, b.run]))}
      <h2>What differs</h2>
      ${
        differing.length === 0
          ? html`<p>Nothing that is stored.</p>`
          : table(
              ['part', 'field', a.run, b.run],
              differing.map((row) => [row.part, row.field, cell(row.a), cell(row.b)]),
            )
      }
      <p class="hint">${rows.length - differing.length} of ${rows.length} fields are equal.</p>
    </main>
    <footer>
      <p>
        Made by <code>npx temper compare ${a.run} ${b.run} --output</code>. This page is one file
        and loads nothing.
      </p>
    </footer>`;
  return renderPage(`${a.run} and ${b.run} · Temper comparison`, body);
}

/** Both losses over the tokens trained on; over steps where one does not count them. */
function overlay(a: PhaseReport, b: PhaseReport, names: readonly [string, string]): Html {
  const counted = [...a.points, ...b.points].every(({ numTokens }) => numTokens !== undefined);
  const at = ({ points }: PhaseReport) =>
    points.map(({ step, numTokens }) => (counted ? numTokens! : step));
  const curves = [a, b].map((phase) => ({
    at: at(phase),
    losses: phase.points.map(({ loss }) => loss),
  }));
  const losses = curves.flatMap((curve) => curve.losses);
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const last = Math.max(...curves.flatMap((curve) => curve.at));
  const x = scale(0, last, left, width - right);
  const y = scale(low - (high - low || 1) * 0.05, high + (high - low || 1) * 0.05, bottom, top);
  const line = (curve: (typeof curves)[number], values: readonly number[]) =>
    path(curve.at.map((place, index) => [x(place), y(values[index]!)]));
  const [one, other] = curves as [(typeof curves)[number], (typeof curves)[number]];
  const [smoothOne, smoothOther] = [smooth(one.losses), smooth(other.losses)];
  const unit = counted ? 'tokens' : 'steps';
  const id = `overlay-${a.phase}`;
  const ends = [smoothOne.at(-1)!, smoothOther.at(-1)!];
  return html`<h2>Loss of ${a.phase}</h2>
    <figure>
      <svg viewBox="0 0 ${width} 288" role="img" aria-labelledby="${id}">
        <title id="${id}">
          Loss of ${a.phase}: ${names[0]} ends at ${ends[0]!.toFixed(2)}, ${names[1]} at
          ${ends[1]!.toFixed(2)}
        </title>
        ${gridLines(ticks(low, high, 5), y, { left, right: width - right, labels: left - 8 })}
        ${tickLabels(ticks(0, last, 6), x, { y: bottom + 20, words: large })}
        <text class="axis" x="8" y="10">loss, nats a token, over the ${unit} trained on</text>
        <line class="base" x1="${left}" x2="${width - right}" y1="${bottom}" y2="${bottom}" />
        <path class="raw" d="${line(one, one.losses)}" />
        <path class="rival raw-rival" d="${line(other, other.losses)}" />
        <path class="series" d="${line(one, smoothOne)}" />
        <path class="rival" d="${line(other, smoothOther)}" />
      </svg>
      <figcaption>
        <span class="dots"
          ><span><i style="background:var(--accent)"></i>${names[0]}, ${ends[0]!.toFixed(2)}</span
          ><span
            ><i style="background:var(--rate)"></i>${names[1]}, ${ends[1]!.toFixed(2)}</span
          ></span
        >
      </figcaption>
    </figure>`;
}
