/**
 * Draws the status of a run as lines. What is settled (a finished stage, a note) is a line for good;
 * what is live (the stages at work and those to come) may be drawn again. Pure.
 */
import stringWidth from 'string-width';
import { describeWaiting, type StageStatus } from '../../workflows/messages.ts';
import { stageOfPhase, type LiveStatus } from '../live-status.ts';
import {
  bytes,
  clock,
  count,
  padEnd,
  painter,
  plain,
  rate,
  spread,
  truncate,
  type Style,
} from './text.ts';

export interface RenderOptions {
  columns: number;
  colour: boolean;
  /** Milliseconds since the epoch. */
  now: number;
  /** One line a stage, without the figures of its training below. */
  brief?: boolean;
}

export interface SettledLine {
  /** The same for the same event, so that it is printed once. */
  key: string;
  line: string;
}

const maxColumns = 110;
const nameColumns = 15;

const marks: Record<StageStatus['state'], [string, Style]> = {
  waiting: ['·', 'dim'],
  running: ['▸', 'cyan'],
  done: ['✓', 'green'],
  reused: ['=', 'green'],
  skipped: ['-', 'dim'],
  failed: ['✗', 'red'],
};

/** Every line, settled ones first. */
export function renderStatus(status: LiveStatus, options: RenderOptions): string[] {
  return [
    ...settledLines(status, options).map((settled) => settled.line),
    ...liveLines(status, options),
  ];
}

/** One line for each finished stage and each note, in the order of time. */
export function settledLines(status: LiveStatus, options: RenderOptions): SettledLine[] {
  const paint = painter(options.colour);
  const lines: (SettledLine & { at: number })[] = [];
  let lastEnd = 0;
  for (const stage of status.stages) {
    if (stage.state === 'waiting' || stage.state === 'running') continue;
    lastEnd = Math.max(lastEnd, stage.endedAt ?? 0);
    lines.push({
      key: `${stage.name} ${stage.state} ${stage.endedAt}`,
      at: stage.endedAt ?? lastEnd,
      line: settledStage(stage, options),
    });
  }
  for (const note of status.notes) {
    const text = truncate(`! ${plain(note.text)}`, width(options));
    lines.push({
      key: `! ${note.at} ${note.text}`,
      at: note.at - 0.5,
      line: paint('yellow', text),
    });
  }
  return lines.toSorted((a, b) => a.at - b.at).map(({ key, line }) => ({ key, line }));
}

/** The stages at work, and in one line those to come. */
export function liveLines(status: LiveStatus, options: RenderOptions): string[] {
  if (status.state !== 'running') return [];
  const paint = painter(options.colour);
  const lines = status.stages
    .filter((stage) => stage.state === 'running')
    .flatMap((stage) => [
      liveStage(stage, status, options),
      ...figuresLine(stage, status, options),
    ]);
  for (const { stage, text } of describeWaiting(status)) {
    if (stage === null) lines.push(paint('yellow', truncate(`‖ ${plain(text)}`, width(options))));
  }
  const waiting = status.stages.filter((stage) => stage.state === 'waiting');
  if (waiting.length > 0) {
    const names = waiting.map((stage) => stage.name).join(', ');
    const then = lines.length > 0 || status.stages.length > waiting.length ? 'then ' : '';
    lines.push(paint('dim', truncate(`· ${then}${names}`, width(options))));
  }
  if (status.stale !== null) {
    const text = `${status.stale}; the supervisor brings it back, this goes on by itself`;
    lines.push(paint('yellow', truncate(`? ${text}`, width(options))));
  }
  return lines;
}

function settledStage(stage: StageStatus, options: RenderOptions): string {
  const [mark, style] = marks[stage.state];
  const reused = stage.state === 'reused' ? 'reused, nothing changed' : '';
  const summary = [reused, plain(stage.summary)].filter((text) => text !== '').join('; ');
  const spent =
    stage.startedAt !== null && stage.endedAt !== null && stage.state !== 'skipped'
      ? clock(stage.endedAt - stage.startedAt)
      : '';
  const text = `${mark} ${padEnd(stage.name, nameColumns)}${summary}`.trimEnd();
  return painted(spread(text, spent, width(options)), style, options);
}

function liveStage(stage: StageStatus, status: LiveStatus, options: RenderOptions): string {
  const waits = describeWaiting(status).find((waiting) => waiting.stage === stage.name);
  const [mark, style] = waits === undefined ? marks.running : (['‖', 'yellow'] as const);
  const head = `${mark} ${padEnd(stage.name, nameColumns)}`;
  const elapsed = stage.startedAt === null ? '' : clock(options.now - stage.startedAt);
  const room = width(options) - stringWidth(head) - elapsed.length - 1;
  const special = waits?.text ?? trainingText(stage, status, options, room);
  const text =
    special ?? [plain(stage.summary), activityText(status)].filter((t) => t !== '').join('; ');
  return painted(spread(`${head}${text}`.trimEnd(), elapsed, width(options)), style, options);
}

