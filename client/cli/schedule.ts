/** `temper schedule create|list|show|pause|unpause|trigger|delete`: continued pretraining by the clock. */
import os from 'node:os';
import { inWholeUnits } from '../../config/durations.ts';
import { homeFolder } from '../../infra/layout.ts';
import { describeMachine } from '../../infra/machine.ts';
import { readCron } from '../cron.ts';
import { readPipelineFile } from '../pipeline-file.ts';
import { inFile } from '../placed.ts';
import { datasetFor } from '../plan.ts';
import type { ScheduledStart, ScheduleDetails } from '../schedules.ts';
import { clientOf, ensureUp, openContext, requireStore } from './context.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { plain, table } from './text.ts';

export interface CreateOptions extends CommonOptions {
  cron: string;
  name?: string;
  timezone?: string;
}

export async function createCommand(file: string, options: CreateOptions): Promise<number> {
  const read = await readPipelineFile(file);
  const { pipeline, baseDir } = read;
  readCron(options.cron);
  const context = await openContext();
  if (context.stack !== null) await ensureUp(homeFolder(process.env), options);
  else await requireStore(context);
  const current = await openContext();
  await inFile(read, async () => datasetFor({ pipeline, store: current.store }));
  const client = await clientOf(current);
  const schedule = await client.createSchedule({
    pipeline: { pipeline, baseDir },
    machine: describeMachine(),
    cron: options.cron,
    timezone: options.timezone,
    name: options.name,
  });
  if (options.json === true) printJson(schedule);
  const { name, model, catchUpMs } = schedule;
  for (const line of scheduleLines(schedule)) say(options, line);
  say(options);
  say(
    options,
    `Each start reads the documents of ${file} as they are then. Nothing new: it ends at once.`,
  );
  say(options, `Else it goes on pretraining ${model}@champion, and promotes what is not worse.`);
  say(
    options,
    `Two never run at once; a missed start is made up for within ${duration(catchUpMs)}; a failure pauses it.`,
  );
  say(options, `  start it now: npx temper schedule trigger ${name}`);
  say(options, `  how it went:  npx temper schedule show ${name}`);
  return ExitCode.ok;
}

export async function listCommand(options: CommonOptions): Promise<number> {
  const client = await clientOf(await openContext());
  const schedules = await client.listSchedules();
  if (options.json === true) printJson({ schedules });
  if (schedules.length === 0) {
    say(options, 'No schedules yet: npx temper schedule create --cron "0 3 * * *" pipeline.yaml');
    return ExitCode.ok;
  }
  const rows = schedules.map((one) => [
    one.name,
    one.model,
    `${one.when}, ${one.timezone}`,
    one.paused ? 'paused' : one.next[0] === undefined ? '–' : timeIn(one.timezone, one.next[0]),
  ]);
  for (const line of table(['schedule', 'model', 'when', 'next'], rows)) say(options, line);
  return ExitCode.ok;
}

export async function showCommand(name: string, options: CommonOptions): Promise<number> {
  const client = await clientOf(await openContext());
  const schedule = await client.showSchedule(name);
  if (options.json === true) printJson(schedule);
  for (const line of scheduleLines(schedule)) say(options, line);
  const { started, skipped, missed, starts, timezone } = schedule;
  say(
    options,
    `  started: ${started}; skipped, for one was at work: ${skipped}; missed: ${missed}`,
  );
  if (starts.length > 0) say(options);
  for (const start of starts) say(options, `  ${startLine(start, timezone)}`);
  return ExitCode.ok;
}

export interface WhyOptions extends CommonOptions {
  why?: string;
}

export async function pauseCommand(name: string, options: WhyOptions): Promise<number> {
  const client = await clientOf(await openContext());
  const note = noteOf('paused', options);
  await client.pauseSchedule(name, note);
  if (options.json === true) printJson({ name, paused: true, note });
  say(options, `schedule ${name} is paused: npx temper schedule unpause ${name}`);
  return ExitCode.ok;
}

export async function unpauseCommand(name: string, options: WhyOptions): Promise<number> {
  const client = await clientOf(await openContext());
  const note = noteOf('unpaused', options);
  await client.unpauseSchedule(name, note);
  const schedule = await client.showSchedule(name);
  if (options.json === true) printJson({ name, paused: false, note, next: schedule.next });
  for (const line of scheduleLines(schedule)) say(options, line);
  return ExitCode.ok;
}

export async function triggerCommand(name: string, options: CommonOptions): Promise<number> {
  const client = await clientOf(await openContext());
  const start = await client.triggerSchedule(name);
  if (options.json === true) printJson(start);
  say(options, `schedule ${name} has started ${start.workflowId}.`);
  say(options, `  how it went:               npx temper schedule show ${name}`);
  say(options, `  if there is something new: npx temper status ${start.run} --watch`);
  return ExitCode.ok;
}

export async function deleteCommand(name: string, options: CommonOptions): Promise<number> {
  const client = await clientOf(await openContext());
  await client.deleteSchedule(name);
  if (options.json === true) printJson({ name, deleted: true });
  say(options, `schedule ${name} is deleted; its models stay, and a run at work goes on.`);
  return ExitCode.ok;
}

function noteOf(what: string, { why }: WhyOptions): string {
  const by = `${what} by ${os.userInfo().username}`;
  return why === undefined ? by : `${by}: ${why}`;
}

function scheduleLines(schedule: ScheduleDetails): string[] {
  const { name, when, timezone, cron, paused, note, next } = schedule;
  const state = paused ? ' (paused)' : '';
  const why = note === '' ? [] : [`  note: ${plain(note)}`];
  const times = next.map((time, index) => {
    const label = index > 0 ? '' : paused ? 'would be' : 'next';
    return `  ${label.padEnd(8)}  ${timeIn(timezone, time)}`;
  });
  return [`schedule ${name}${state}: ${when}, ${timezone}   [${cron}]`, ...why, ...times];
}

function startLine({ at, run, state, result, failure }: ScheduledStart, timezone: string): string {
  const marks = { running: '▶', finished: '✓', failed: '✗', gone: '–' } as const;
  const said = {
    running: `at work; if there is something new: npx temper status ${run}`,
    finished: result?.reason ?? '',
    failed: failure ?? '',
    gone: 'no longer known to Temporal',
  } as const;
  return `${marks[state]} ${timeIn(timezone, at)}  ${plain(said[state])}`;
}

/** Mon 23 Nov 2026 03:00, by the schedule's own clock. */
function timeIn(timeZone: string, time: number): string {
  const parts = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    weekday: 'short',
    day: '2-digit',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).format(time);
  return parts.replaceAll(',', '');
}

function duration(ms: number): string {
  const { amount, unit } = inWholeUnits(ms, 'm');
  const name = unit === 'd' ? 'day' : unit === 'h' ? 'hour' : 'minute';
  return `${amount} ${name}${amount === 1 ? '' : 's'}`;
}
