/** How a worker begins when what it needs is not there yet, or must not be used. */
import http from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, expect, test } from 'vitest';
import { untilAnswered } from '../../workers/until-answered.ts';

const home = mkdtempSync(path.join(os.tmpdir(), 'temper-worker-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

function startWorker(env: Record<string, string>) {
  const file = path.resolve(import.meta.dirname, '../../workers/data.ts');
  return execa(process.execPath, [file], {
    reject: false,
    all: true,
    env: {
      TEMPER_HOME: home,
      TEMPER_PYTHON: 'python3',
      AWS_ACCESS_KEY_ID: 'x',
      AWS_SECRET_ACCESS_KEY: 'x',
      TEMPORAL_ADDRESS: '127.0.0.1:1',
      ...env,
    },
  });
}

test('what does not answer is asked again with longer pauses, and each reason is told once', async () => {
  const told: string[] = [];
  let asked = 0;
  const attempt = async () => {
    asked += 1;
    if (asked < 8) throw new Error(asked < 5 ? 'refused' : 'starting');
    return asked;
  };
  const waiting = {
    what: 'it',
    signal: new AbortController().signal,
    warn: ({ error }: { error: unknown }) => told.push((error as Error).message),
    isFinal: () => false,
    firstPauseMs: 1,
    longestPauseMs: 4,
  };
  expect(await untilAnswered(attempt, waiting)).toBe(8);
  expect(told).toEqual(['refused', 'starting']);
  asked = 0;
  await expect(untilAnswered(attempt, { ...waiting, isFinal: () => true })).rejects.toThrow(
    'refused',
  );
});

test('a worker whose Temporal is away waits for it, and ends well when it is told to', async () => {
  const worker = startWorker({ TEMPER_STACK_HOME: home });
  let output = '';
  worker.all.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await expect
    .poll(() => output, { timeout: 15_000 })
    .toContain('waiting for Temporal at 127.0.0.1:1');
  worker.kill('SIGTERM');
  expect((await worker).exitCode).toBe(0);
}, 20_000);

test('a worker refuses a store that ignores conditional writes before it polls anything', async () => {
  const store = http.createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(200, { etag: '"1"' }).end());
  });
  await new Promise<void>((resolve) => store.listen(0, '127.0.0.1', resolve));
  const { port } = store.address() as AddressInfo;
  try {
    const { exitCode, all } = await startWorker({
      TEMPER_S3_ENDPOINT: `http://127.0.0.1:${port}`,
    });
    expect(all).toContain('let two writers create one key');
    expect(all).not.toContain('waiting for Temporal');
    expect(exitCode).toBe(1);
  } finally {
    store.close();
  }
}, 20_000);
