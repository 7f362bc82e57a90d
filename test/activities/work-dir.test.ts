import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { sweepWorkDirs, withWorkDir } from '../../activities/work-dir.ts';

let home: string;
const deps = () => ({ home, now: () => new Date() });
beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'temper-home-'));
});
afterEach(async () => {
  await rm(home, { recursive: true, force: true });
});

test('a work folder is gone after the work, also when it fails', async () => {
  await withWorkDir(deps(), async (folder) => writeFile(path.join(folder, 'a'), ''));
  const failing = withWorkDir(deps(), async () => {
    throw new Error('no');
  });
  await expect(failing).rejects.toThrow('no');
  expect(await readdir(path.join(home, 'tmp'))).toEqual([]);
});

test('sweeping removes the folders of dead processes and leaves those of living ones', async () => {
  const dead = execFileSync(process.execPath, ['-p', 'process.pid'], { encoding: 'utf8' }).trim();
  const left = [`work-${dead}-123-abc`, `work-${process.pid}-1-abc`];
  for (const name of left) {
    await mkdir(path.join(home, 'tmp', name), { recursive: true });
    await writeFile(path.join(home, 'tmp', name, 'api-key'), 'secret');
  }
  await withWorkDir(deps(), async (folder) => {
    await sweepWorkDirs(deps());
    expect(await readdir(path.join(home, 'tmp'))).toEqual([path.basename(folder)]);
  });
});

test('sweeping removes parts of files that nobody downloads any more', async () => {
  const folder = path.join(home, 'cache', 'ab');
  await mkdir(folder, { recursive: true });
  for (const name of ['abc', 'abc.1.part', 'abc.2.part'])
    await writeFile(path.join(folder, name), '');
  const old = new Date(Date.now() - 2 * 3_600_000);
  for (const name of ['abc', 'abc.1.part']) await utimes(path.join(folder, name), old, old);
  await sweepWorkDirs(deps());
  expect((await readdir(folder)).toSorted()).toEqual(['abc', 'abc.2.part']);
});

test('a home that no worker has used yet has nothing to sweep', async () => {
  const swept = sweepWorkDirs({ ...deps(), home: path.join(home, 'none') });
  await expect(swept).resolves.toBeUndefined();
});
