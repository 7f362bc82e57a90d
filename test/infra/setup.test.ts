/** bin/setup with installers of ours instead of npm: what matters here is how it ends, not what it installs. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createHash } from 'node:crypto';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, expect, test } from 'vitest';
import { inspectProcess } from '../../infra/processes.ts';

const project = path.resolve(import.meta.dirname, '../..');
const scratch = mkdtempSync(path.join(os.tmpdir(), 'temper-setup-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const write = (file: string, text: string, mode = 0o644) => {
  const at = path.join(scratch, file);
  mkdirSync(path.dirname(at), { recursive: true });
  writeFileSync(at, text);
  chmodSync(at, mode);
};

test('a set-up that is stopped takes its installers along, and frees its lock', async () => {
  mkdirSync(path.join(scratch, 'bin'));
  copyFileSync(path.join(project, 'bin/setup'), path.join(scratch, 'bin/setup'));
  write('package-lock.json', '{}');
  write('requirements.txt', 'torch==1\n');
  // The Python side counts as done: npm alone is at work, with a child that it does not wait for.
  const hash = createHash('sha256').update('torch==1\n').digest('hex');
  write('.venv/bin/python', '#!/bin/sh\n', 0o755);
  write('.venv/.temper-setup', hash);
  write(
    'tools/npm',
    '#!/bin/sh\ncase "$1" in ci) sleep 300 & echo "$$ $!" >"$TOLD"; wait;; *) echo 11;; esac\n',
    0o755,
  );
  const told = path.join(scratch, 'told');
  const running = execa('bash', ['bin/setup'], {
    cwd: scratch,
    reject: false,
    env: { PATH: `${path.join(scratch, 'tools')}:${process.env['PATH']}`, TOLD: told },
  });
  await expect.poll(() => existsSync(told), { timeout: 10_000, interval: 20 }).toBe(true);
  await expect.poll(() => readFileSync(told, 'utf8').trim()).toMatch(/^\d+ \d+$/);
  const pids = readFileSync(told, 'utf8').trim().split(' ').map(Number);
  expect(pids.map((pid) => inspectProcess(pid) !== null)).toEqual([true, true]);
  running.kill('SIGTERM');
  const { exitCode, stdout } = await running;
  expect(exitCode).toBe(130);
  expect(stdout).toContain('stopped; run it again to go on');
  expect(pids.map((pid) => inspectProcess(pid))).toEqual([null, null]);
  await execa('flock', ['-n', path.join(scratch, '.temper/setup.lock'), 'true']);
});

test('nothing is installed through a link into the packages of another checkout', async () => {
  const other = path.join(scratch, 'other/node_modules');
  const linked = path.join(scratch, 'linked');
  write('other/node_modules/.bin/tsc', '');
  mkdirSync(path.join(linked, 'bin'), { recursive: true });
  copyFileSync(path.join(project, 'bin/setup'), path.join(linked, 'bin/setup'));
  write('linked/package-lock.json', '{}');
  write('linked/requirements.txt', 'torch==1\n');
  symlinkSync(other, path.join(linked, 'node_modules'));
  const { exitCode, stderr } = await execa('bash', ['bin/setup'], { cwd: linked, reject: false });
  expect(exitCode).toBe(1);
  expect(stderr).toContain(`node_modules links to ${other}, where no whole set of packages stands`);
  expect(existsSync(path.join(other, '.bin/tsc'))).toBe(true);
});
