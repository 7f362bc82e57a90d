/** How soon the command line answers: `--help` of every command, and the first output of each on a terminal. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { projectDir, python } from '../infra/layout.ts';
import { stackDown } from '../infra/stack.ts';
import { defineBench, say } from './support/bench.ts';
import { median } from './support/figures.ts';

const temper = path.join(projectDir, 'bin/temper');
const helper = path.join(projectDir, 'bench/support/first_output.py');
/** These would change a stack that is up. */
const changing = ['up', 'down', 'quickstart', 'run'];

export const answers = defineBench({
  name: 'answers',
  summary: '--help and first output of every command, in an empty home or of a stack that is up',
  settings: z.strictObject({
    rounds: z.int().min(1).default(5).describe('runs of each; the median counts'),
    home: z.string().default('').describe('of a stack that is up: what changes it is left out'),
  }),
  async measure({ rounds, home }) {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'temper-answers-'));
    const used = home === '' ? path.join(folder, 'home') : path.resolve(home);
    const env = { TEMPER_HOME: used, TEMPORAL_ADDRESS: '', TERM: 'xterm' };
    try {
      writeDocuments(folder);
      const commands = await findCommands(env);
      const asked = commands.filter(({ name }) => home === '' || !changing.includes(name));
      const rows: { command: string; helpMs: number; firstMs: number; first: string }[] = [];
      for (const command of asked) {
        const argv = [...command.name.split(' '), ...command.args];
        const helps: number[] = [];
        const firsts: number[] = [];
        let first = '';
        for (let round = 0; round < rounds; round += 1) {
          helps.push(await timeOf([...command.name.split(' '), '--help'], env));
          const found = await firstOutput(argv, folder, env);
          firsts.push(found.firstMs ?? Infinity);
          first = found.text;
        }
        const row = {
          command: command.name,
          helpMs: median(helps),
          firstMs: median(firsts),
          first,
        };
        rows.push(row);
        const figures = `help ${Math.round(row.helpMs)} ms, first output ${Math.round(row.firstMs)} ms`;
        say(`${row.command.padEnd(18)} ${figures.padEnd(40)} ${first}`);
      }
      const worst = (of: (row: (typeof rows)[number]) => number) => Math.max(...rows.map(of));
      return {
        figures: { commands: rows },
        bounds: [
          { name: 'commands asked', value: rows.length, min: 10 },
          { name: '--help of the slowest, ms', value: worst(({ helpMs }) => helpMs), max: 300 },
          {
            name: 'first output of the slowest, ms',
            value: worst(({ firstMs }) => firstMs),
            max: 500,
          },
        ],
      };
    } finally {
      // `up` and `run` were ended in the middle of a start.
      if (home === '') await stackDown(used);
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    }
  },
});

interface Asked {
  name: string;
  args: string[];
}

/** Every command that help shows, with arguments that fit its usage. */
async function findCommands(env: Record<string, string>, parents: string[] = []): Promise<Asked[]> {
  const { stdout } = await execa(temper, [...parents, '--help'], { env });
  const children = commandsIn(stdout);
  if (children.length === 0) return [{ name: parents.join(' '), args: argumentsFor(stdout) }];
  const found: Asked[] = [];
  for (const child of children) found.push(...(await findCommands(env, [...parents, child])));
  return found;
}

/** The commands that a help text lists, but for help itself. */
export function commandsIn(help: string): string[] {
  const listed = /^Commands:\n((?: {2,}.*\n?)+)/m.exec(help)?.[1] ?? '';
  return [...listed.matchAll(/^ {2}([a-z][\w-]*)/gm)]
    .map((match) => match[1]!)
    .filter((name) => name !== 'help');
}

/** A value for each argument that the usage line demands, or for a file that would else be looked for. */
export function argumentsFor(help: string): string[] {
  const usage = /^Usage: (.*)$/m.exec(help)?.[1] ?? '';
  const values: Record<string, string> = { folder: 'docs', file: 'pipeline.yaml', shell: 'bash' };
  return [...usage.matchAll(/([<[])([a-z][\w-]*)(?:\.{3})?[>\]]/g)]
    .filter(([, bracket, name]) => name !== 'options' && (bracket === '<' || name === 'file'))
    .map(([, , name]) => values[name!] ?? 'nothing-0000');
}

function writeDocuments(folder: string): void {
  mkdirSync(path.join(folder, 'docs'));
  for (let n = 0; n < 30; n += 1) {
    const text =
      `Document ${n} says how many leaves the tree of row ${n * 7} had in spring.\n`.repeat(50);
    writeFileSync(path.join(folder, 'docs', `${n}.txt`), text);
  }
  const pipeline =
    'version: 1\nname: answers\ndata: { sources: [{ path: docs, license: none }] }\n';
  writeFileSync(path.join(folder, 'pipeline.yaml'), pipeline);
}

async function timeOf(argv: string[], env: Record<string, string>): Promise<number> {
  const { durationMs } = await execa(temper, argv, { env, stdin: 'ignore' });
  return durationMs;
}

const firstSchema = z.object({ firstMs: z.number().nullable(), text: z.string() });

/** On a terminal, where somebody waits; ended as soon as it has said something. */
export async function firstOutput(
  argv: string[],
  cwd: string,
  env: Record<string, string>,
  program = temper,
) {
  const { stdout } = await execa(python, [helper, '10', program, ...argv], {
    cwd,
    env,
    stdin: 'ignore',
  });
  const { firstMs, text } = firstSchema.parse(JSON.parse(stdout));
  const line = text
    .replaceAll(/\u001b\[[0-9;?]*[A-Za-z]/g, '')
    .split(/[\r\n]/)
    .find((part) => part.trim() !== '');
  return { firstMs, text: (line ?? '').slice(0, 100) };
}
