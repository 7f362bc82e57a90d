/** `temper status` and `temper cancel`: looking at runs, and ending one. */
import os from 'node:os';
import { stackStatus } from '../../infra/stack.ts';
import type { RunSummary } from '../client.ts';
import { readBudget, type RunBudget } from '../budget.ts';
import { budgetLine } from '../budget-words.ts';
import { clientOf, openContext, stdoutPaint, type Context } from './context.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { screenOf } from './progress.ts';
import { renderStatus } from './render-status.ts';
import { adapts, endLines, evaluationTable } from './result.ts';
import { clock, table } from './text.ts';
import { sayInterrupted, watchRun } from './watch.ts';

export interface StatusOptions extends CommonOptions {
  watch?: boolean;
}

export async function statusCommand(
  named: string | undefined,
  options: StatusOptions,
): Promise<number> {
  const context = await openContext();
  const client = await clientOf(context);
  const runs = named === undefined ? await client.listRuns() : [];
  const run = named ?? (options.watch === true ? newestRunning(runs) : undefined);
  if (run === undefined) {
    if (options.watch === true) say(options, 'No run is at work: nothing to watch.\n');
    const parts = context.stack === null ? [] : await stackStatus(context.stack.layout.home);
    if (options.json === true) printJson({ runs, parts });
    if (parts.length > 0) {
      const rows = parts.map((part) => [
        part.title,
        part.state,
        part.uptimeMs === null ? '' : clock(part.uptimeMs),
        part.restarts === 0 ? '' : `restarted ${part.restarts} times`,
      ]);
      for (const line of table(['part', 'state', 'up for', ''], rows)) say(options, line);
      say(options);
    }
    if (runs.length === 0) say(options, 'No runs yet: npx temper run pipeline.yaml');
    const rows = runs.map((found) => [
      found.run,
      found.state,
      found.state === 'running' ? (found.stage ?? '') : '',
      new Date(found.startedAt).toISOString().replace('T', ' ').slice(0, 16),
      clock((found.endedAt ?? Date.now()) - found.startedAt),
    ]);
    if (rows.length > 0) {
      const header = ['run', 'state', 'stage', 'started (UTC)', 'time'];
      for (const line of table(header, rows)) say(options, line);
    }
    return ExitCode.ok;
  }

  if (options.watch === true) {
    await client.getStatus(run);
    say(options, `run ${run}   (Ctrl-C leaves it running)`);
    const watched = await watchRun(client, run, options);
    if (watched.interrupted || watched.status === null) return sayInterrupted(run, options);
    if (options.json === true) printJson(watched.status);
    for (const line of endLines(watched.status, stdoutPaint())) say(options, line);
    return watched.status.state === 'finished' ? ExitCode.ok : ExitCode.failed;
  }

  const status = await client.getStatus(run);
  const budget = await heldBudgetOf(context, run);
  if (options.json === true) printJson({ ...status, ...(budget && { budget }) });
  const { columns, colour } = screenOf(process.stdout, process.env);
  say(options, `run ${run}: ${status.state}`);
  for (const line of renderStatus(status, { columns, colour, now: Date.now() })) say(options, line);
  if (budget !== null) say(options, `budget: ${budgetLine(budget)}`);
  if (status.state !== 'running') {
    for (const line of endLines(status, stdoutPaint())) say(options, line);
    for (const line of evaluationTable(status.result?.evaluations ?? [], {
      adapted: adapts(status),
    }))
      say(options, line);
  }
  return status.state === 'failed' ? ExitCode.failed : ExitCode.ok;
}

/** What a run has spent whose budget is held; null where none is, or the store does not answer. */
async function heldBudgetOf({ store }: Context, run: string): Promise<RunBudget | null> {
  const found = await readBudget(store, run, new Date()).catch(() => null);
  return found?.whenSpent == null ? null : found;
}

/** The run that somebody who names none most likely means. */
export function newestRunning(runs: readonly RunSummary[]): string | undefined {
  return runs
    .filter(({ state }) => state === 'running')
    .toSorted((a, b) => b.startedAt - a.startedAt)[0]?.run;
}

export async function cancelCommand(
  run: string,
  options: CommonOptions & { reason?: string },
): Promise<number> {
  const client = await clientOf(await openContext());
  const reason = options.reason ?? `cancelled by ${os.userInfo().username}`;
  await client.cancel(run, reason);
  if (options.json === true) printJson({ run, cancelling: true, reason });
  say(
    options,
    `run ${run} is asked to stop: training saves first, nothing that is stored is lost.`,
  );
  say(options, `  watch it: npx temper status ${run} --watch`);
  return ExitCode.ok;
}
