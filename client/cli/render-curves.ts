/** The curves of a phase as lines for a terminal: its loss as a plot, its other figures as a small one each. Pure. */
import stringWidth from 'string-width';
import type { TrainingProgress } from '../../config/trainer.ts';
import type { PhaseReport } from '../report/run-report.ts';
import { plot, sparkline, type Charset, type Line } from './plot.ts';
import { bytes, clock, count, padEnd, painter, plain, rate, truncate } from './text.ts';

export interface CurveOptions {
  columns: number;
  /** Of a plot. */
  rows: number;
  charset: Charset;
  colour: boolean;
}

/** A phase, and what its trainer says of itself now; null when none is at work on it. */
export interface PhaseCurve {
  phase: PhaseReport;
  live: TrainingProgress | null;
}

/** One of the runs that are laid over each other. */
export interface NamedPhase {
  run: string;
  phase: PhaseReport;
}

const maxMarks = 6;
const nameColumns = 17;
const valueColumns = 11;
const maxSpark = 48;
/** Single steps jump: speed is the median of so many. */
const numRecent = 20;

/** Title, plot, figures and what happened on the way. */
export function phaseLines(curve: PhaseCurve, options: CurveOptions): string[] {
  const { phase } = curve;
  const { columns, charset, colour } = options;
  const paint = painter(colour);
  const title = paint('bold', truncate(titleOf(curve), columns));
  if (phase.points.length === 0) return [title, truncate('  no step is stored yet', columns)];
  const line: Line = {
    points: phase.points.map(({ step, loss }) => [step, loss] as const),
    style: 'cyan',
    letter: '*',
  };
  const heldOut = phase.evaluations.map(({ step, valLoss }) => [step, valLoss] as const);
  const [dash, dot] = charset === 'unicode' ? ['━', '●'] : ['*', 'o'];
  const legend = [
    `${paint('cyan', dash)} loss, nats a token`,
    ...(heldOut.length > 0 ? [`${paint('yellow', dot)} held-out`] : []),
  ].join('   ');
  const drawn = plot([line], {
    ...options,
    dots: heldOut,
    marks: phase.marks.map(({ step }) => step),
    upTo: phase.plateau?.end ?? curve.live?.numSteps ?? phase.numSteps ?? 0,
  });
  return [
    title,
    ...(drawn.length > 0 && columns >= stringWidth('  ━ loss, nats a token   ● held-out')
      ? [`  ${legend}`]
      : []),
    ...drawn,
    ...figureLines(phase, options),
    ...markLines(phase, options),
  ];
}

/** Everything that counts in one line, for a pipe. */
export function phaseLine(curve: PhaseCurve): string {
  const { points, evaluations } = curve.phase;
  const last = points.at(-1);
  const told = figuresOf(curve.phase).map(({ name, text }) => `${name} ${text}`);
  const lowest =
    evaluations.length === 0 ? [] : [`held-out ${evaluations.at(-1)!.valLoss.toFixed(3)}`];
  return [
    titleOf(curve),
    ...(last === undefined ? ['no step is stored yet'] : [`loss ${last.loss.toFixed(3)}`]),
    ...lowest,
    ...told,
  ].join('  ');
}

function titleOf({
  phase: { phase, round, points, numSteps, trainedBy, reused, plateau },
  live,
}: PhaseCurve): string {
  const step = Math.max(live?.step ?? 0, points.at(-1)?.step ?? 0);
  const end = live?.numSteps ?? plateau?.end ?? numSteps;
  const share = end === null || end === 0 ? '' : `, ${Math.floor((100 * step) / end)} %`;
  const left =
    live?.leftMs === undefined || step >= (end ?? 0) ? '' : `, ${clock(live.leftMs)} left`;
  const which = round === 0 ? '' : `, round ${round + 1}`;
  const whose = reused ? `, as run ${trainedBy} trained it` : '';
  const paused = live?.paused === true ? ', paused' : '';
  return `${phase}: step ${count(step)}${end === null ? '' : ` of ${count(end)}`}${share}${left}${paused}${which}${whose}`;
}

interface Figure {
  name: string;
  /** The newest. */
  text: string;
  values: number[];
  words: (value: number) => string;
}

function figuresOf({ points, evaluations }: PhaseReport): Figure[] {
  const figure = (
    name: string,
    values: readonly (number | undefined)[],
    words: (value: number) => string,
    isNoisy = false,
  ): Figure[] => {
    const known = values.filter((value) => value !== undefined && Number.isFinite(value));
    const newest = isNoisy ? median(known.slice(-numRecent)) : known.at(-1);
    if (newest === undefined) return [];
    return [{ name, text: words(newest), values: known as number[], words }];
  };
  const of = <Field extends keyof (typeof points)[number]>(field: Field) =>
    points.map((point) => point[field]);
  return [
    ...figure(
      'bits a byte',
      evaluations.map(({ valBpb }) => valBpb),
      (value) => value.toFixed(3),
    ),
    ...figure('learning rate', of('learningRate'), rate),
    ...figure('gradient norm', of('gradNorm'), (value) => value.toPrecision(3)),
    ...figure('tokens a second', of('tokensPerSecond'), count, true),
    ...figure('MFU', of('mfu'), (value) => `${(value * 100).toFixed(1)} %`, true),
    ...figure('memory', of('memoryBytes'), bytes),
  ];
}

