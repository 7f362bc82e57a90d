/**
 * Whatever the pages tell one to type is tried: what needs no stack is run, the rest is parsed by the command
 * line's own definitions; pipeline files are read, and every link and path must lead somewhere.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { readPipelineFile } from '../../client/pipeline-file.ts';
import {
  commandsOf,
  isTyped,
  project,
  readPage,
  readPages,
  wordsOf,
  type Block,
  type Page,
} from './pages.ts';
import { variousText } from '../support/texts.ts';

const reached = vi.hoisted(() => ({ count: 0 }));
// Every action goes through `finish`: here it only tells that the words were understood.
vi.mock('../../client/cli/output.ts', async (original) => ({
  ...(await original<object>()),
  finish: () => {
    reached.count += 1;
    return Promise.resolve();
  },
}));

const main = path.join(project, 'client/cli/main.ts');
const pages = readPages();
const byName = pages.map((page) => [page.name, page] as const);
const quickstart = path.join(project, 'config/pipelines/quickstart.yaml');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'temper-docs-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => vi.restoreAllMocks());

/** What the command line says against these words; null when it would start its work. */
async function parse(args: readonly string[]): Promise<string | null> {
  const { argv, exitCode } = process;
  const said: string[] = [];
  const hear = (chunk: unknown) => said.push(String(chunk)) > 0;
  vi.spyOn(process.stderr, 'write').mockImplementation(hear);
  vi.spyOn(process.stdout, 'write').mockImplementation(hear);
  vi.resetModules();
  reached.count = 0;
  process.argv = ['node', 'temper', ...args];
  process.exitCode = undefined;
  try {
    await import('../../client/cli/main.ts');
    const understood = args.includes('--help') ? process.exitCode === 0 : reached.count === 1;
    return understood ? null : `${said.join('')} (exit ${process.exitCode ?? 0})`;
  } finally {
    process.argv = argv;
    process.exitCode = exitCode;
    vi.restoreAllMocks();
  }
}

/** A folder as a reader has it: thirty documents whose metadata can answer questions. */
function readerFolder(name: string): string {
  const place = path.join(folder, name.replaceAll('/', '-'));
  mkdirSync(path.join(place, 'docs'), { recursive: true });
  for (let rule = 1; rule <= 30; rule += 1) {
    const front = `---\ntitle: Rule ${rule}\nauthor: Person ${rule % 7}\n---\n`;
    writeFileSync(
      path.join(place, 'docs', `${rule}.md`),
      `${front}Rule ${rule}. ${variousText(rule)}`,
    );
  }
  return place;
}

function temper(args: string[], cwd: string) {
  const env = { TEMPER_HOME: path.join(folder, 'home'), TEMPORAL_ADDRESS: '', NO_COLOR: '1' };
  return execa(process.execPath, [main, ...args], { cwd, reject: false, env });
}

