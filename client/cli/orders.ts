/** `temper approve`, `pause`, `unpause` and `set`: what a person tells a run while it goes. */
import os from 'node:os';
import type { Told } from '../../workflows/messages.ts';
import { parseRate } from '../orders.ts';
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

export async function setCommand(
  run: string,
  assignment: string,
  options: OrderOptions,
): Promise<number> {
  const rate = parseRate(assignment);
  const client = await clientOf(await openContext());
  const ordered = await client.setLearningRate(run, { ...toldBy(options), ...rate });
  if (options.json === true) printJson({ run, ...ordered });
  const { phase, scale } = ordered;
  const factor = Number(scale.toPrecision(3));
  say(options, `run ${run}: ${phase} goes on at ${factor} times the planned rate within seconds;`);
  say(options, `  the step from which it counts is kept: npx temper status ${run}`);
  return ExitCode.ok;
}
