/** `temper budget` and `temper budget add`: what a run has spent, and more for it. */
import { parseDollars, parseTime, readBudget, type RunBudget } from '../budget.ts';
import { unknownRun } from '../unknown-run.ts';
import { clientOf, openContext } from './context.ts';
import { toldBy, type OrderOptions } from './orders.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';

export async function budgetCommand(run: string, options: CommonOptions): Promise<number> {
  const { store } = await openContext();
  const isName = /^[a-z][a-z0-9-]{1,59}$/.test(run);
  const budget = isName ? await readBudget(store, run, new Date()) : null;
  if (budget === null) throw await unknownRun({ temporal: null, store, run });
  if (options.json === true) printJson(budget);
  for (const line of budgetLines(budget)) say(options, line);
  return ExitCode.ok;
}

export interface AddOptions extends OrderOptions {
  usd?: string;
}

export async function addBudgetCommand(
  run: string,
  time: string | undefined,
  options: AddOptions,
): Promise<number> {
  const order = {
    ...toldBy(options),
    ...(time !== undefined && { timeMs: parseTime(time) }),
    ...(options.usd !== undefined && { usd: parseDollars(options.usd) }),
  };
  const client = await clientOf(await openContext());
  const added = await client.addBudget(run, order);
  if (options.json === true) printJson(added);
  const { continued, spentMs, limitMs } = added;
  const goesOn = continued ? ': it goes on from its newest checkpoint' : '';
  say(options, `run ${run} may spend ${timeOf(limitMs)} of machine time now${goesOn}.`);
  say(options, `  ${timeOf(spentMs)} of it is spent: npx temper budget ${run}`);
  return ExitCode.ok;
}

/** E.g. `12m 30s of 30m machine time, $0.52 of $1.25; finish when it is spent`. */
export function budgetLine(budget: RunBudget): string {
  const { spentMs, limitMs, usdPerHour, spentUsd, limitUsd, whenSpent } = budget;
  const time = `${timeOf(spentMs)}${limitMs === null ? '' : ` of ${timeOf(limitMs)}`} of machine time`;
  const limit = limitUsd === null ? '' : ` of ${dollars(limitUsd)}`;
  const price = usdPerHour === 0 ? '' : `, ${dollars(spentUsd)}${limit}`;
  return `${time}${price}${whenSpent === null ? '' : `; when it is spent: ${whenSpent}`}`;
}

/** Everything about the budget of a run. */
export function budgetLines(budget: RunBudget): string[] {
  const { run, whenSpent, added, endings } = budget;
  return [
    `run ${run}: ${budgetLine(budget)}`,
    ...(whenSpent === null
      ? [
          '  Its budget is planned for, and ends nothing: budget.whenSpent or dollars would hold it.',
        ]
      : []),
    ...added.map(({ timeMs, usd, by, why, at }) => {
      const parts = [
        ...(timeMs === undefined ? [] : [timeOf(timeMs)]),
        ...(usd === undefined ? [] : [dollars(usd)]),
      ];
      return `  + ${parts.join(' and ')} by ${by}${why === null ? '' : `: ${why}`} (${minute(at)})`;
    }),
    ...endings.map(({ phase, step, reason, at, continuedAt }) => {
      const after = continuedAt === undefined ? '' : `; went on ${minute(continuedAt)}`;
      return `  ${phase} ended with the checkpoint of step ${step}, ${reason} (${minute(at)}${after})`;
    }),
  ];
}

function minute(iso: string): string {
  return `${iso.slice(0, 16).replace('T', ' ')} UTC`;
}

function dollars(value: number): string {
  return `$${value.toFixed(2)}`;
}

/** E.g. `1h 5m` or `3m 20s`. */
export function timeOf(ms: number): string {
  const s = Math.round(ms / 1000);
  const [h, m] = [Math.floor(s / 3600), Math.floor((s % 3600) / 60)];
  const seconds = h > 0 ? 0 : s % 60;
  const parts = [h > 0 ? `${h}h` : '', m > 0 ? `${m}m` : '', seconds > 0 ? `${seconds}s` : ''];
  const told = parts.filter((part) => part !== '').join(' ');
  return told === '' ? '0s' : told;
}
