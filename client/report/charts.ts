/** Charts as inline SVG: small pure functions, coloured by the page's style, each with words for who cannot see it. */
import { html, type Html } from './html.ts';
import type { DataReport, PhaseReport } from './run-report.ts';
import { count } from './words.ts';

const width = 880;
const left = 52;
const right = 92;
const plotWidth = width - left - right;

export type Scale = (value: number) => number;

/** A straight line from one range onto another. */
export function scale(from: number, to: number, start: number, end: number): Scale {
  const span = to - from || 1;
  return (value) => start + ((value - from) / span) * (end - start);
}

/** Round numbers that cover a range, about `wanted` of them. */
export function ticks(from: number, to: number, wanted: number): number[] {
  const span = to - from;
  if (!(span > 0)) return [from];
  const rough = span / wanted;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * magnitude).find((one) => one >= rough)!;
  const first = Math.ceil(from / step - 1e-9);
  const last = Math.floor(to / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) =>
    Number(((first + index) * step).toPrecision(12)),
  );
}

/** A line across the chart at each tick, with its value to the left of it. */
export function gridLines(
  values: readonly number[],
  y: Scale,
  at: { left: number; right: number; labels: number; words?: (tick: number) => string },
): Html[] {
  const { left, right, labels, words = String } = at;
  return values.map(
    (tick) =>
      html`<g class="grid"
        ><line x1="${left}" x2="${right}" y1="${fixed(y(tick))}" y2="${fixed(y(tick))}" />
        <text x="${labels}" y="${fixed(y(tick) + 4)}" text-anchor="end">${words(tick)}</text></g
      >`,
  );
}

/** The values of the axis along the bottom. */
export function tickLabels(
  values: readonly number[],
  x: Scale,
  { y, words }: { y: number; words: (tick: number) => string },
): Html[] {
  return values.map(
    (tick) =>
      html`<text class="tick" x="${fixed(x(tick))}" y="${y}" text-anchor="middle"
        >${words(tick)}</text
      >`,
  );
}

/** A coordinate. */
export function fixed(value: number): string {
  return value.toFixed(1);
}

/** A line through points; one without number is left out, and the line goes on behind it. */
export function path(points: readonly (readonly [number, number])[]): string {
  return points
    .filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y))
    .map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${fixed(x)} ${fixed(y)}`)
    .join('');
}

/** The mean of each value with its neighbours on both sides: what the noise of single steps hides. */
export function smooth(values: readonly number[]): number[] {
  const reach = Math.min(10, Math.floor(values.length / 30));
  return values.map((_, index) => {
    // As many on the left as on the right, so that the ends do not lean.
    const wide = Math.min(reach, index, values.length - 1 - index);
    const near = values.slice(index - wide, index + wide + 1);
    return near.reduce((sum, value) => sum + value, 0) / near.length;
  });
}

/** Marks so close that their numbers would lie on each other share one place. */
export function groupMarks(
  marks: PhaseReport['marks'],
  x: Scale,
): { x: number; numbers: number[]; kind: string }[] {
  const groups: { x: number; numbers: number[]; kind: string }[] = [];
  for (const [index, { step, kind }] of marks.entries()) {
    const at = x(step);
    const near = groups.find((group) => Math.abs(group.x - at) < 36);
    if (near === undefined) groups.push({ x: at, numbers: [index + 1], kind });
    else {
      near.numbers.push(index + 1);
      if (kind === 'lost') near.kind = 'lost';
    }
  }
  return groups;
}

/** 1, 2, 5 and 6 are "1–2, 5–6". */
export function ranges(numbers: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const number of numbers) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === number - 1) last[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`)).join(', ');
}