/** Bar, step, loss, speed, durable step and time left: as many of them as fit, the weightiest first. */
function trainingText(
  stage: StageStatus,
  status: LiveStatus,
  { now }: RenderOptions,
  room: number,
): string | null {
  const { training, recipe } = status;
  if (training === null || stageOfPhase[training.phase] !== stage.name) return null;
  const { step, numSteps, loss, tokensPerSecond, durableStep, learningRateScale, trial } = training;
  const multiple = trial === undefined ? undefined : recipe?.sweep?.trials[trial]?.multiple;
  const share = numSteps > 0 ? Math.min(1, step / numSteps) : 0;
  const filled = Math.round(share * 12);
  const planned =
    training.phase === 'pretrain' && recipe && trial === undefined
      ? ` (plan ${recipe.estimate.finalLoss.toFixed(2)})`
      : '';
  const left = timeLeftMs(stage, status, now);
  const parts: [weight: number, text: string][] = [
    [3, `${'█'.repeat(filled)}${'░'.repeat(12 - filled)}`],
    [0, `${count(step)}/${count(numSteps)}`],
    [2, loss === null ? '' : `loss ${loss.toFixed(2)}${planned}`],
    [
      0.5,
      trial === undefined
        ? ''
        : `trial ${trial}${multiple === undefined ? '' : ` at ×${multiple}`}`,
    ],
    [2.5, learningRateScale === undefined ? '' : `lr ×${Number(learningRateScale.toPrecision(3))}`],
    [5, tokensPerSecond === null ? '' : `${count(tokensPerSecond)} tok/s`],
    [4, `durable ${count(durableStep)}`],
    [1, left === null ? '' : `${clock(left)} left`],
  ];
  return fitting(parts, room);
}

/** As many of the parts as fit, the weightiest (of the lowest number) first, in the order given. */
function fitting(parts: readonly [weight: number, text: string][], room: number): string {
  const kept = new Set<number>();
  let used = 0;
  for (const [weight, text] of parts.toSorted(([a], [b]) => a - b)) {
    if (text === '') continue;
    const next = used + text.length + (used > 0 ? 2 : 0);
    if (next > room) break;
    used = next;
    kept.add(weight);
  }
  return parts
    .filter(([weight]) => kept.has(weight))
    .map(([, text]) => text)
    .join('  ');
}

/** Below a stage that trains: what its trainer last said besides loss and speed; nothing where it said nothing. */
function figuresLine(
  stage: StageStatus,
  { training }: LiveStatus,
  options: RenderOptions,
): string[] {
  if (options.brief === true || training === null) return [];
  if (stageOfPhase[training.phase] !== stage.name) return [];
  const { valLoss, learningRate, gradNorm, mfu, memoryBytes } = training;
  const told = (value: number | undefined, words: (value: number) => string) =>
    value === undefined ? '' : words(value);
  const text = fitting(
    [
      [1, told(valLoss, (value) => `held-out ${value.toFixed(2)}`)],
      [2, told(learningRate, (value) => `lr ${rate(value)}`)],
      [3, told(gradNorm, (value) => `grad norm ${value.toPrecision(3)}`)],
      [5, told(mfu, (value) => `MFU ${(value * 100).toFixed(1)} %`)],
      [4, told(memoryBytes, (value) => `memory ${bytes(value)}`)],
    ],
    width(options) - 2,
  );
  const indent = Math.max(2, Math.min(2 + nameColumns, width(options) - stringWidth(text)));
  return text === '' ? [] : [painter(options.colour)('dim', ' '.repeat(indent) + text)];
}

/** As the watcher reckons; else by the measured speed where a step's tokens are known, else by the steps done so far. */
function timeLeftMs(stage: StageStatus, status: LiveStatus, now: number): number | null {
  const { training, recipe } = status;
  if (training === null || training.step >= training.numSteps) return null;
  if (training.leftMs !== undefined) return training.leftMs;
  const remaining = training.numSteps - training.step;
  if (training.phase === 'pretrain' && recipe?.pretrain && training.tokensPerSecond) {
    const { batchSize, contextLength } = recipe.pretrain;
    return (remaining * batchSize * contextLength * 1000) / training.tokensPerSecond;
  }
  // The start of the trainer would count for the first steps.
  if (training.step < training.numSteps / 20 || stage.startedAt === null) return null;
  return ((now - stage.startedAt) / training.step) * remaining;
}

/** What an operator should know of the activities of a stage that does not train. */
function activityText({ activities }: LiveStatus): string {
  const activity = activities.find(({ lastFailure }) => lastFailure !== null) ?? activities[0];
  if (activity === undefined) return '';
  const { attempt, lastFailure, heartbeat } = activity;
  if (lastFailure !== null) {
    const doing = activity.waiting ? 'waits to try again' : 'tries again';
    return `${activity.activity} ${doing} (attempt ${attempt}) after: ${plain(lastFailure)}`;
  }
  if (activities.every(({ waiting }) => waiting)) {
    return `waits for a worker to take ${activity.activity}`;
  }
  const line = (heartbeat as { line?: unknown } | null)?.line;
  return typeof line === 'string' && !line.startsWith('{') ? plain(line) : '';
}

function width({ columns }: RenderOptions): number {
  return Math.max(20, Math.min(columns, maxColumns));
}

/** Colours the mark only, so that the text stays readable on any background. */
function painted(line: string, style: Style, { colour }: RenderOptions): string {
  return painter(colour)(style, line.slice(0, 1)) + line.slice(1);
}
