/** The figures of a training beside its loss, each as a small chart on the same axis of steps. */
import { fixed, gridLines, groupMarks, path, scale, smooth, tickLabels, ticks } from './charts.ts';
import { html, type Html } from './html.ts';
import type { PhaseReport } from './run-report.ts';
import { count, percent, size } from './words.ts';

const width = 430;
const height = 132;
const left = 64;
const right = 12;
const top = 26;
const bottom = 104;

interface Figure {
  name: string;
  points: [step: number, value: number][];
  words: (value: number) => string;
}

/** Gradient norm, speed, utilisation and memory, as far as the trainer told them. */
export function figureCharts(phase: PhaseReport): Html | null {
  const figures = figuresOf(phase);
  if (figures.length === 0) return null;
  const lastStep = Math.max(phase.numSteps ?? 0, phase.points.at(-1)?.step ?? 1, 1);
  return html`<div class="figures">
    ${figures.map((figure) => figureChart(phase, figure, lastStep))}
  </div>`;
}

function figuresOf({ points }: PhaseReport): Figure[] {
  const told = (
    name: string,
    field: 'gradNorm' | 'tokensPerSecond' | 'mfu' | 'memoryBytes',
    words: (value: number) => string,
  ): Figure[] => {
    const known = points.flatMap((point): [number, number][] => {
      const value = point[field];
      return value === undefined || !Number.isFinite(value) ? [] : [[point.step, value]];
    });
    return known.length === 0 ? [] : [{ name, points: known, words }];
  };
  return [
    ...told('gradient norm', 'gradNorm', (value) => String(Number(value.toPrecision(3)))),
    ...told('tokens a second', 'tokensPerSecond', count),
    ...told('MFU, share of the measured peak', 'mfu', percent),
    ...told('memory of the trainer', 'memoryBytes', size),
  ];
}

function figureChart(
  { phase, marks }: PhaseReport,
  { name, points, words }: Figure,
  lastStep: number,
): Html {
  const values = points.map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = (high - low || Math.abs(high) || 1) * 0.08;
  const x = scale(0, lastStep, left, width - right);
  const y = scale(low - margin, high + margin, bottom, top);
  const smoothed = smooth(values);
  const id = `${phase}-${name.split(/[ ,]/)[0]}`;
  const last = words(smoothed.at(-1)!);
  return html`<svg viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${id}">
    <title id="${id}">
      ${name} of ${phase}: ${last} at the end, ${words(low)} to ${words(high)} on the way
    </title>
    <text class="axis" x="4" y="12">${name}</text>
    <text class="label" x="${width - right}" y="12" text-anchor="end">${last}</text>
    ${gridLines(ticks(low, high, 3), y, { left, right: width - right, labels: left - 6, words })}
    ${tickLabels(ticks(0, lastStep, 4), x, { y: bottom + 18, words: count })}
    ${groupMarks(marks, x).map(
      ({ x: place, kind }) =>
        html`<g class="mark ${kind}"
          ><line x1="${fixed(place)}" x2="${fixed(place)}" y1="${top}" y2="${bottom}"
        /></g>`,
    )}
    <line class="base" x1="${left}" x2="${width - right}" y1="${bottom}" y2="${bottom}" />
    <path class="raw" d="${path(points.map(([step, value]) => [x(step), y(value)]))}" />
    <path
      class="series"
      d="${path(points.map(([step], index) => [x(step), y(smoothed[index]!)]))}"
    />
  </svg>`;
}
