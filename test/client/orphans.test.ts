/** What the chaos run counts as left over: looked for while the stack is up, because its end would hide them. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { findOrphans } from '../../client/cli/chaos.ts';
import { stackMark } from '../../infra/trainers.ts';
import { makeHome } from '../infra/home.ts';

const { home, remove } = makeHome();
afterAll(remove);

test('a trainer without a run and a process without a supervisor are found; what ends in time is not', async () => {
  expect(await findOrphans(home, 0)).toEqual([]);
  const idle = 'import time; time.sleep(60)';
  const config = path.join(home, 'runs/a/run.json');
  const children = [
    spawn('python3', ['-c', idle, '-m', 'trainer.dpo', '--config', config]),
    spawn('python3', ['-c', idle, 'server'], { env: { ...process.env, [stackMark]: home } }),
  ];
  const quick = spawn('sleep', ['0.3'], { env: { ...process.env, [stackMark]: home } });
  const pids = () => findOrphans(home, 1000).then((all) => all.map((line) => parseInt(line, 10)));
  expect((await pids()).toSorted()).toEqual(children.map(({ pid }) => pid).toSorted());
  expect(quick.exitCode).toBe(0);
  for (const child of children) child.kill('SIGKILL');
  await expect.poll(() => findOrphans(home, 0)).toEqual([]);
});
