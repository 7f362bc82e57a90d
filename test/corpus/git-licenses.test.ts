import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openWorkTree } from '../../corpus/git.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'temper-licences-'));
  const tree = path.join(folder, 'tree');
  await mkdir(path.join(tree, 'sub'), { recursive: true });
  await writeFile(path.join(folder, 'outside'), 'SPDX-License-Identifier: MIT');
  await symlink('../outside', path.join(tree, 'LICENSE'));
  await writeFile(path.join(tree, 'a.txt'), 'a');
  await writeFile(path.join(tree, 'sub/LICENSE'), 'SPDX-License-Identifier: ISC');
  await writeFile(path.join(tree, 'sub/b.txt'), 'b');
  execFileSync('git', ['-C', tree, 'init', '-q']);
  execFileSync('git', ['-C', tree, 'add', '.']);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('a licence is read from the tree alone, and once for the records of a file', async () => {
  const { licenseOf } = await openWorkTree(path.join(folder, 'tree'), '**/*.txt');
  expect(await licenseOf('a.txt')).toBeNull();
  expect(await licenseOf('sub/b.txt')).toBe('ISC');
  await writeFile(path.join(folder, 'tree/sub/b.txt'), 'SPDX-License-Identifier: 0BSD');
  expect(await licenseOf('sub/b.txt')).toBe('ISC');
});
