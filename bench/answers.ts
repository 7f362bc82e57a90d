/** How soon the command line answers: `--help` of every command, and the first output of each on a terminal. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { projectDir, python } from '../infra/layout.ts';
import { stackDown } from '../infra/stack.ts';
import { waitingText } from '../client/cli/waiting.ts';
import { defineBench, say } from './support/bench.ts';
import { median } from './support/figures.ts';

const temper = path.join(projectDir, 'bin/temper');
const helper = path.join(projectDir, 'bench/support/first_output.py');
/** These start a stack, so they are ended at their first sign of life; one that is up they would change. */
const starting = ['up', 'quickstart', 'run'];
const changing = [...starting, 'down'];

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
      const rows: Row[] = [];
      for (const { name, args } of asked) {
        const words = name.split(' ');
        const helps: number[] = [];
        const found: Awaited<ReturnType<typeof firstOutput>>[] = [];
        for (let round = 0; round < rounds; round += 1) {
          helps.push(await timeOf([...words, '--help'], env));
          const hint = starting.includes(name) ? '' : waitingText;
          found.push(await firstOutput([temper, ...words, ...args], { cwd: folder, env, hint }));
        }
        const row = {
          command: name,
          helpMs: median(helps),
          firstMs: median(found.map(({ firstMs }) => firstMs ?? Infinity)),
          answerMs: median(found.map(({ answerMs }) => answerMs ?? Infinity)),
          answer: found[0]!.text,
        };
        rows.push(row);
        const [help, first, answer] = [row.helpMs, row.firstMs, row.answerMs].map(Math.round);
        say(`${name.padEnd(18)} help ${help} ms, first output ${first} ms, answer ${answer} ms`);
      }
      const worst = (of: (row: Row) => number) => Math.max(...rows.map(of));
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
      // On a slow machine one that was ended may have got as far as starting something.
      if (home === '') await stackDown(used);
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    }
  },
});

interface Row {
  command: string;
  helpMs: number;
  /** A sign of life counts. */
  firstMs: number;
  /** It does not. */
  answerMs: number;
  answer: string;
}

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

const firstSchema = z.object({
  firstMs: z.number().nullable(),
  answerMs: z.number().nullable(),
  text: z.string(),
});

/** On a terminal, where somebody waits; ended as soon as it has said more than the hint. */
export async function firstOutput(
  argv: string[],
  { hint, ...options }: { cwd: string; env: Record<string, string>; hint: string },
): Promise<z.infer<typeof firstSchema>> {
  const args = [helper, '10', hint, ...argv];
  const { stdout } = await execa(python, args, { ...options, stdin: 'ignore' });
  return firstSchema.parse(JSON.parse(stdout));
}
