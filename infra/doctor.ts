/** Looks at everything that a run needs and says of each what was found, what is expected, and what to do. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { freeBytes, gigabytes, leastFreeBytes } from './disk.ts';
import { node, projectDir, python, venvBin } from './layout.ts';
import { describeMachine } from './machine.ts';
import { findListener, isPortFree } from './ports.ts';
import { type Program, programsOf } from './programs.ts';
import { resolveStack, type Stack } from './settings.ts';
import { listSupervised, type ProcessInfo } from './supervisor.ts';

export interface Check {
  name: string;
  ok: boolean;
  found: string;
  expected: string;
  /** What to do; empty when all is well. */
  remedy: string;
}

const setUpAgain = `Run \`bash bin/setup\` in ${projectDir}.`;
const startStack = 'Start the stack: npx temper up.';

/** Every check, in the order in which one would look. Starts and stops nothing. */
export async function diagnose(home: string): Promise<Check[]> {
  const stack = await resolveStack(home);
  const supervised = await listSupervised(stack.layout);
  const tools = await Promise.all([
    checkNode(),
    checkPython(),
    checkTorch(),
    checkTools(),
    checkDisk(stack),
  ]);
  const parts = await Promise.all(
    programsOf(stack).map((program) => checkProgram(stack, program, supervised)),
  );
  return [checkSystem(), ...tools.flat(), checkMemory(), ...parts];
}

function check(name: string, ok: boolean, found: string, expected: string, remedy: string): Check {
  return { name, ok, found, expected, remedy: ok ? '' : remedy };
}

function checkSystem(): Check {
  const found = `${process.platform} ${process.arch}`;
  const ok = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch);
  return check('system', ok, found, 'linux x64 or arm64', 'Use a Linux machine or container.');
}

async function checkNode(): Promise<Check> {
  const wanted = z
    .object({ dependencies: z.object({ node: z.string() }) })
    .parse(JSON.parse(readFileSync(path.join(projectDir, 'package.json'), 'utf8')));
  const expected = `v${wanted.dependencies.node}`;
  const found = await outputOf(node, ['--version']);
  return check('node', found === expected, found, `${expected}, in node_modules`, setUpAgain);
}

async function checkPython(): Promise<Check> {
  const found = await outputOf(python, ['--version']);
  const minor = Number(/^Python 3\.(\d+)/.exec(found)?.[1] ?? 0);
  return check('python', minor >= 11, found, 'Python 3.11 or newer, in .venv', setUpAgain);
}

async function checkTorch(): Promise<Check> {
  const program =
    'import torch; print(torch.__version__, torch.backends.cpu.get_cpu_capability(), "cuda" if torch.cuda.is_available() else "cpu")';
  const found = await outputOf(python, ['-c', program]);
  const machine = describeMachine();
  const ok = /^\d+\.\d+/.test(found);
  const shown = ok
    ? `${found}; machine: ${machine.device}, ${machine.instructionSet}, ${machine.cores} cores`
    : found;
  return check('torch', ok, shown, 'PyTorch that can be imported', setUpAgain);
}

async function checkTools(): Promise<Check[]> {
  return Promise.all(
    [
      { name: 'temporal', args: ['--version'] },
      { name: 'weed', args: ['version'] },
      { name: 'supervisord', args: ['--version'] },
    ].map(async ({ name, args }) => {
      const found = await outputOf(venvBin(name), args);
      return check(name, /\d+\.\d+/.test(found), found, 'a version number', setUpAgain);
    }),
  );
}

async function checkDisk({ layout }: Stack): Promise<Check> {
  const free = await freeBytes(layout.home);
  return check(
    'disk',
    free >= leastFreeBytes,
    `${gigabytes(free)} free at ${layout.home}`,
    `at least ${gigabytes(leastFreeBytes)}`,
    'Free some, or set TEMPER_HOME to a folder on another disk.',
  );
}

function checkMemory(): Check {
  const total = describeMachine().memoryBytes;
  const available = process.availableMemory();
  return check(
    'memory',
    available >= 3e9,
    `${gigabytes(available)} available of ${gigabytes(total)}`,
    'at least 3 GB available',
    'End programs that hold memory, or use a larger machine.',
  );
}

/** A part that runs must answer; a part that does not needs its ports. */
async function checkProgram(
  stack: Stack,
  program: Program,
  supervised: ProcessInfo[],
): Promise<Check> {
  const { name, title, ports } = program;
  const info = supervised.find((found) => found.name === name);
  const numbers = ports.map((port) => stack.ports[port]);
  if (info !== undefined && info.pid !== 0) {
    const fault = await program.check(new Date(info.start * 1000));
    const log = path.join(stack.layout.logs, `${name}.log`);
    return check(
      title,
      fault === null,
      fault ?? `ready, pid ${info.pid}${numbers.length > 0 ? `, port ${numbers.join(', ')}` : ''}`,
      'ready',
      `Read ${log}; \`npx temper down\` and \`npx temper up\` start it afresh.`,
    );
  }
  const taken: string[] = [];
  for (const port of numbers) {
    if (await isPortFree(port)) continue;
    const holder = findListener(port);
    taken.push(
      `${port} by ${holder === null ? 'another program' : `${holder.program}, pid ${holder.pid}`}`,
    );
  }
  const found = taken.length > 0 ? `not running; port taken: ${taken.join('; ')}` : 'not running';
  const remedy =
    taken.length > 0
      ? 'Stop that program, or choose other ports: TEMPER_PORT_BASE=17000 npx temper up.'
      : startStack;
  return check(title, false, found, 'ready', remedy);
}

/** The last line that a program prints, or why it could not. */
async function outputOf(program: string, args: string[]): Promise<string> {
  const { failed, stdout, stderr, shortMessage } = await execa(program, args, {
    reject: false,
    timeout: 60_000,
    stdin: 'ignore',
  });
  const text = failed ? stderr.trim() || (shortMessage ?? 'it failed') : stdout.trim();
  return text.split('\n').at(-1) ?? '';
}
