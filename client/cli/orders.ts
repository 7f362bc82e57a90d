/** `temper approve`: what a person tells a run while it goes. */
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
