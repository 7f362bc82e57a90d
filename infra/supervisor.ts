/** Drives supervisord: its configuration, its start in the background, and what it says of the programs it keeps alive. */
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { z } from 'zod';
import { type Layout, venvBin } from './layout.ts';
import type { Program } from './programs.ts';
import { callXmlRpc, RpcFault, type RpcValue } from './xml-rpc.ts';

const processInfoSchema = z.object({
  name: z.string(),
  pid: z.number(),
  statename: z.enum([
    'STOPPED',
    'STARTING',
    'RUNNING',
    'BACKOFF',
    'STOPPING',
    'EXITED',
    'FATAL',
    'UNKNOWN',
  ]),
  start: z.number().describe('Unix time, seconds'),
  now: z.number(),
});
export type ProcessInfo = z.infer<typeof processInfoSchema>;

const socketOf = (layout: Layout): string => path.join(layout.sockets, 'supervisor.sock');

const call = (
  layout: Layout,
  method: string,
  parameters?: (string | boolean)[],
): Promise<RpcValue> => callXmlRpc(socketOf(layout), `supervisor.${method}`, parameters);

/** Whether the supervisor of this home answers. */
export async function isSupervisorRunning(layout: Layout): Promise<boolean> {
  try {
    await call(layout, 'getState');
    return true;
  } catch {
    return false;
  }
}

/** Pid of the supervisor of this home. */
export async function supervisorPid(layout: Layout): Promise<number> {
  return z.number().parse(await call(layout, 'getPID'));
}

/** What every program does now; empty when no supervisor runs. */
export async function listSupervised(layout: Layout): Promise<ProcessInfo[]> {
  let answer: RpcValue;
  try {
    answer = await call(layout, 'getAllProcessInfo');
  } catch (error) {
    if (error instanceof RpcFault || !(await isSupervisorRunning(layout))) return [];
    throw error;
  }
  return z.array(processInfoSchema).parse(answer);
}

/** Starts a program if it does not run; does not wait for it. */
export async function startSupervised(layout: Layout, name: string): Promise<void> {
  const info = (await listSupervised(layout)).find((found) => found.name === name);
  if (info !== undefined && ['RUNNING', 'STARTING', 'STOPPING'].includes(info.statename)) return;
  try {
    await call(layout, 'startProcess', [name, false]);
  } catch (error) {
    if (!(error instanceof RpcFault)) throw error;
    const alreadyStarted = error.message.includes('ALREADY_STARTED');
    if (!alreadyStarted) throw new Error(`${name}: supervisord said ${error.message}`);
  }
}

/** Stops programs at once, each with the patience of its configuration; resolves when all have ended. */
export async function stopSupervised(layout: Layout, names: readonly string[]): Promise<void> {
  if (!(await isSupervisorRunning(layout))) return;
  for (const name of names) {
    try {
      await call(layout, 'stopProcess', [name, false]);
    } catch (error) {
      if (!(error instanceof RpcFault)) throw error;
    }
  }
  const ended = new Set(['STOPPED', 'EXITED', 'FATAL']);
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    const infos = await listSupervised(layout);
    if (infos.every((info) => !names.includes(info.name) || ended.has(info.statename))) return;
    await sleep(100);
  }
}

/** Ends the supervisor and everything it still runs. */
export async function shutdownSupervisor(layout: Layout): Promise<void> {
  try {
    await call(layout, 'shutdown');
  } catch (error) {
    if (!(error instanceof RpcFault) && (await isSupervisorRunning(layout))) throw error;
  }
}

/** Whether the configuration that the running supervisor was started with is this one. */
export function isConfigurationCurrent(layout: Layout, programs: Program[]): boolean {
  try {
    return readFileSync(layout.supervisorConfig, 'utf8') === renderConfiguration(layout, programs);
  } catch {
    return false;
  }
}