/** Loss above, learning rate below, on one axis of steps; what happened on the way as numbered lines. */
export function lossChart(phase: PhaseReport): Html {
  const { points, checkpoints, marks, plannedLoss, numSteps, evaluations } = phase;
  const top = 44;
  const lossEnd = 250;
  const rateStart = 280;
  const rateEnd = 330;
  const lastStep = Math.max(numSteps ?? 0, points.at(-1)?.step ?? 1, 1);
  const x = scale(0, lastStep, left, left + plotWidth);
  const losses = points.map((point) => point.loss);
  const lows = points.map(({ loss, lossLow }) => lossLow ?? loss);
  const highs = points.map(({ loss, lossHigh }) => lossHigh ?? loss);
  const heldOut = evaluations.map(({ valLoss }) => valLoss);
  const all = [...lows, ...highs, ...heldOut, ...(plannedLoss === null ? [] : [plannedLoss])];
  const low = Math.min(...all);
  const high = Math.max(...all);
  const margin = (high - low || 1) * 0.06;
  const y = scale(low - margin, high + margin, lossEnd, top);
  const peak = Math.max(...points.map((point) => point.learningRate), 1e-12);
  const rate = scale(0, peak, rateEnd, rateStart);
  const smoothed = smooth(losses);
  const at = (values: readonly number[], to: Scale) =>
    path(points.map(({ step }, index) => [x(step), to(values[index]!)]));
  /** Behind the lower edge of an area, its upper one, backwards. */
  const back = (values: readonly number[]) =>
    points
      .map(({ step }, index) => `L${fixed(x(step))} ${fixed(y(values[index]!))}`)
      .toReversed()
      .join('');
  const lastLoss = smoothed.at(-1)!;
  const lastX = x(points.at(-1)!.step);
  const apart = plannedLoss !== null && Math.abs(y(plannedLoss) - y(lastLoss)) < 14;
  const id = `loss-${phase.phase}`;
  return html`<svg viewBox="0 0 ${width} 366" role="img" aria-labelledby="${id}-title ${id}-text">
    <title id="${id}-title">Loss and learning rate of ${phase.phase}</title>
    <desc id="${id}-text">${describeCurve(phase)} The same numbers stand in the table below.</desc>
    ${gridLines(ticks(low, high, 5), y, { left, right: left + plotWidth, labels: left - 8 })}
    ${tickLabels(ticks(0, lastStep, 8), x, { y: rateEnd + 26, words: count })}
    <text class="axis" x="${left - 44}" y="10">loss, nats a token</text>
    <text class="axis" x="${left - 44}" y="${rateStart - 10}">learning rate</text>
    <text class="axis" x="${left + plotWidth + 28}" y="${rateEnd + 26}">step</text>
    <line class="base" x1="${left}" x2="${left + plotWidth}" y1="${lossEnd}" y2="${lossEnd}" />
    <line class="base" x1="${left}" x2="${left + plotWidth}" y1="${rateEnd}" y2="${rateEnd}" />
    ${checkpoints.map(
      ({ step }) =>
        html`<path class="checkpoint" d="M${fixed(x(step))} ${lossEnd - 5}l5 5l-5 5l-5 -5z"
          ><title>checkpoint of step ${count(step)}</title></path
        >`,
    )}
    ${
      plannedLoss !== null &&
      html`<line
          class="planned"
          x1="${left}"
          x2="${left + plotWidth}"
          y1="${fixed(y(plannedLoss))}"
          y2="${fixed(y(plannedLoss))}"
        />
        <text
          class="label soft"
          x="${left + plotWidth + 8}"
          y="${fixed(y(plannedLoss) + (apart && plannedLoss <= lastLoss ? 16 : apart ? -8 : 4))}"
          >plan ${plannedLoss.toFixed(2)}</text
        >`
    }
    ${groupMarks(marks, x).map(
      ({ x: place, numbers, kind }) =>
        html`<g class="mark ${kind}"
          ><line x1="${fixed(place)}" x2="${fixed(place)}" y1="${top - 4}" y2="${rateEnd}" />
          <text x="${fixed(place)}" y="${top - 9}" text-anchor="middle">${ranges(numbers)}</text></g
        >`,
    )}
    ${
      points.some(({ lossLow }) => lossLow !== undefined) &&
      html`<path class="extremes" d="${at(lows, y)}${back(highs)}Z" />`
    }
    <path class="raw" d="${at(losses, y)}" />
    <path class="series" d="${at(smoothed, y)}" />
    ${
      heldOut.length > 0 &&
      html`<path
          class="held-out"
          d="${path(evaluations.map(({ step, valLoss }) => [x(step), y(valLoss)]))}"
        />
        ${evaluations.map(
          ({ step, valLoss }) =>
            html`<circle
              class="held-out-dot"
              cx="${fixed(x(step))}"
              cy="${fixed(y(valLoss))}"
              r="3.5"
              ><title>held-out loss ${valLoss.toFixed(3)} at step ${count(step)}</title></circle
            >`,
        )}`
    }
    <circle class="end" cx="${fixed(lastX)}" cy="${fixed(y(lastLoss))}" r="4" />
    <text
      class="label"
      x="${fixed(Math.min(lastX + 10, left + plotWidth + 8))}"
      y="${fixed(y(lastLoss) + 4)}"
    >
      ${lastLoss.toFixed(2)}
    </text>
    <path
      class="rate"
      d="${at(
        points.map((point) => point.learningRate),
        rate,
      )}"
    />
    <text class="tick" x="${left - 8}" y="${rateStart + 4}" text-anchor="end">${short(peak)}</text>
    <text class="tick" x="${left - 8}" y="${rateEnd + 4}" text-anchor="end">0</text>
  </svg>`;
}

/** A rate, in few characters. */
export function short(value: number): string {
  return value >= 0.001 ? String(Number(value.toPrecision(2))) : value.toExponential(0);
}

