/** `temper logs`: what the parts of the local stack and the trainers of a run have written. */
import { setTimeout as sleep } from 'node:timers/promises';
import { homeFolder, layoutOf } from '../../infra/layout.ts';
import {
  loggedParts,
  LogTail,
  partLogs,
  trainerLogs,
  type LogFile,
} from '../../infra/log-files.ts';
import { ClientError } from '../errors.ts';
import { nearest } from '../nearest.ts';
import { parseLogLine, renderLogLine, type LogLine } from './log-lines.ts';
import { ExitCode, type CommonOptions } from './output.ts';
import { painter } from './text.ts';

export interface LogsOptions extends CommonOptions {
  follow?: boolean;
  lines: number;
}

const followEveryMs = 300;
/** A run's lines lie among those of others. */
const runBytes = 16_000_000;

export async function logsCommand(
  named: string | undefined,
  options: LogsOptions,
): Promise<number> {
  if ((process.env['TEMPORAL_ADDRESS'] ?? '') !== '') {
    throw new ClientError(
      'input',
      'logs reads those of the local stack, and TEMPORAL_ADDRESS names a remote one: unset it first.',
    );
  }
  const layout = layoutOf(homeFolder(process.env));
  const parts: readonly string[] = loggedParts;
  const run = named !== undefined && !parts.includes(named) ? named : null;
  const files = (): LogFile[] => {
    if (run === null) {
      return partLogs(layout).filter(({ part }) => named === undefined || part === named);
    }
    return [...partLogs(layout), ...trainerLogs(layout, run)];
  };
  const mostBytes = run === null ? Math.max(256_000, 1000 * options.lines) : runBytes;
  const readers = new Map<string, { part: string; tail: LogTail; at: number | null }>();
  const known = new Set<string>();

  /** What is new in every file, in the order of time; a line that does not say when stays behind the one before. */
  const read = async (): Promise<LogLine[]> => {
    const found: { line: LogLine; at: number }[] = [];
    for (const { part, file } of files()) {
      const reader = readers.get(file) ?? { part, tail: new LogTail(file, mostBytes), at: null };
      readers.set(file, reader);
      for (const raw of await reader.tail.read()) {
        const line = parseLogLine(part, raw);
        reader.at = line.at ?? reader.at;
        if (line.run !== null) known.add(line.run);
        const ofTrainer = !parts.includes(part);
        if (run !== null && line.run !== run && !ofTrainer) continue;
        found.push({ line, at: reader.at ?? (ofTrainer ? Date.now() : 0) });
      }
    }
    return found.toSorted((a, b) => a.at - b.at).map(({ line }) => line);
  };

  const { isTTY } = process.stdout;
  const paint = painter(isTTY && (process.env['NO_COLOR'] ?? '') === '');
  const print = (lines: LogLine[]) => {
    for (const line of lines) {
      const text = options.json === true ? jsonOf(line) : renderLogLine(line, paint);
      process.stdout.write(`${text}\n`);
    }
  };
  const first = await read();
  if (run !== null && first.length === 0) throw unknown(run, [...known]);
  print(options.lines === 0 ? [] : first.slice(-options.lines));
  if (options.follow !== true) return ExitCode.ok;

  const away = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => away.abort());
  while (!away.signal.aborted) {
    await sleep(followEveryMs, undefined, { signal: away.signal }).catch(() => undefined);
    print(await read());
  }
  return ExitCode.interrupted;
}

/** A line of JSON as it stands, any other as JSON that says whose it is. */
function jsonOf({ part, raw }: LogLine): string {
  try {
    if (raw.startsWith('{')) return JSON.stringify({ part, ...(JSON.parse(raw) as object) });
  } catch {
    // Torn by a kill: told as text.
  }
  return JSON.stringify({ part, msg: raw });
}

function unknown(name: string, runs: string[]): ClientError {
  const near = nearest(name, [...loggedParts, ...runs]);
  const hint = near === null ? 'npx temper status lists the runs.' : `Did you mean ${near}?`;
  return new ClientError(
    'input',
    `logs: found nothing of "${name}", expected a part (${loggedParts.join(', ')}) or a run. ${hint}`,
  );
}
