/** A Python environment for what a benchmark compares with, apart from the project's own; made once, kept beside the homes. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { projectDir, python } from '../../infra/layout.ts';
import { say } from './bench.ts';
import { benchFolder } from './stack.ts';

/** The interpreter of an environment that holds exactly these packages and what they need. */
export async function peerPython(name: string, packages: readonly string[]): Promise<string> {
  const folder = benchFolder(path.join('peers', name));
  const interpreter = path.join(folder, 'bin', 'python');
  const installed = path.join(folder, 'installed.json');
  const wanted = JSON.stringify(packages);
  if (existsSync(installed) && readFileSync(installed, 'utf8') === wanted) return interpreter;
  say(`installing ${packages.join(', ')}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(path.dirname(folder), { recursive: true });
  await execa(python, ['-m', 'venv', folder]);
  await execa(interpreter, ['-m', 'pip', 'install', '--quiet', ...packages]);
  writeFileSync(installed, wanted);
  return interpreter;
}

/** datatrove, and of its optional packages those that the compared steps load. */
export const peerPackages = [
  'datatrove==0.10.1',
  'fasteners==0.20',
  'jieba==0.42.1',
  'orjson==3.13.0',
  'regex==2026.11.15',
  'spacy==3.8.18',
  'tokenizers==0.23.2',
  'xxhash==3.8.2',
];

/** GPT-2's tokenizer.json, put together of its published files. */
export async function gpt2Tokenizer(
  interpreter: string,
  data: string,
  home: string,
): Promise<string> {
  const file = path.join(home, 'tokenizer.json');
  const from = (name: string) => path.join(data, 'tokenizer', name);
  const script = path.join(projectDir, 'bench/support/gpt2_tokenizer.py');
  await execa(interpreter, [script, from('gpt2_vocab.json'), from('gpt2_merges.txt'), file]);
  return file;
}
