/** Which Temper this is, in a checkout, out of one, and within somebody else's. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { describeVersion, versionWords } from '../../infra/version.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'temper-version-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function git(...args: string[]): string {
  const author = ['-c', 'user.name=a', '-c', 'user.email=a@example.org'];
  return execFileSync('git', ['-C', folder, ...author, ...args], { encoding: 'utf8' }).trim();
}

test('a folder that is no checkout has a version and no commit', () => {
  writeFileSync(path.join(folder, 'package.json'), '{"version": "1.2.3"}');
  const found = describeVersion(folder);
  expect(found).toEqual({ version: '1.2.3', commit: null, numChanged: 0 });
  expect(versionWords(found)).toBe('1.2.3');
});

test('a checkout has its commit and counts what was changed; a package within it is none', () => {
  git('init', '--quiet');
  git('add', '.');
  git('commit', '--quiet', '--message', 'first');
  const commit = git('rev-parse', 'HEAD');
  expect(describeVersion(folder)).toEqual({ version: '1.2.3', commit, numChanged: 0 });
  expect(versionWords(describeVersion(folder))).toBe(`1.2.3, commit ${commit.slice(0, 12)}`);

  writeFileSync(path.join(folder, 'package.json'), '{"version": "1.2.4"}');
  expect(versionWords(describeVersion(folder))).toBe(
    `1.2.4, commit ${commit.slice(0, 12)} and 1 changed file`,
  );

  const inner = path.join(folder, 'node_modules/temper');
  mkdirSync(inner, { recursive: true });
  writeFileSync(path.join(inner, 'package.json'), '{"version": "2.0.0"}');
  expect(describeVersion(inner)).toEqual({ version: '2.0.0', commit: null, numChanged: 0 });
});
