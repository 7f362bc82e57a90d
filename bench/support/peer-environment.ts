/** A Python environment for what a benchmark compares with, apart from the project's own; made once, kept beside the homes. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { python } from '../../infra/layout.ts';
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
