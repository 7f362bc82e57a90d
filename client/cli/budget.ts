/** `temper budget` and `temper budget add`: what a run has spent, and more for it. */
import { parseDollars, parseTime, readBudget } from '../budget.ts';
import { budgetLines, timeOf } from '../budget-words.ts';
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