function figureLines(phase: PhaseReport, { columns, charset, colour }: CurveOptions): string[] {
  const paint = painter(colour);
  return figuresOf(phase).map(({ name, text, values, words }) => {
    const head = `  ${padEnd(name, nameColumns)}${padEnd(text, valueColumns)}`;
    const room = columns - stringWidth(head);
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
    const range = values.length > 1 ? ` ${words(low)} to ${words(high)}` : '';
    const fits = room - range.length >= 12;
    const spark = sparkline(values, Math.min(maxSpark, room - (fits ? range.length : 0)), charset);
    const tail = fits ? paint('dim', range) : '';
    return truncate(head, columns) + (room > 3 ? paint('cyan', spark) + tail : '');
  });
}

function markLines({ marks }: PhaseReport, { columns, charset, colour }: CurveOptions): string[] {
  const sign = charset === 'unicode' ? '▲' : '^';
  const shown = marks.slice(-maxMarks);
  const hidden = marks.length - shown.length;
  return [
    ...(hidden > 0 ? [`  ${sign} and ${hidden} before`] : []),
    ...shown.map(({ step, text }) => {
      const line = truncate(`  ${sign} step ${count(step)}: ${plain(text)}`, columns);
      return `  ${painter(colour)('yellow', sign)}${line.slice(3)}`;
    }),
  ];
}

/** Two runs on one plot, by the tokens that they were trained on, and their last figures side by side. */
export function overlayLines(
  [a, b]: readonly [NamedPhase, NamedPhase],
  options: CurveOptions,
): string[] {
  const { columns, charset, colour } = options;
  const paint = painter(colour);
  const styles = ['cyan', 'yellow'] as const;
  const letters = ['*', '+'] as const;
  const lines = [a, b].map(({ phase }, index): Line => ({
    points: lossOverTokens(phase),
    style: styles[index]!,
    letter: letters[index]!,
  }));
  const sign = (index: number) =>
    charset === 'unicode' && colour ? paint(styles[index]!, '━') : letters[index]!;
  const legend = [a, b].map(({ run }, index) => `${sign(index)} ${run}`).join('   ');
  const drawn = plot(lines, options);
  const [left, right] = [figuresOf(a.phase), figuresOf(b.phase)];
  const names = [...new Set([...left, ...right].map(({ name }) => name))];
  const value = (figures: Figure[], name: string) =>
    figures.find((figure) => figure.name === name)?.text ?? '–';
  const lastLoss = ({ phase }: NamedPhase) => phase.points.at(-1)?.loss.toFixed(3) ?? '–';
  const rows = [
    ['', a.run, b.run],
    ['loss', lastLoss(a), lastLoss(b)],
    ...names.map((name) => [name, value(left, name), value(right, name)]),
  ];
  const width = Math.max(valueColumns, ...rows.map((row) => stringWidth(row[1]!) + 2));
  return [
    paint('bold', truncate(`${a.phase.phase}: loss over tokens trained on`, columns)),
    ...(drawn.length > 0 ? [`  ${legend}`] : []),
    ...drawn,
    ...rows.map(([name, one, other]) =>
      truncate(`  ${padEnd(name!, nameColumns)}${padEnd(one!, width)}${other!}`, columns),
    ),
  ];
}

/** By steps where a trainer does not count its tokens. */
function lossOverTokens({ points }: PhaseReport): [x: number, y: number][] {
  const counted = points.every(({ numTokens }) => numTokens !== undefined);
  return points.map(({ step, loss, numTokens }) => [counted ? numTokens! : step, loss]);
}

/** Heads of the phases that two runs both have, the same phase of each together. */
export function pairPhases(
  a: { run: string; phases: readonly PhaseReport[] },
  b: { run: string; phases: readonly PhaseReport[] },
): (readonly [NamedPhase, NamedPhase])[] {
  return a.phases.flatMap((phase) => {
    const other = b.phases.find((one) => one.phase === phase.phase);
    if (other === undefined || phase.points.length === 0 || other.points.length === 0) return [];
    return [
      [
        { run: a.run, phase },
        { run: b.run, phase: other },
      ] as const,
    ];
  });
}

function median(values: readonly (number | undefined)[]): number | undefined {
  const sorted = values.filter((value) => value !== undefined).toSorted((one, two) => one - two);
  return sorted[Math.floor(sorted.length / 2)];
}
