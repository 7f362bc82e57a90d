/** A cron expression in words: when it starts something, for people to check what they wrote. */

export const months =
  'January February March April May June July August September October November December'.split(
    ' ',
  );
export const weekdays = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

/** The values that each field allows, in order. */
export interface CronValues {
  minutes: number[];
  hours: number[];
  days: number[];
  months: number[];
  weekday: number[];
}

/** E.g. `at 03:00 on Monday to Friday`. */
export function cronWords(expression: string, of: CronValues): string {
  const [minute = '', hour = ''] = expression.split(' ');
  const words = [timeWords([minute, hour], of.minutes, of.hours), ...dayWords(of)];
  const everyDay = words.length === 1 && words[0]!.startsWith('at ');
  return (everyDay ? ['every day', ...words] : words).join(' ');
}

function timeWords([minute, hour]: [string, string], minutes: number[], hours: number[]): string {
  const pad = (value: number) => String(value).padStart(2, '0');
  const step = /^\*\/(\d+)$/.exec(minute)?.[1];
  const allHours = hours.length === 24;
  const inHours = allHours ? '' : ` in the ${plural('hour', hours)}`;
  if (minutes.length === 60) return `every minute${inHours}`;
  if (step !== undefined && 60 % Number(step) === 0) return `every ${step} minutes${inHours}`;
  const stepHours = /^\*\/(\d+)$/.exec(hour)?.[1];
  if (allHours) return `every hour at minute ${ranges(minutes, String)}`;
  if (stepHours !== undefined && 24 % Number(stepHours) === 0 && minutes.length === 1) {
    return `every ${stepHours} hours at minute ${minutes[0]}`;
  }
  if (minutes.length * hours.length > 6) {
    return `at minute ${ranges(minutes, String)} of the ${plural('hour', hours)}`;
  }
  const times = hours.flatMap((h) => minutes.map((m) => `${pad(h)}:${pad(m)}`));
  return `at ${listed(times)}`;
}

function dayWords(of: CronValues): string[] {
  const words: string[] = [];
  if (of.weekday.length < 7) words.push(`on ${ranges(of.weekday, (day) => weekdays[day]!)}`);
  if (of.days.length < 31) {
    const only = words.length > 0 ? 'if it is ' : 'on ';
    words.push(`${only}day ${ranges(of.days, String)} of the month`);
  }
  if (of.months.length < 12) words.push(`in ${ranges(of.months, (month) => months[month - 1]!)}`);
  return words;
}

function plural(word: string, values: number[]): string {
  return `${word}${values.length > 1 ? 's' : ''} ${ranges(values, String)}`;
}

/** Runs of three or more as ranges: `1 to 5 and 7`. */
function ranges(values: number[], name: (value: number) => string): string {
  const runs: number[][] = [];
  for (const value of values) {
    const run = runs.at(-1);
    if (run !== undefined && run.at(-1) === value - 1) run.push(value);
    else runs.push([value]);
  }
  return listed(
    runs.flatMap((run) =>
      run.length > 2 ? [`${name(run[0]!)} to ${name(run.at(-1)!)}`] : run.map(name),
    ),
  );
}

function listed(words: string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}
