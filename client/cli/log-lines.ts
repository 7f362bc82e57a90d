/** Lines of logs for people: pino's JSON, and what other programs print, in one form. Pure. */
import { plain, padEnd, type Paint } from './text.ts';

export interface LogLine {
  part: string;
  /** As it stands in the file. */
  raw: string;
  /** Milliseconds since the epoch; null where the line does not say. */
  at: number | null;
  level: 'debug' | 'info' | 'warn' | 'error';
  text: string;
  /** The run it is about; null where it does not say. */
  run: string | null;
}

/** Said by every line, or by the part's name. */
const silent = new Set(
  ['level', 'time', 'pid', 'hostname', 'worker', 'process', 'host', 'msg', 'namespace'].concat([
    'sdkComponent',
    'taskQueue',
    'runId',
    'workflowType',
    'activityId',
    'attempt',
    'isLocal',
  ]),
);

/** Reads one line of a part's log. */
export function parseLogLine(part: string, raw: string): LogLine {
  let record: unknown;
  try {
    record = raw.startsWith('{') ? JSON.parse(raw) : null;
  } catch {
    record = null;
  }
  if (record === null || typeof record !== 'object') {
    return { part, raw, at: timeOf(raw), level: levelOf(raw), text: plain(raw), run: null };
  }
  const fields = record as Record<string, unknown>;
  const { level, time, msg } = fields;
  const said = Object.entries(fields)
    .filter(([name]) => !silent.has(name))
    .map(([name, value]) => `${name}=${shown(value)}`);
  const number = typeof level === 'number' ? level : 30;
  return {
    part,
    raw,
    at: typeof time === 'number' ? time : null,
    level: number >= 50 ? 'error' : number >= 40 ? 'warn' : number >= 30 ? 'info' : 'debug',
    text: [typeof msg === 'string' ? msg : '', ...said].map(plain).join('  '),
    run: runOf(fields),
  };
}

/** E.g. `07:51:30 gpu      warn  lease not renewed  error=…`. */
export function renderLogLine({ part, at, level, text }: LogLine, paint: Paint): string {
  const time = at === null ? ' '.repeat(8) : new Date(at).toTimeString().slice(0, 8);
  const line = `${time} ${padEnd(part, 11)} ${padEnd(level, 5)} ${text}`;
  if (level === 'error') return paint('red', line);
  if (level === 'warn') return paint('yellow', line);
  return level === 'debug' ? paint('dim', line) : line;
}

function shown(value: unknown): string {
  if (typeof value === 'string') return value;
  const { message } = (value ?? {}) as { message?: unknown };
  return typeof message === 'string' ? message : JSON.stringify(value);
}

function runOf({ run, runName, workflowId }: Record<string, unknown>): string | null {
  if (typeof run === 'string') return run;
  if (typeof runName === 'string') return runName;
  if (typeof workflowId !== 'string') return null;
  return /^(?:pipeline|preprocess|training)\/([^/]+)/.exec(workflowId)?.[1] ?? null;
}

function timeOf(raw: string): number | null {
  const iso = /(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)[.,](\d{3})\d*(Z?)/.exec(raw.slice(0, 60));
  if (iso !== null) return Date.parse(`${iso[1]}T${iso[2]}.${iso[3]}${iso[4]}`);
  // glog, of SeaweedFS: I1122 07:51:30.040497
  const glog = /^[IWEF](\d\d)(\d\d) (\d\d:\d\d:\d\d)\.(\d{3})/.exec(raw);
  if (glog === null) return null;
  const year = new Date().getFullYear();
  return Date.parse(`${year}-${glog[1]}-${glog[2]}T${glog[3]}.${glog[4]}`);
}

function levelOf(raw: string): LogLine['level'] {
  if (/^[EF]\d{4} |level=ERROR|\b(ERROR|CRIT)\b|^\w*(Error|Exception):/.test(raw)) return 'error';
  if (/^W\d{4} |level=WARN|\bWARN(ING)?\b/.test(raw)) return 'warn';
  return 'info';
}
