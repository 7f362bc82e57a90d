/** Which Temper this is: its version and, where it lies in a checkout of its own, the commit. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { projectDir } from './layout.ts';

export interface Version {
  version: string;
  /** Null where this is no checkout, or where there is no git. */
  commit: string | null;
  /** Files that are not as in the commit. */
  numChanged: number;
}

/** Reads package.json, and asks git. */
export function describeVersion(folder = projectDir): Version {
  const file = path.join(folder, 'package.json');
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string };
  // Installed within somebody's project, the commit would be of that one: the prefix is empty at the root alone.
  const [commit = '', prefix] = git(folder, ['rev-parse', 'HEAD', '--show-prefix']).split('\n');
  if (!/^[0-9a-f]{40,64}$/.test(commit) || prefix !== '') {
    return { version, commit: null, numChanged: 0 };
  }
  const changed = git(folder, ['status', '--porcelain', '--untracked-files=no']);
  return { version, commit, numChanged: changed.split('\n').filter(Boolean).length };
}

/** 0.1.0, commit 0123456789ab and 2 changed files. */
export function versionWords({ version, commit, numChanged }: Version): string {
  if (commit === null) return version;
  const files = numChanged === 1 ? '1 changed file' : `${numChanged} changed files`;
  return `${version}, commit ${commit.slice(0, 12)}${numChanged === 0 ? '' : ` and ${files}`}`;
}

/** Empty when git is missing or refuses. */
function git(folder: string, args: readonly string[]): string {
  const { status, stdout } = spawnSync('git', ['-C', folder, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 10_000,
  });
  return status === 0 ? stdout : '';
}
