/** Watches a run to its end; Ctrl-C stops the watching only, for the run does not need its watcher. */
import type { TemperClient } from '../client.ts';
import type { LiveStatus } from '../live-status.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { progressView, screenOf, type ProgressView } from './progress.ts';

export interface WatchOptions {
  onStatus?: (status: LiveStatus, view: ProgressView) => void;
  /** Milliseconds between two looks. */
  everyMs?: number;
}

export interface Watched {
  status: LiveStatus | null;
  interrupted: boolean;
}

/** Shows progress until the run has ended or the operator looks away. */
export async function watchRun(
  client: TemperClient,
  run: string,
  options: CommonOptions,
  { onStatus, everyMs }: WatchOptions = {},
): Promise<Watched> {
  const view = progressView(screenOf(process.stdout, process.env));
  const away = new AbortController();
  const interrupt = () => away.abort();
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  let status: LiveStatus | null = null;
  const follow = { signal: away.signal, ...(everyMs === undefined ? {} : { everyMs }) };
  try {
    for await (status of client.followStatus(run, follow)) {
      if (options.json !== true) view.update(status, Date.now());
      onStatus?.(status, view);
    }
  } finally {
    view.end();
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
  return { status, interrupted: away.signal.aborted };
}

/** What to print when the operator looked away. */
export function sayInterrupted(run: string, options: CommonOptions): number {
  if (options.json === true) printJson({ run, state: 'running', watching: false });
  say(options, `\nrun ${run} goes on without you.`);
  say(options, `  watch it:  npx temper status ${run} --watch`);
  say(options, `  cancel it: npx temper cancel ${run}`);
  return ExitCode.interrupted;
}