/** The curve in a sentence or two. */
export function describeCurve({
  points,
  checkpoints,
  generations,
  plannedLoss,
}: PhaseReport): string {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined) return 'No step is stored yet.';
  const lowest = points.reduce((least, point) => (point.loss < least.loss ? point : least));
  const plan = plannedLoss === null ? '' : `, planned was ${plannedLoss.toFixed(2)}`;
  const losses =
    `The loss went from ${first.loss.toFixed(2)} at step ${count(first.step)} to ${last.loss.toFixed(2)} ` +
    `at step ${count(last.step)}${plan}; the lowest was ${lowest.loss.toFixed(2)} at step ${count(lowest.step)}.`;
  const kept = `${count(checkpoints.length)} checkpoint${checkpoints.length === 1 ? '' : 's'}`;
  const taken = `${count(generations)} generation${generations === 1 ? '' : 's'} of watchers`;
  return `${losses} ${kept}, ${taken}.`;
}

/** A planned band, and where the outcome lies. */
export function bandChart(
  planned: { value: number | null; low: number; high: number },
  found: number | null,
  verdict: string,
): Html {
  const values = [planned.low, planned.high, ...(found === null ? [] : [found])];
  const low = Math.min(...values);
  const high = Math.max(...values);
  const margin = (high - low || Math.abs(high) || 1) * 0.12;
  const x = scale(low - margin, high + margin, 2, 198);
  const from = x(planned.low);
  const to = Math.max(x(planned.high), from + 3);
  return html`<svg class="band" viewBox="0 0 200 20" aria-hidden="true">
    <line class="base" x1="0" x2="200" y1="10" y2="10" />
    <rect
      class="planned-band"
      x="${fixed(from)}"
      y="3"
      width="${fixed(to - from)}"
      height="14"
      rx="3"
    />
    ${found !== null && html`<circle class="found ${verdict.replaceAll(' ', '-')}" cx="${fixed(x(found))}" cy="10" r="5" />`}
  </svg>`;
}

/** A share of the whole as a bar. */
export function shareBar(share: number, kind: string): Html {
  const filled = Math.max(0, Math.min(1, share)) * 200;
  return html`<svg class="bar" viewBox="0 0 200 12" preserveAspectRatio="none" aria-hidden="true">
    <rect class="rest" width="200" height="12" rx="2" />
    <rect
      class="${kind}"
      width="${fixed(filled === 0 ? 0 : Math.max(2, filled))}"
      height="12"
      rx="2"
    />
  </svg>`;
}

/** When a stage ran, on the time of the whole run. */
export function spanBar(from: number, to: number, state: string): Html {
  return html`<svg class="bar" viewBox="0 0 200 12" preserveAspectRatio="none" aria-hidden="true">
    <rect class="rest" width="200" height="12" rx="2" />
    <rect
      class="span ${state}"
      x="${fixed(from * 200)}"
      width="${fixed(Math.max(2, (to - from) * 200))}"
      height="12"
      rx="2"
    />
  </svg>`;
}

type Spread = NonNullable<NonNullable<DataReport['corpus']>['tokensPerDocument']>;

/** Documents by their length; each column is twice as long as the one before. */
export function lengthChart({ bins }: Spread): Html {
  const height = 150;
  const bottom = 116;
  const step = Math.min(96, (width - 40) / bins.length);
  const most = Math.max(...bins.map((bin) => bin.numDocuments), 1);
  const y = scale(0, most, bottom, 20);
  const used = 20 + step * bins.length;
  const text = bins
    .map((bin) => `${count(bin.from)} to ${count(bin.to)} tokens: ${count(bin.numDocuments)}`)
    .join('; ');
  return html`<svg
    class="lengths"
    style="max-width:${Math.max(320, Math.round(used))}px"
    viewBox="0 0 ${fixed(Math.max(320, used))} ${height}"
    role="img"
    aria-labelledby="lengths-title lengths-text"
  >
    <title id="lengths-title">Documents by their number of tokens</title>
    <desc id="lengths-text">${text}.</desc>
    ${bins.map(
      (bin, index) =>
        html`<rect
            class="column"
            x="${fixed(10 + index * step)}"
            y="${fixed(y(bin.numDocuments))}"
            width="${fixed(step - 4)}"
            height="${fixed(bottom - y(bin.numDocuments))}"
            rx="2"
          />
          <text
            class="tick"
            x="${fixed(10 + index * step + (step - 4) / 2)}"
            y="${fixed(y(bin.numDocuments) - 5)}"
            text-anchor="middle"
            >${count(bin.numDocuments)}</text
          >
          <text class="tick" x="${fixed(10 + index * step)}" y="${bottom + 16}" text-anchor="middle"
            >${count(bin.from)}</text
          >`,
    )}
    <line
      class="base"
      x1="6"
      x2="${fixed(10 + step * bins.length)}"
      y1="${bottom}"
      y2="${bottom}"
    />
    <text class="axis" x="10" y="${bottom + 31}">
      tokens a document; each column is twice as wide as the one before
    </text>
  </svg>`;
}
