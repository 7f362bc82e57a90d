/** `temper approve`, `pause` and `unpause`: what a person tells a run while it goes. */
import os from 'node:os';
import type { Told } from '../../workflows/messages.ts';
import { clientOf, openContext, stdoutPaint } from './context.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';

export interface OrderOptions extends CommonOptions {
  why?: string;
}

/** Who says so: the user of this machine; and the reason, if one was given. */
export function toldBy({ why }: OrderOptions): Told {
  return { by: os.userInfo().username, why: why ?? null };
}

export async function approveCommand(reference: string, options: OrderOptions): Promise<number> {
  const client = await clientOf(await openContext());
  const approved = await client.approve(reference, toldBy(options));
  if (options.json === true) printJson(approved);
  const { run, model, version } = approved;
  say(
    options,
    `${stdoutPaint()('green', '✓')} ${model}@${version} is approved: run ${run} deploys it`,
  );
  say(options, `  watch it: npx temper status ${run} --watch`);
  return ExitCode.ok;
}

export async function pauseCommand(run: string, options: OrderOptions): Promise<number> {
  const client = await clientOf(await openContext());
  const told = toldBy(options);
  await client.pause(run, told);
  if (options.json === true) printJson({ run, paused: true, ...told });
  say(options, `run ${run} is paused: training saves and stands still, no further stage starts.`);
  say(options, `  let it go on: npx temper unpause ${run}`);
  return ExitCode.ok;
}

export async function unpauseCommand(run: string, options: OrderOptions): Promise<number> {
  const client = await clientOf(await openContext());
  const told = toldBy(options);
  await client.unpause(run, told);
  if (options.json === true) printJson({ run, paused: false, ...told });
  say(options, `run ${run} goes on.`);
  say(options, `  watch it: npx temper status ${run} --watch`);
  return ExitCode.ok;
}
