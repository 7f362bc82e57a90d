/** Looks at this machine and at its local stack, and says of each what was found, what is expected, and what to do. */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { look, type Check, type Finding } from './check.ts';
import { freeBytes, gigabytes, leastFreeBytes } from './disk.ts';
import { layoutOf, node, projectDir, python, venvBin } from './layout.ts';
import { describeMachine } from './machine.ts';
import { findListener, isPortFree } from './ports.ts';
import { type Program, programsOf } from './programs.ts';
import { resolveStack, type Stack } from './settings.ts';
import { listSupervised, type ProcessInfo } from './supervisor.ts';

export type { Check } from './check.ts';

const setUpAgain = `Run \`bash bin/setup\` in ${projectDir}.`;
const startStack = 'Start the stack: npx temper up.';
const quickMs = 10_000;
/** A cold disk reads PyTorch for this long. */
const torchMs = 60_000;
const partMs = 8000;
/** Signatures of S3 allow 15 minutes, leases of hosts a few; people notice less. */
const maxSkewMs = 60_000;

/** What every command needs of this machine. Starts and stops nothing. */
export function checkMachine(home: string): Promise<Check>[] {
  return [checkSystem(), checkNode(), checkPython(), checkDisk(home), checkMemory()];
}

/** PyTorch and its device: last, because it takes seconds to load. */
export function checkTorch(): Promise<Check> {
  const subject = { name: 'torch', expected: 'PyTorch that can be imported', remedy: setUpAgain };
  const program =
    'import torch; print(torch.__version__, torch.backends.cpu.get_cpu_capability(), "cuda" if torch.cuda.is_available() else "cpu")';
  return look({ ...subject, limitMs: torchMs }, async () => {
    const found = await outputOf(python, ['-c', program], torchMs);
    const machine = describeMachine();
    const ok = /^\d+\.\d+/.test(found);
    const where = `machine: ${machine.device}, ${machine.instructionSet}, ${machine.cores} cores`;
    return { ok, found: ok ? `${found}; ${where}` : found };
  });
}

/** Name of the one check that stands for all parts where none of them runs. */
export const localStack = 'local stack';

/** The programs and the parts of the local stack, with their ports; one line for them all where none runs. */
export async function checkStack(home: string): Promise<Check[]> {
  const stack = await resolveStack(home);
  const supervised = await listSupervised(stack.layout);
  const programs = programsOf(stack);
  const parts = supervised.every(({ pid }) => pid === 0)
    ? [checkDown(stack, programs)]
    : programs.map((program) => checkProgram(stack, program, supervised));
  return Promise.all([...checkPrograms(), ...parts]);
}

/** What keeps it from being started is told with it; its parts are not asked. */
function checkDown(stack: Stack, programs: readonly Program[]): Promise<Check> {
  const subject = { name: localStack, expected: 'all of its parts, ready', limitMs: partMs };
  return look({ ...subject, remedy: startStack }, async () => {
    const ports = programs.flatMap((program) => program.ports.map((port) => stack.ports[port]));
    const { found, ...rest } = await findPorts(ports);
    return { ...rest, found: `${found} (${stack.layout.home}); its parts were not asked` };
  });
}

/** The clock against the disk's and, where an address is given, against the one behind it. */
export function checkClock(home: string, url: string | null): Promise<Check> {
  const subject = {
    name: 'clock',
    expected: `less than ${maxSkewMs / 1000} s from the clocks of the disk and of S3`,
    remedy: 'Set the clock, and keep it so: timedatectl set-ntp true.',
    limitMs: quickMs,
  };
  return look(subject, async () => {
    const skews = [
      { clock: 'disk', skewMs: await diskSkewMs(layoutOf(home).run) },
      { clock: 'S3', skewMs: url === null ? null : await httpSkewMs(url) },
    ].filter((skew): skew is { clock: string; skewMs: number } => skew.skewMs !== null);
    const words = skews.map(({ clock, skewMs }) => {
      const seconds = Math.round(Math.abs(skewMs) / 1000);
      if (seconds < 2) return `as the ${clock}’s`;
      return `${seconds} s ${skewMs > 0 ? 'before' : 'behind'} the ${clock}’s`;
    });
    const now = `${new Date().toISOString().slice(0, 19)}Z`;
    const ok = skews.every(({ skewMs }) => Math.abs(skewMs) < maxSkewMs);
    return { ok, found: [now, ...words].join(', ') };
  });
}

async function diskSkewMs(folder: string): Promise<number> {
  const place = await mkdtemp(path.join(folder, 'clock-'));
  try {
    const file = path.join(place, 'now');
    const before = Date.now();
    await writeFile(file, '');
    return before - (await stat(file)).mtimeMs;
  } finally {
    await rm(place, { recursive: true, force: true });
  }
}

/** Null when nobody answers: others say so. Any answer has a date, a refusal too. */
async function httpSkewMs(url: string): Promise<number | null> {
  const began = Date.now();
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(5000), redirect: 'manual' });
    await response.body?.cancel();
    const told = Date.parse(response.headers.get('date') ?? '');
    // The header counts whole seconds.
    return Number.isNaN(told) ? null : (began + Date.now()) / 2 - (told + 500);
  } catch {
    return null;
  }
}

