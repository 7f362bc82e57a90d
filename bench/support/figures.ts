/** The arithmetic of the benchmarks: medians, ratios, tokens a second, and bounds that hold or not. */
import type { TrainerEvent } from '../../config/trainer.ts';

/** The middle value, or the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('median: found no values, expected at least one');
  const sorted = values.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** The value that a share of all values does not exceed. */
export function quantile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new RangeError('quantile: found no values, expected at least one');
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
}

/** One measurement each way, close in time. */
export interface Pair {
  ours: number;
  theirs: number;
}

/** The median of the pairs' own ratios: what changes slowly between pairs cancels out. */
export function medianRatio(pairs: readonly Pair[]): number {
  return median(pairs.map(({ ours, theirs }) => ours / theirs));
}

/** Tokens a second from one step event to the last one, saves and evaluations between them counted. */
export function tokensPerSecond(events: readonly TrainerEvent[], skipSteps: number): number {
  const starts = events.filter(({ event }) => event === 'start').length;
  if (starts !== 1) {
    throw new Error(
      `training events: found ${starts} starts, expected one: the trainer was lost on the way. Measure again.`,
    );
  }
  const steps = events
    .filter((event) => event.event === 'step')
    .toSorted((a, b) => a.step - b.step);
  const first = steps[skipSteps - 1] ?? steps[0];
  const last = steps.at(-1);
  if (first === undefined || last === undefined || last.step <= first.step || last.at <= first.at) {
    throw new Error(
      `training events: found ${steps.length} steps, expected more than the ${skipSteps} that are left out. Train for longer.`,
    );
  }
  return (last.num_tokens - first.num_tokens) / (last.at - first.at);
}

/** Of the time from the first step to the last one, how much went into saves. */
export function stallShare(events: readonly TrainerEvent[]): number {
  const steps = events.filter(({ event }) => event === 'step');
  const [first, last] = [steps[0], steps.at(-1)];
  if (first === undefined || last === undefined || last.at <= first.at) {
    throw new Error(`training events: found ${steps.length} steps, expected at least two`);
  }
  const stalled = events.reduce((sum, event, index) => {
    const before = events[index - 1];
    const saved = event.event === 'checkpoint' && before?.event === 'save_started';
    return saved && event.at <= last.at ? sum + event.at - before.at : sum;
  }, 0);
  return stalled / (last.at - first.at);
}

/** A figure and what it must keep to. */
export interface Bound {
  name: string;
  value: number | null;
  min?: number;
  max?: number;
}

/** Whether a figure keeps to its bound; one that could not be measured does not. */
export function holds({ value, min, max }: Bound): boolean {
  if (value === null || Number.isNaN(value)) return false;
  return (min === undefined || value >= min) && (max === undefined || value <= max);
}

/** Rounds every number in a value for printing; digests and counts stay as they are. */
export function rounded<T>(value: T, digits = 4): T {
  if (typeof value === 'number') return Number(value.toFixed(digits)) as T;
  if (Array.isArray(value)) return value.map((item: unknown) => rounded(item, digits)) as T;
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).map(([key, item]) => [
    key,
    rounded(item as unknown, digits),
  ]);
  return Object.fromEntries(entries) as T;
}

/** What the held-out text cost at a step, after so many seconds of training alone. */
export interface HeldOutPoint {
  step: number;
  numTokens: number;
  valLoss: number;
  seconds: number;
}

/** The held-out losses of a training that was not lost on the way; the time of scoring is left out, that of saving is not. */
export function heldOutCurve(events: readonly TrainerEvent[]): HeldOutPoint[] {
  const curve: HeldOutPoint[] = [];
  let [start, left, numTokens] = [0, 0, 0];
  let scoringFrom: number | null = null;
  for (const event of events) {
    if (event.event === 'start') start = event.at;
    if (event.event === 'step') numTokens = event.num_tokens;
    if (event.event === 'working' && event.what === 'evaluating') scoringFrom ??= event.at;
    if (event.event !== 'eval') continue;
    const from = scoringFrom ?? event.at;
    const seconds = from - start - left;
    curve.push({ step: event.step, numTokens, valLoss: event.val_loss, seconds });
    left += event.at - from;
    scoringFrom = null;
  }
  return curve;
}

/** The first point at which the held-out loss was no higher; null where it never was. */
export function reached(curve: readonly HeldOutPoint[], loss: number): HeldOutPoint | null {
  return curve.find(({ valLoss }) => valLoss <= loss) ?? null;
}
