/** `temper report`: everything about one run on one page, or as JSON. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { describeVersion } from '../../infra/version.ts';
import { openTemporal } from '../connection.ts';
import { rememberEvents } from '../curves.ts';
import { ClientError } from '../errors.ts';
import { gatherReport } from '../report/gather.ts';
import { renderReport } from '../report/render.ts';
import { openContext, requireSupervised, type Context } from './context.ts';
import { countPhases } from './ledger-module.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { sayInterrupted } from './watch.ts';

export interface ReportOptions extends CommonOptions {
  output?: string;
  watch?: boolean;
}

/** Between two pages of a run that goes on. */
const everyMs = 15_000;

export async function reportCommand(run: string, options: ReportOptions): Promise<number> {
  const context = await openContext();
  const temporal = await temporalOf(context);
  const { store } = context;
  const code = codeOf();
  const request = { temporal, store: rememberEvents(store), run, code };
  const file = path.resolve(options.output ?? `${run}.html`);
  if (options.watch === true) {
    const away = new AbortController();
    process.once('SIGINT', () => away.abort());
    process.once('SIGTERM', () => away.abort());
    for (let isFirst = true; ; isFirst = false) {
      // Without the ledger: to count it takes a core, which the training needs.
      const sofar = await gatherReport({ ...request, now: new Date() });
      if (sofar.state !== 'running') break;
      await writePage(file, renderReport(sofar, everyMs / 1000));
      if (isFirst) say(options, `${file}   (open it: it shows the run as it goes on)`);
      await sleep(everyMs, undefined, { signal: away.signal }).catch(() => undefined);
      if (away.signal.aborted) return sayInterrupted(run, options);
    }
  }
  const report = await gatherReport({ ...request, now: new Date(), count: countPhases });
  // With --json the page is made only where it is asked for.
  const asked = options.json !== true || options.output !== undefined;
  if (asked) await writePage(file, renderReport(report));
  if (options.json === true) printJson(report);
  for (const sentence of report.missing) say(options, `! ${sentence}`);
  say(options, file);
  return ExitCode.ok;
}

/** Writes a page, or says what is wrong with its place. */
export async function writePage(file: string, page: string): Promise<void> {
  try {
    await writeFile(file, page);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new ClientError(
      'input',
      `--output: cannot write ${file} (${code}). Name a file in a folder that exists and is yours.`,
      error,
    );
  }
}

/** null when Temporal does not answer: what S3 keeps is a report too. */
export async function temporalOf({ stack, env }: Context): Promise<Client | null> {
  const address = { address: env['TEMPORAL_ADDRESS'], namespace: env['TEMPORAL_NAMESPACE'] };
  try {
    if (stack !== null) await requireSupervised(stack);
    return (await openTemporal(stack === null ? {} : address)).client;
  } catch (error) {
    if (error instanceof ClientError && error.kind === 'unreachable') return null;
    throw error;
  }
}

/** The commit of a checkout; null where there is no git or no repository. */
function codeOf(): { commit: string; changed: boolean } | null {
  const { commit, numChanged } = describeVersion();
  return commit === null ? null : { commit, changed: numChanged > 0 };
}
