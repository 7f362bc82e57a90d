/**
 * Cron expressions of five fields, as Temporal reads them: checked field by field, and explained back in
 * words. A day must fit both day fields; the times of a schedule itself come from Temporal.
 */
import { cronWords, months, weekdays } from './cron-words.ts';
import { ClientError } from './errors.ts';
import { nearest } from './nearest.ts';

interface Field {
  name: string;
  low: number;
  high: number;
  names: string[];
}

const short = (names: string[]) => names.map((name) => name.slice(0, 3).toUpperCase());
const fields = [
  { name: 'minute', low: 0, high: 59, names: [] },
  { name: 'hour', low: 0, high: 23, names: [] },
  { name: 'day of the month', low: 1, high: 31, names: [] },
  { name: 'month', low: 1, high: 12, names: short(months) },
  { name: 'day of the week', low: 0, high: 7, names: short(weekdays) },
] as const satisfies Field[];

export interface Cron {
  /** The expression with single spaces. */
  text: string;
  /** E.g. `every day at 03:00`. */
  words: string;
  /** The shortest time between two starts. */
  periodMs: number;
}

/** Reads and explains an expression; throws ClientError with the field that is wrong, or when no day ever fits. */
export function readCron(expression: string): Cron {
  const parts = expression.trim().split(/\s+/);
  if (parts.length !== fields.length) {
    throw wrong(
      `found ${JSON.stringify(expression)}, ${countOf(parts)}`,
      '5: minute, hour, day of the month, month, day of the week, such as "0 3 * * *" for every day at 03:00',
    );
  }
  const values = parts.map((part, index) => readField(part, fields[index]!));
  const [minutes, hours, days, monthNumbers] = values as [number[], number[], number[], number[]];
  const weekday = [...new Set(values[4]!.map((day) => day % 7))].toSorted((a, b) => a - b);
  const periodMs = shortestGap([minutes, hours, days, monthNumbers, weekday]);
  const text = parts.join(' ');
  const words = cronWords(text, { minutes, hours, days, months: monthNumbers, weekday });
  return { text, words, periodMs };
}

function countOf(parts: string[]): string {
  if (parts.length > 1) return `${parts.length} fields`;
  return parts[0] === '' ? 'no fields' : '1 field';
}

function readField(text: string, { name, low, high, names }: Field): number[] {
  const values = new Set<number>();
  const spare = names.length > 0 ? ` or ${names[low === 0 ? 1 : 0]} to ${names.at(-1)}` : '';
  const fault = (found: string, hint = '') =>
    wrong(
      `${name}: found ${JSON.stringify(found)}`,
      `${low} to ${high}${spare}, *, a list, a range or a step such as */2${hint}`,
    );
  const read = (part: string): number => {
    const named = names.indexOf(part.toUpperCase());
    const value = named >= 0 ? named + low : /^\d{1,2}$/.test(part) ? Number(part) : NaN;
    if (value >= low && value <= high) return value;
    const near = /^[a-z]/i.test(part) ? nearest(part, names) : null;
    throw fault(part, near === null ? '' : `. Did you mean ${near}?`);
  };
  for (const item of text.split(',')) {
    const match = /^(?:\*|([^-/]+)(?:-([^-/]+))?)(?:\/(\d{1,2}))?$/.exec(item);
    const step = Number(match?.[3] ?? 1);
    if (match === null || step === 0) throw fault(item);
    const [, first, last] = match;
    const from = first === undefined ? low : read(first);
    const end = names.length > 0 && low === 0 ? 6 : high;
    const to = last !== undefined ? read(last) : first === undefined || match[3] ? end : from;
    if (from > to) throw fault(item);
    for (let value = from; value <= to; value += step) values.add(value);
  }
  return [...values].toSorted((a, b) => a - b);
}

function wrong(found: string, expected: string): ClientError {
  return new ClientError('input', `cron: ${found}, expected ${expected}. Nothing was started.`);
}

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

/** Of the clock times of four years that fit, one with a leap day in it; daylight saving is left aside. */
function shortestGap(values: number[][]): number {
  const [minutes, hours, days, monthNumbers, weekday] = values.map((field) => new Set(field));
  const inDay = [...hours!].flatMap((hour) => [...minutes!].map((minute) => hour * 60 + minute));
  let shortest = Infinity;
  for (const [index, at] of inDay.entries()) {
    if (index > 0) shortest = Math.min(shortest, (at - inDay[index - 1]!) * minuteMs);
  }
  const overnight = dayMs - (inDay.at(-1)! - inDay[0]!) * minuteMs;
  let last: number | null = null;
  const start = Date.UTC(2024, 0, 1);
  // Twice the time in which days of the week come round to the same dates.
  for (let day = 0; day < 2 * 28 * 366; day += 1) {
    const date = new Date(start + day * dayMs);
    const fits =
      days!.has(date.getUTCDate()) &&
      monthNumbers!.has(date.getUTCMonth() + 1) &&
      weekday!.has(date.getUTCDay());
    if (!fits) continue;
    if (last !== null) shortest = Math.min(shortest, (day - last - 1) * dayMs + overnight);
    last = day;
  }
  if (last === null) throw wrong('found days that never come', 'a day that its months have');
  return shortest;
}
