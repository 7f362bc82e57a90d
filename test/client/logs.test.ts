import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseLogLine, renderLogLine } from '../../client/cli/log-lines.ts';
import { painter } from '../../client/cli/text.ts';
import { LogTail } from '../../infra/log-files.ts';

const main = path.resolve(import.meta.dirname, '../../client/cli/main.ts');
const home = mkdtempSync(path.join(os.tmpdir(), 'temper-logs-'));
const logs = path.join(home, 'logs');
const at = Date.UTC(2026, 0, 1, 12);
const pino = (seconds: number, fields: object) =>
  `${JSON.stringify({ level: 30, time: at + seconds * 1000, worker: 'gpu', host: 'local', ...fields })}\n`;

beforeAll(() => {
  const trial = path.join(home, 'runs/policy-7f3a/pretrain-0-0');
  for (const folder of [logs, trial]) mkdirSync(folder, { recursive: true });
  writeFileSync(
    path.join(logs, 'gpu.log'),
    pino(1, { msg: 'worker ready', queues: ['gpu'] }) +
      pino(3, {
        workflowId: 'training/policy-7f3a/pretrain/0',
        level: 40,
        msg: 'lease not renewed',
      }),
  );
  writeFileSync(
    path.join(logs, 'control.log'),
    pino(2, { msg: 'stage ended', run: 'policy-7f3a', stage: 'plan' }) +
      pino(4, { msg: 'stage ended', run: 'other-1111' }),
  );
  writeFileSync(path.join(trial, 'trainer.log'), 'Warning: a library says something\n');
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

function temper(...args: string[]) {
  return execa(process.execPath, [main, 'logs', ...args], {
    reject: false,
    env: { TEMPER_HOME: home, TEMPORAL_ADDRESS: '', NO_COLOR: '', TZ: 'UTC' },
  });
}

test('every part in the order of time, as text', async () => {
  const { exitCode, stdout } = await temper();
  expect(exitCode).toBe(0);
  expect(stdout.split('\n')).toEqual([
    '12:00:01 gpu         info  worker ready  queues=["gpu"]',
    '12:00:02 control     info  stage ended  run=policy-7f3a  stage=plan',
    '12:00:03 gpu         warn  lease not renewed  workflowId=training/policy-7f3a/pretrain/0',
    '12:00:04 control     info  stage ended  run=other-1111',
  ]);
});

test('one part, and its last lines only', async () => {
  const { stdout } = await temper('gpu', '--lines', '1');
  expect(stdout).toBe(
    '12:00:03 gpu         warn  lease not renewed  workflowId=training/policy-7f3a/pretrain/0',
  );
});

test('a run: its lines in every part, and what its trainer printed; --json as they stand', async () => {
  const { stdout } = await temper('policy-7f3a', '--json');
  const lines = stdout.split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines.map(({ part, msg }) => [part, msg])).toEqual([
    ['control', 'stage ended'],
    ['gpu', 'lease not renewed'],
    ['pretrain', 'Warning: a library says something'],
  ]);
  expect(lines[0]).toMatchObject({ level: 30, time: at + 2000, run: 'policy-7f3a' });
});

test('a name that nobody has is one sentence with the nearest, and exit code 2', async () => {
  const { exitCode, stderr } = await temper('policy-7f3b');
  expect([exitCode, stderr]).toEqual([
    2,
    'logs: found nothing of "policy-7f3b", expected a part (s3, temporal, control, data, gpu, serving, supervisord) or a run. Did you mean policy-7f3a?',
  ]);
});

test('-f prints what is added, until Ctrl-C', async () => {
  const following = temper('serving', '-f');
  let printed = '';
  following.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  const deadline = Date.now() + 10_000;
  for (let number = 0; !printed.includes('added') && Date.now() < deadline; number += 1) {
    appendFileSync(path.join(logs, 'serving.log'), pino(5, { msg: `added ${number}` }));
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  following.kill('SIGINT');
  expect((await following).exitCode).toBe(130);
  expect(printed).toMatch(/^12:00:05 serving +info +added \d+$/m);
});

test('a file that is turned over is read on from the beginning of the new one, and a torn line waits for its end', async () => {
  const file = path.join(home, 'turned.log');
  writeFileSync(file, 'one\ntwo\nthr');
  const tail = new LogTail(file, 6);
  expect(await tail.read()).toEqual([]);
  appendFileSync(file, 'ee\n');
  expect(await tail.read()).toEqual(['three']);
  renameSync(file, `${file}.1`);
  writeFileSync(file, 'four\n');
  expect(await tail.read()).toEqual(['four']);
});

describe('lines of other programs', () => {
  test.each([
    ['W1122 07:51:30.040497 master.go:516 slow', 'warn', '07:51:30'],
    ['2026-11-22 07:51:29,090 INFO stopped: temporal', 'info', '07:51:29'],
    ['time=2026-11-22T07:51:29.050 level=ERROR msg="x"', 'error', '07:51:29'],
  ])('%s', (raw, level, time) => {
    const line = parseLogLine('s3', raw);
    expect(line.level).toBe(level);
    expect(new Date(line.at!).toTimeString().slice(0, 8)).toBe(time);
    expect(line.text).toBe(raw);
  });
  test('nothing in them is obeyed by a terminal', () => {
    const line = parseLogLine('s3', '\u001b[31mred\u0007');
    expect(renderLogLine(line, painter(false))).toBe('         s3          info  [31mred');
  });
});
