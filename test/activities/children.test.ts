import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { CancelledFailure } from '@temporalio/common';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import { measureLatency } from '../../activities/evaluate-latency.ts';
import { startServer } from '../../activities/evaluate-server.ts';
import { withHeartbeats } from '../../activities/heartbeats.ts';
import { runTrainerModule } from '../../activities/python.ts';
import { startTrainer } from '../../activities/trainer-process.ts';
import { nonRetryableErrorTypes } from '../../config/failures.ts';
import { inActivity } from './corpus-fixtures.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'temper-children-'));
  await mkdir(path.join(folder, 'serving'));
  process.env['AWS_SECRET_ACCESS_KEY'] = 'a-secret-of-the-worker';
  process.env['TEMPER_STACK_HOME'] = '/the/stack';
});
afterAll(async () => {
  delete process.env['AWS_SECRET_ACCESS_KEY'];
  delete process.env['TEMPER_STACK_HOME'];
  await rm(folder, { recursive: true, force: true });
});

/** A project whose Python and whose server are these programs of Node.js. */
async function depsOf(programs: { python?: string; server?: string }): Promise<Deps> {
  const python = path.join(folder, 'python');
  await writeFile(python, `#!${process.execPath}\n${programs.python ?? ''}\n`);
  await chmod(python, 0o755);
  await writeFile(path.join(folder, 'serving/local.ts'), programs.server ?? '');
  return { python, projectDir: folder } as Deps;
}

const ready = `console.log(JSON.stringify({ ok: true, url: 'http://127.0.0.1:1', probeDifference: 0 }));`;
const serverOf = (deps: Deps, limitMs?: number) =>
  withHeartbeats({ kind: 'evaluate' }, async (say) => {
    const bundle = folder;
    return await startServer(deps, { bundle, apiKeyFile: 'key', say }, limitMs);
  });

test('neither a module of the trainer nor the server inherits a secret of the worker', async () => {
  const file = path.join(folder, 'environment.json');
  const write = `require('fs').writeFileSync(${JSON.stringify(file)}, JSON.stringify(process.env));`;
  const expectClean = async (): Promise<void> => {
    const environment = JSON.parse(await readFile(file, 'utf8')) as Record<string, string>;
    expect(JSON.stringify(environment)).not.toContain('a-secret-of-the-worker');
    expect(environment['TEMPER_STACK_HOME']).toBe('/the/stack');
    expect(environment['PATH']).toBe(process.env['PATH']);
    // Or ONNX Runtime, in whatever of them uses it, reports to its makers.
    expect(environment['ORT_DISABLE_TELEMETRY']).toBe('1');
  };
  const deps = await depsOf({
    python: `${write} console.log('{"ok":true}');`,
    server: `${write.replace('require', 'process.getBuiltinModule')} process.stdin.resume(); ${ready}`,
  });
  await inActivity(async () => runTrainerModule(deps, 'export', {}, folder, () => {}));
  await expectClean();
  // A killed one leaves nothing in the temporary folder of the system.
  expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ TMPDIR: folder });
  await rm(file);
  await inActivity(async () => {
    await using server = await serverOf(deps);
    expect(server.name).toBe('candidate');
  });
  await expectClean();
});

test('a server that is silent until it is ready is no silence of the activity', async () => {
  const deps = await depsOf({
    server: `process.stdin.resume(); setTimeout(() => { ${ready} }, 4500);`,
  });
  const { heartbeats } = await inActivity(async () => {
    await using server = await serverOf(deps);
    return server.url;
  });
  expect(heartbeats).toContainEqual({ kind: 'serve' });
  expect(heartbeats.length).toBeGreaterThanOrEqual(3);
});

test('a server that never gets ready is ended at its own limit', async () => {
  const deps = await depsOf({ server: 'process.stdin.resume();' });
  await expect(inActivity(serverOf, deps, 300)).rejects.toThrow('was not ready in 0.3 s');
});

test('an attempt that is lost ends the program it started', async () => {
  const file = path.join(folder, 'pid');
  const forever = `require('fs').writeFileSync(${JSON.stringify(file)}, String(process.pid)); setInterval(() => {}, 1000);`;
  const deps = await depsOf({
    python: forever,
    server: `${forever.replace('require', 'process.getBuiltinModule')} process.stdin.resume();`,
  });
  const module = () =>
    withHeartbeats({ kind: 'export' }, (say) => runTrainerModule(deps, 'export', {}, folder, say));
  for (const work of [module, () => serverOf(deps)]) {
    await rm(file, { force: true });
    const environment = new MockActivityEnvironment();
    const running = environment.run(work as () => Promise<unknown>);
    const outcome = running.catch((error: unknown) => error);
    const pid = async () => Number(await readFile(file, 'utf8').catch(() => ''));
    await expect.poll(pid).toBeGreaterThan(0);
    environment.cancel('TIMED_OUT');
    expect(await outcome).toBeInstanceOf(CancelledFailure);
    const started = await pid();
    await expect.poll(() => isAlive(started)).toBe(false);
  }
});

test('a latency that cannot be measured may be tried again, and the wait has a limit', async () => {
  const server = createServer(() => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const key = path.join(folder, 'key');
  await writeFile(key, 'k\n');
  const measure = (url: string) => measureLatency({ url, name: 'candidate' }, key, 300);
  for (const url of [`http://127.0.0.1:${port}`, 'http://127.0.0.1:1']) {
    const failure = (await inActivity(measure, url).catch((error: unknown) => error)) as Error;
    expect(failure.message).toContain('did not answer');
    expect(nonRetryableErrorTypes).not.toContain(failure.name);
  }
  server.closeAllConnections();
  server.close();
  await sleep(0);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('the scratch of a launcher that was killed goes when the next trainer is started, and nothing else does', async () => {
  const runDir = path.join(folder, 'run');
  await mkdir(path.join(runDir, 'scratch-a1', 'torchelastic_b2'), { recursive: true });
  await mkdir(path.join(runDir, 'checkpoints', '5'), { recursive: true });
  await startTrainer({ python: '/bin/true', projectDir: folder, runDir });
  expect((await readdir(runDir)).toSorted()).toEqual(['checkpoints', 'trainer.log']);
});