/** Scripts of package.json that are the command line with some words before. */
const scripts = (
  JSON.parse(readFileSync(path.join(project, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  }
).scripts;

/** A command that is not the command line's own: what is wrong with it, or null. */
async function otherFault([program, ...args]: string[], text: string): Promise<string | null> {
  const missing = (files: string[]) => {
    const gone = files.filter((file) => !existsSync(path.join(project, file)));
    return gone.length === 0 ? null : `${gone.join(', ')} is not in the project`;
  };
  if (program === 'npm') {
    const [name, rest] = args[0] === 'run' ? [args[1]!, args.slice(2)] : [args[0]!, []];
    const script = scripts[name];
    if (script === undefined) return `package.json has no script ${name}`;
    if (name === 'bench' && rest.length > 0) return missing([`bench/${rest[1]!}.ts`]);
    const own = /bin\/temper (.+)$/.exec(script);
    if (rest.length === 0 && own === null) return null;
    return own === null ? `${name} takes no words` : await parse([own[1]!, ...rest.slice(1)]);
  }
  if (program === 'bash') return missing(args);
  if (program === 'cp') return args.length === 2 ? missing(args) : 'expected two files';
  if (program === 'cd') return args[0] === 'temper' ? null : 'expected the clone';
  if (program === 'git' && args[0] === 'clone') return null;
  if (program === 'git' && args[0] === 'checkout') return missing(args.slice(1));
  if (program === 'python' && args[0] === '-m')
    return missing([`${args[1]!.replaceAll('.', '/')}.py`]);
  return `nobody knows how to try "${text}"`;
}

describe('what the command line does not know is found', () => {
  test.each([
    ['deploy policy'],
    ['run pipeline.yaml --sed 2'],
    ['run one.yaml two.yaml'],
    ['run --seed two'],
    ['report'],
    ['models'],
    ['models sell policy'],
    ['datasets show'],
  ])('%s', async (words) => {
    expect(await parse(words.split(' '))).toMatch(/exit [02]/);
  });

  test('and so is a program that this test cannot try, a script and a file that are not there', async () => {
    expect(await otherFault(['make', 'all'], 'make all')).toMatch(/nobody knows/);
    expect(await otherFault(['npm', 'run', 'fly'], '')).toMatch(/no script fly/);
    expect(await otherFault(['npm', 'run', 'quickstart', '--', '--chaso'], '')).toMatch(/chaso/);
    expect(await otherFault(['bash', 'bin/fly'], '')).toMatch(/not in the project/);
  });

  test('words are parted as a shell does', () => {
    expect(wordsOf(`git clone <x> t && cd t`)).toEqual([
      ['git', 'clone', '<x>', 't'],
      ['cd', 't'],
    ]);
    expect(wordsOf(`npx temper chat a "b c"   # d "e`)).toEqual([
      ['npx', 'temper', 'chat', 'a', 'b c'],
    ]);
  });
});

describe.each(byName)('%s', (name, page) => {
  test('every command is understood', async () => {
    const untyped = page.blocks.filter((block) => !isTyped(block)).flatMap(({ lines }) => lines);
    const faults = untyped.filter((line) => /^\$? ?(npx|npm) /.test(line));
    for (const { words, text } of commandsOf(page)) {
      const own = words[0] === 'npx' && words[1] === 'temper';
      const fault = own ? await parse(words.slice(2)) : await otherFault(words, text);
      if (fault !== null) faults.push(`${text}: ${fault}`);
    }
    expect(faults).toEqual([]);
  });

  test(
    'what needs no stack runs, and the rest names what is there by then',
    { timeout: 120_000 },
    async () => {
      const cwd = readerFolder(name);
      const names = new Set(['sotu']);
      const faults: string[] = [];
      const own = commandsOf(page).filter(({ words }) => words[1] === 'temper');
      // A page without its own beginning speaks of the README's model.
      const hasInit = own.some(({ words }) => words[2] === 'init');
      if (!hasInit) names.add('policy');
      for (const { words, text } of own) {
        const [verb, ...args] = words.slice(2);
        const named = args.filter((word) => !word.startsWith('-'));
        if (verb === 'init' || verb === 'plan' || args.includes('--help') || verb === '--help') {
          const { exitCode, stderr } = await temper(words.slice(2), cwd);
          if (exitCode !== 0) faults.push(`${text}: exit ${exitCode}, ${stderr}`);
        }
        if (verb === 'init') {
          const output = args[args.indexOf('--output') + 1]!;
          const file = path.join(cwd, args.includes('--output') ? output : 'pipeline.yaml');
          names.add((await readPipelineFile(file)).pipeline.name);
        }
        if (verb === 'run' || verb === 'plan') {
          const file = named.find((word) => word.endsWith('.yaml')) ?? 'pipeline.yaml';
          const places = [path.join(cwd, file), path.join(project, file)];
          if (hasInit && !places.some((place) => existsSync(place)))
            faults.push(`${text}: nothing on this page has made ${file}`);
        }
        const about = verb === 'models' || verb === 'datasets' ? named[1] : named[0];
        const isNamed = ['chat', 'models', 'datasets'].includes(verb!) && about !== undefined;
        if (isNamed && !names.has(about.replace(/@\d+$/, '')))
          faults.push(`${text}: nothing of the name ${about} was made on this page`);
        const isRun =
          ['report', 'cancel', 'status', 'ledger', 'recover', 'compare'].includes(verb!) &&
          about !== undefined;
        if (isRun && !names.has(about.replace(/-[0-9a-f]{4}$/, '')))
          faults.push(`${text}: no run of the name ${about} was started on this page`);
      }
      expect(faults).toEqual([]);
    },
  );

  test('every pipeline file and record that it shows can be read', async () => {
    const cwd = readerFolder(`${name}-files`);
    writeFileSync(path.join(cwd, 'config.json'), '{"model_type": "gemma"}');
    for (const file of ['evals/gsm8k_test.jsonl', 'evals/mmlu/law.csv', 'chats/a.jsonl']) {
      mkdirSync(path.dirname(path.join(cwd, file)), { recursive: true });
      writeFileSync(path.join(cwd, file), '');
    }
    for (const [index, block] of page.blocks.entries()) {
      const text = block.lines.join('\n');
      if (block.language === 'yaml') {
        const whole = /^version:/m.test(text) ? text : `${missingPart(text)}${text}`;
        const file = path.join(cwd, `${index}.yaml`);
        writeFileSync(file, whole);
        const { pipeline } = await readPipelineFile(file);
        expect(pipeline.version).toBe(1);
      } else if (block.language === 'json') JSON.parse(text);
      else if (block.language === 'jsonl') for (const line of block.lines) JSON.parse(line);
      else expect(['', 'markdown', 'sql']).toContain(block.language);
    }
  });

  test('every link and every path leads somewhere', () => {
    const here = path.dirname(path.join(project, name));
    const broken = page.links.filter((link) => {
      if (/^https?:/.test(link)) return false;
      const [file, anchor] = link.split('#') as [string, string?];
      const target = file === '' ? path.join(project, name) : path.resolve(here, file);
      if (!existsSync(target)) return true;
      const { anchors } = anchor === undefined ? page : readPage(path.relative(project, target));
      return anchor !== undefined && !anchors.has(anchor);
    });
    const rooms =
      /^(activities|bench|bin|client|config|corpus|docs|infra|recipes|registry|serving|test|trainer|workers|workflows)\/[\w./-]*$/;
    const gone = page.spans.filter(
      (span) => rooms.test(span) && !existsSync(path.join(project, span)),
    );
    expect([...broken, ...gone]).toEqual([]);
  });
});

/** A page may show a part of a pipeline file: what it leaves out. */
function missingPart(text: string): string {
  const data = 'data:\n  sources:\n    - { path: ./docs, license: internal }\n';
  return `version: 1\nname: policy\n${/^data:/m.test(text) ? '' : data}`;
}

test('doctor answers as JSON without a stack, and help is help', { timeout: 90_000 }, async () => {
  const { exitCode, stdout } = await temper(['doctor', '--json'], folder);
  const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: { name: string }[] };
  expect(ok).toBe(exitCode === 0);
  expect(checks.map((check) => check.name)).toEqual(
    expect.arrayContaining(['node', 'python', 'disk']),
  );
  const help = await temper(['--help'], folder);
  expect(help.exitCode).toBe(0);
  expect(help.stdout).toContain('Examples:');
});

test('the quickstart’s own pipeline, to which the pages point, can be read', async () => {
  expect((await readPipelineFile(quickstart)).pipeline.name).toBe('sotu');
});

describe('the two READMEs', () => {
  const [english, chinese] = [readPage('README.md'), readPage('README.zh-TW.md')];
  const typed = (page: Page) => commandsOf(page).map(({ text }) => text);
  /** Comments are translated, and the space before them follows. */
  const shown = ({ blocks }: Page) =>
    blocks.map(({ lines, language }: Block) => [
      language,
      ...lines.map((line) => line.replace(/\s+# .*$/, '')),
    ]);
  const figures = ({ name }: Page) =>
    readFileSync(path.join(project, name), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('| ') && /\d/.test(line))
      .map((line) => line.match(/\d[\d.,:]*\d|\d/g));

  test('lead to each other in their first lines', () => {
    for (const [page, other] of [
      [english, 'README.zh-TW.md'],
      [chinese, 'README.md'],
    ] as const) {
      const first = readFileSync(path.join(project, page.name), 'utf8').split('\n').slice(0, 6);
      expect(first.join('\n')).toContain(`](${other})`);
    }
  });

  test('tell one to type the same and show the same', () => {
    expect(typed(chinese)).toEqual(typed(english));
    expect(shown(chinese)).toEqual(shown(english));
    expect(english.blocks.some(isTyped)).toBe(true);
  });

  test('have the same figures: whoever changes one changes the other', () => {
    expect(figures(chinese)).toEqual(figures(english));
  });

  test('have the same sections', () => {
    expect(chinese.anchors.size).toBe(english.anchors.size);
    const pages = (page: Page) =>
      page.links.filter((link) => !link.startsWith('README')).toSorted();
    expect(pages(chinese)).toEqual(pages(english));
  });
});
