/** `temper doctor`: everything that a run needs, each with what was found and what to do. */
import { readFileSync } from 'node:fs';
import { cleanerOf, gatherReport, type BugReport } from '../../infra/bug-report.ts';
import { inOrder, type Check } from '../../infra/check.ts';
import {
  checkClock,
  checkMachine,
  checkStack,
  checkTorch,
  localStack,
} from '../../infra/doctor.ts';
import { homeFolder, layoutOf } from '../../infra/layout.ts';
import { secretsOf } from '../../infra/mask.ts';
import { rootMessage } from '../errors.ts';
import { ExitCode, printJson, say, type CommonOptions } from './output.ts';
import { clock, padEnd, painter, plain } from './text.ts';

export interface DoctorOptions extends CommonOptions {
  report?: boolean;
}

export async function doctorCommand(options: DoctorOptions): Promise<number> {
  const home = homeFolder(process.env);
  const machine = checkMachine(home);
  // The client takes longer to load than these lines to print.
  const services = checkServices(home).catch((error: unknown) => [
    {
      name: 'stack',
      ok: false,
      found: rootMessage(error),
      expected: 'a home folder with whole settings',
      remedy: `TEMPER_HOME names another; this is ${home}.`,
    },
  ]);
  const all: Check[] = [];
  const paint = painter(process.stdout.isTTY === true && (process.env['NO_COLOR'] ?? '') === '');
  for await (const check of inOrder([...machine, services, checkTorch()])) {
    all.push(check);
    const { name, ok, found, expected, remedy } = check;
    const mark = ok ? paint('green', '✓') : paint('red', '✗');
    say(options, `${mark} ${padEnd(name, 24)} ${plain(found)}`);
    if (!ok) say(options, `  ${' '.repeat(24)} expected ${expected}. ${remedy}`);
  }
  const ok = all.every((check) => check.ok);
  const report = options.report === true ? await reportOf(home, all) : null;
  if (options.json === true) printJson({ ok, checks: all, ...(report === null ? {} : { report }) });
  if (report !== null) for (const line of reportLines(report)) say(options, line);
  else {
    say(options);
    if (ok) say(options, 'All is well.');
    say(options, 'For a bug report: npx temper doctor --report');
  }
  return exitCodeOf(all);
}

/** A stack that is down and nothing else wrong ends as every command does that needs it. */
export function exitCodeOf(checks: readonly Pick<Check, 'name' | 'ok'>[]): number {
  const wrong = checks.filter((check) => !check.ok);
  if (wrong.length === 0) return ExitCode.ok;
  return wrong.every(({ name }) => name === localStack) ? ExitCode.unreachable : ExitCode.failed;
}

/** The local stack's parts, or else the remote services; of either whether they keep their promises. */
async function checkServices(home: string): Promise<Check[]> {
  const { openContext } = await import('./context.ts');
  const { checkStore, checkTemporal, storeUrl } = await import('./doctor-services.ts');
  const context = await openContext();
  const parts = context.stack === null ? [] : await checkStack(home);
  // Of a part that is down its own line says what to do.
  const isUp = (name: string) =>
    context.stack === null || parts.some((part) => part.name.startsWith(name) && part.ok);
  const found = await Promise.all([
    isUp('Temporal') ? checkTemporal(context) : [],
    isUp('S3') ? checkStore(context) : [],
    checkClock(home, storeUrl(context)),
  ]);
  return [...parts, ...found.flat()];
}

interface DoctorReport extends BugReport {
  parts: { name: string; state: string; up: string; restarts: number }[];
  wrong: { name: string; found: string }[];
}

async function reportOf(home: string, checks: readonly Check[]): Promise<DoctorReport> {
  const { openContext } = await import('./context.ts');
  const { stackStatus } = await import('../../infra/stack.ts');
  // What is wrong with the settings stands among the findings.
  const stack = await openContext().then(
    (context) => context.stack,
    () => null,
  );
  const secrets = [
    ...secretsOf(process.env),
    ...(stack === null ? [] : Object.values(stack.secrets).map(String)),
    ...(stack === null ? [] : secretLines(stack.layout.dataKeyFile)),
  ];
  const parts = stack === null ? [] : await stackStatus(home);
  const clean = cleanerOf(secrets);
  return {
    ...(await gatherReport(layoutOf(home), secrets)),
    parts: parts.map(({ name, state, uptimeMs, restarts }) => {
      return { name, state, up: uptimeMs === null ? '' : clock(uptimeMs), restarts };
    }),
    wrong: checks
      .filter(({ ok }) => !ok)
      .map(({ name, found }) => ({ name, found: clean(plain(found)) })),
  };
}

/** A data key without its id, and with it. */
function secretLines(file: string): string[] {
  try {
    const lines = readFileSync(file, 'utf8').split(/\s+/);
    return lines.flatMap((line) => [line, line.slice(line.indexOf(':') + 1)]);
  } catch {
    return [];
  }
}

function reportLines({ versions, machine, parts, wrong, logs }: DoctorReport): string[] {
  const facts = (values: Record<string, string>) =>
    Object.entries(values).map(([name, value]) => `  ${padEnd(name, 28)} ${value}`);
  return [
    '',
    'For a bug report: everything from here on. Secrets are masked; read it before you send it.',
    '```',
    'versions',
    ...facts(versions),
    'machine',
    ...facts(machine),
    'parts',
    ...(parts.length === 0 ? ['  none that can be looked at here'] : []),
    ...parts.map(
      ({ name, state, up, restarts }) =>
        `  ${padEnd(name, 28)} ${state}${up === '' ? '' : `, up ${up}`}${restarts === 0 ? '' : `, restarted ${restarts} times`}`,
    ),
    'what the doctor found wrong',
    ...(wrong.length === 0 ? ['  nothing'] : []),
    ...wrong.map(({ name, found }) => `  ${padEnd(name, 28)} ${found}`),
    'warnings and errors in the logs, the last 20 of each',
    ...(logs.length === 0 ? ['  none'] : []),
    ...logs.flatMap(({ name, lines }) => [
      `  ${name}`,
      ...lines.map((line) => `    ${plain(line)}`),
    ]),
    '```',
  ];
}