function checkSystem(): Promise<Check> {
  const remedy = 'Use a Linux machine or container.';
  const subject = { name: 'system', expected: 'linux x64 or arm64', remedy, limitMs: quickMs };
  return look(subject, () => {
    const ok = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch);
    return { ok, found: `${process.platform} ${process.arch}` };
  });
}

function checkNode(): Promise<Check> {
  const wanted = z
    .object({ dependencies: z.object({ node: z.string() }) })
    .parse(JSON.parse(readFileSync(path.join(projectDir, 'package.json'), 'utf8')));
  const version = `v${wanted.dependencies.node}`;
  const expected = `${version}, in node_modules`;
  const subject = { name: 'node', expected, remedy: setUpAgain, limitMs: quickMs };
  return look(subject, async () => {
    const found = await outputOf(node, ['--version'], quickMs);
    return { ok: found === version, found };
  });
}

function checkPython(): Promise<Check> {
  const expected = 'Python 3.11 or newer, in .venv';
  const subject = { name: 'python', expected, remedy: setUpAgain, limitMs: quickMs };
  return look(subject, async () => {
    const found = await outputOf(python, ['--version'], quickMs);
    return { ok: Number(/^Python 3\.(\d+)/.exec(found)?.[1] ?? 0) >= 11, found };
  });
}

function checkPrograms(): Promise<Check>[] {
  return [
    { name: 'temporal', args: ['--version'] },
    { name: 'weed', args: ['version'] },
    { name: 'supervisord', args: ['--version'] },
  ].map(({ name, args }) =>
    look({ name, expected: 'a version number', remedy: setUpAgain, limitMs: quickMs }, async () => {
      const found = await outputOf(venvBin(name), args, quickMs);
      return { ok: /\d+\.\d+/.test(found), found };
    }),
  );
}

function checkDisk(homeFolder: string): Promise<Check> {
  const subject = {
    name: 'disk',
    expected: `at least ${gigabytes(leastFreeBytes)}`,
    remedy: 'Free some, or set TEMPER_HOME to a folder on another disk.',
    limitMs: quickMs,
  };
  return look(subject, async () => {
    const { home } = layoutOf(homeFolder);
    const free = await freeBytes(home);
    return { ok: free >= leastFreeBytes, found: `${gigabytes(free)} free at ${home}` };
  });
}

function checkMemory(): Promise<Check> {
  const subject = {
    name: 'memory',
    expected: 'at least 3 GB available',
    remedy: 'End programs that hold memory, or use a larger machine.',
    limitMs: quickMs,
  };
  return look(subject, () => {
    const total = describeMachine().memoryBytes;
    const available = process.availableMemory();
    const found = `${gigabytes(available)} available of ${gigabytes(total)}`;
    return { ok: available >= 3e9, found };
  });
}

/** A part that runs must answer; a part that does not needs its ports. */
function checkProgram(stack: Stack, program: Program, supervised: ProcessInfo[]): Promise<Check> {
  const { name, title, ports } = program;
  const info = supervised.find((found) => found.name === name);
  const numbers = ports.map((port) => stack.ports[port]);
  const subject = { name: title, expected: 'ready', limitMs: partMs };
  if (info === undefined || info.pid === 0) {
    return look({ ...subject, remedy: startStack }, () => findPorts(numbers));
  }
  const log = path.join(stack.layout.logs, `${name}.log`);
  const remedy = `Read ${log}; \`npx temper down\` and \`npx temper up\` start it afresh.`;
  return look({ ...subject, remedy }, async () => {
    const fault = await program.check(new Date(info.start * 1000));
    const at = numbers.length > 0 ? `, port ${numbers.join(', ')}` : '';
    return { ok: fault === null, found: fault ?? `ready, pid ${info.pid}${at}` };
  });
}

async function findPorts(numbers: readonly number[]): Promise<Finding> {
  const taken: string[] = [];
  for (const port of numbers) {
    if (await isPortFree(port)) continue;
    const holder = findListener(port);
    taken.push(
      `${port} by ${holder === null ? 'another program' : `${holder.program}, pid ${holder.pid}`}`,
    );
  }
  if (taken.length === 0) return { ok: false, found: 'not running' };
  return {
    ok: false,
    found: `not running; port taken: ${taken.join('; ')}`,
    remedy: 'Stop that program, or choose other ports: TEMPER_PORT_BASE=17000 npx temper up.',
  };
}

/** The last line that a program prints, or why it could not. */
async function outputOf(program: string, args: string[], timeout: number): Promise<string> {
  const { failed, stdout, stderr, shortMessage } = await execa(program, args, {
    reject: false,
    timeout,
    stdin: 'ignore',
  });
  const text = failed ? stderr.trim() || (shortMessage ?? 'it failed') : stdout.trim();
  return text.split('\n').at(-1) ?? '';
}