/** Starts supervisord in the background, in a session of its own; it starts no program by itself. */
export async function startSupervisor(
  layout: Layout,
  programs: Program[],
  env: Record<string, string>,
): Promise<void> {
  rmSync(layout.supervisorPid, { force: true });
  writeFileSync(layout.supervisorConfig, renderConfiguration(layout, programs), { mode: 0o600 });
  const daemon = await execa(venvBin('supervisord'), ['-c', layout.supervisorConfig], {
    env,
    extendEnv: false,
    cwd: layout.run,
    stdin: 'ignore',
    reject: false,
    all: true,
    timeout: 30_000,
  });
  const deadline = Date.now() + 10_000;
  while (!daemon.failed && Date.now() < deadline) {
    if (await isSupervisorRunning(layout)) return;
    await sleep(50);
  }
  throw new Error(
    `supervisord did not start: found "${daemon.all.trim().split('\n').at(-1) || daemon.shortMessage || 'no answer within 10 s'}". Its log is ${layout.supervisorLog}; \`npx temper doctor\` says what is missing.`,
  );
}

/** How often each program was started since the supervisor's own start, by its log. */
export function countStarts(layout: Layout): Map<string, number> {
  const counts = new Map<string, number>();
  const log = readTail(layout.supervisorLog, 400_000);
  const sinceStart = log.slice(Math.max(0, log.lastIndexOf('supervisord started with pid')));
  for (const [, name] of sinceStart.matchAll(/spawned: '([a-z0-9]+)' with pid/g)) {
    counts.set(name!, (counts.get(name!) ?? 0) + 1);
  }
  return counts;
}

/** The end of a file; empty when there is none. */
export function readTail(file: string, bytes: number): string {
  try {
    const size = statSync(file).size;
    return readFileSync(file)
      .subarray(Math.max(0, size - bytes))
      .toString();
  } catch {
    return '';
  }
}

/** Log file of one program. */
export function logFileOf(layout: Layout, name: string): string {
  return path.join(layout.logs, `${name}.log`);
}

function renderConfiguration(layout: Layout, programs: Program[]): string {
  const identity = process.getuid!() === 0 ? ['user=root'] : [];
  return [
    '; Written by `temper up`; changes are lost.',
    '[supervisord]',
    `logfile=${literal(layout.supervisorLog)}`,
    'logfile_maxbytes=5MB',
    'logfile_backups=1',
    `pidfile=${literal(layout.supervisorPid)}`,
    `directory=${literal(layout.run)}`,
    `childlogdir=${literal(layout.logs)}`,
    'umask=077',
    ...identity,
    '',
    '[unix_http_server]',
    `file=${literal(socketOf(layout))}`,
    'chmod=0700',
    '',
    '[rpcinterface:supervisor]',
    'supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface',
    '',
    ...programs.flatMap((program) => renderProgram(layout, program)),
  ].join('\n');
}

function renderProgram(layout: Layout, program: Program): string[] {
  return [
    `[program:${program.name}]`,
    `command=${literal(commandOf(program).map(shellQuote).join(' '))}`,
    `directory=${literal(program.cwd)}`,
    'autostart=false',
    'autorestart=true',
    // A program that lived for a second is started again at once; one that did not waits 1 s, 2 s, …
    'startsecs=1',
    'startretries=1000000',
    'stopsignal=TERM',
    `stopwaitsecs=${Math.ceil(program.stopPatienceMs / 1000)}`,
    'killasgroup=true',
    'redirect_stderr=true',
    `stdout_logfile=${literal(logFileOf(layout, program.name))}`,
    'stdout_logfile_maxbytes=20MB',
    'stdout_logfile_backups=2',
    '',
  ];
}

/** supervisord expands %(…)s in values and takes " ;" for a comment. */
function literal(value: string): string {
  if (/[\n\r]| ;/.test(value)) {
    throw new Error(
      `home folder: found a line break or " ;" in "${value}", which supervisord cannot take. Set TEMPER_HOME to another folder.`,
    );
  }
  return value.replaceAll('%', '%%');
}

/** `nice` becomes the program, so that its pid and its command line are the program's own. */
function commandOf({ argv, nice }: Program): string[] {
  return nice === 0 ? argv : ['nice', '-n', String(nice), ...argv];
}

function shellQuote(word: string): string {
  return /^[\w./:=@+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}
