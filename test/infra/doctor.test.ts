/** The doctor's tools: checks that always answer, a clock that is compared, a report that gives no secret away. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { gatherReport, warningsIn } from '../../infra/bug-report.ts';
import { inOrder, look } from '../../infra/check.ts';
import { checkClock, checkStack, localStack } from '../../infra/doctor.ts';
import { layoutOf } from '../../infra/layout.ts';
import { maskSecrets, secretsOf } from '../../infra/mask.ts';
import { resolveStack } from '../../infra/settings.ts';

const home = mkdtempSync(path.join(os.tmpdir(), 'temper-doctor-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

const subject = { name: 'it', expected: 'an answer', remedy: 'Ask again.', limitMs: 50 };

test('a check that does not answer in its time says so, and what to do', async () => {
  const silent = await look(subject, () => new Promise(() => {}));
  expect(silent).toEqual({
    name: 'it',
    ok: false,
    found: 'no answer within 0.05 s',
    expected: 'an answer',
    remedy: 'Ask again.',
  });
});

test('a check that throws found what was thrown; one that is well needs no remedy', async () => {
  const thrown = await look(subject, () => {
    throw new Error('no such file');
  });
  expect(thrown).toMatchObject({ ok: false, found: 'no such file', remedy: 'Ask again.' });
  expect(await look(subject, () => ({ ok: true, found: 'yes' }))).toMatchObject({ remedy: '' });
  const better = await look(subject, () => ({ ok: false, found: 'no', remedy: 'Ask her.' }));
  expect(better.remedy).toBe('Ask her.');
});

test('checks come in their order, whichever is known first', async () => {
  const slow = look({ ...subject, name: 'slow', limitMs: 5000 }, async () => {
    await new Promise((resolve) => setTimeout(resolve, 30));
    return { ok: true, found: '' };
  });
  const quick = look({ ...subject, name: 'quick' }, () => ({ ok: true, found: '' }));
  const names: string[] = [];
  for await (const { name } of inOrder([slow, quick.then((one) => [one, one])])) names.push(name);
  expect(names).toEqual(['slow', 'quick', 'quick']);
});

test.each([
  [0, true, /as the disk’s, as the S3’s/],
  [-600_000, false, /\d+ s before the S3’s/],
  [600_000, false, /\d+ s behind the S3’s/],
])('a store whose clock is %i ms off', async (offset, ok, words) => {
  const server = createServer((_, response) => {
    response.writeHead(403, { date: new Date(Date.now() + offset).toUTCString() }).end();
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  const check = await checkClock(home, `http://127.0.0.1:${port}`);
  server.close();
  expect(check).toMatchObject({ ok, found: expect.stringMatching(words) });
  expect(check.remedy === '').toBe(ok);
});

test('a stack that is down is one line with what to do, and what keeps it from starting', async () => {
  const { ports } = await resolveStack(home, { portBase: 31_300 });
  const checks = await checkStack(home);
  expect(checks.map(({ name }) => name)).toEqual(['temporal', 'weed', 'supervisord', localStack]);
  expect(checks.at(-1)).toMatchObject({
    ok: false,
    found: expect.stringMatching(/^not running \(.*\); its parts were not asked$/),
    remedy: 'Start the stack: npx temper up.',
  });
  const server = createServer().listen(ports.s3, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const taken = (await checkStack(home)).at(-1)!;
  server.close();
  expect(taken.found).toContain(`port taken: ${ports.s3} by `);
  expect(taken.remedy).toMatch(/^Stop that program, or choose other ports/);
});

test('warnings are found in the logs of every program, and nothing else is', () => {
  const kept = [
    '{"level":40,"time":1,"msg":"slow"}',
    '{"level":50,"msg":"broken"}',
    '{"level":"error","msg":"x"}',
    'W1122 05:17:01.123456 volume.go:1] no space',
    'E1122 05:17:01.123456 volume.go:1] gone',
    'time=2026-11-22T09:05:11.131 level=WARN msg="late"',
    '2026-11-22 05:17:01,123 CRIT could not bind',
    'ValueError: wrong',
    'Traceback (most recent call last):',
  ];
  const dropped = [
    '{"level":30,"msg":"an error was cured: ERROR"}',
    'I1122 05:17:01.123456 volume.go:1] fine',
    'time=2026-11-22T09:05:11.131 level=INFO msg="no warning"',
    '',
    '2026-11-22 05:17:01,123 INFO spawned',
  ];
  expect(warningsIn([...kept, ...dropped].join('\n'))).toEqual(kept);
});

const secrets = [
  '{"authorization":"Bearer abcdefgh12345678"}',
  'AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMIK7MDENGbPxRfiCY',
  '{"secretAccessKey": "wJalrXUtnFEMIK7MDENGbPxRfiCY", "n": 1}',
  '"{\\"apiKey\\":\\"wJalrXUtnFEMIK7MDENGbPxRfiCY\\"}"',
  'GET http://user:wJalrXUtnFEMIK7MDENGbPxRfiCY@host/x',
  'https://b.s3.amazonaws.com/k?X-Amz-Signature=wJalrXUtnFEMIK7MDENGbPxRfiCY&X-Amz-Date=1',
  'token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.wJalrXUtnFEMIK7MDENGbPxRfiCY',
  'key AKIAIOSFODNN7EXAMPLE',
  'temper-wJalrXUtnFEMIK7MDENGbPxRfiCY is the key',
  '-----BEGIN PRIVATE KEY-----\nwJalrXUtnFEMIK7MDENGbPxRfiCY\n-----END PRIVATE KEY-----',
];
test.each(secrets)('%s gives nothing away', (text) => {
  const shown = maskSecrets(text);
  expect(shown).toContain('«masked»');
  expect(shown).not.toMatch(/wJalr|abcdefgh12345678|AKIAIOS/);
});

test('what is no secret stays readable', () => {
  const text =
    '{"level":40,"run":"policy-7f3a","msg":"numTokens: 123456, token 7 of 9, keys: 3","at":"http://127.0.0.1:8333/models/policy"}';
  expect(maskSecrets(text)).toBe(text);
  expect(
    secretsOf({
      TEMPORAL_API_KEY: 'a',
      TEMPER_API_KEY_FILE: '/x',
      AWS_ACCESS_KEY_ID: 'b',
      HOME: 'c',
    }),
  ).toEqual(['a', 'b']);
});

test('a report has versions, machine and the last 20 warnings of each log, and none of the keys', async () => {
  const layout = layoutOf(home);
  mkdirSync(layout.logs, { recursive: true });
  const secret = 'plainlookingvalue77';
  const lines = Array.from(
    { length: 30 },
    (_, n) => `{"level":50,"n":${n},"msg":"${secret}, ${os.homedir()}/docs"}`,
  );
  writeFileSync(path.join(layout.logs, 'gpu.log'), `${lines.join('\n')}\n{"level":30}\n`);
  writeFileSync(path.join(layout.logs, 'data.log'), '{"level":30,"msg":"fine"}\n');
  const report = await gatherReport(layout, [secret]);
  expect(report.versions).toMatchObject({
    temper: expect.stringMatching(/^0\.1\.0/),
    node: process.version,
    'torch (PyPI)': expect.stringMatching(/^\d+\.\d+/),
    '@temporalio/client': expect.stringMatching(/^\d+\.\d+/),
  });
  expect(report.machine['processor']).toMatch(/\d+ cores/);
  expect(report.logs.map(({ name }) => name)).toEqual(['gpu']);
  expect(report.logs[0]!.lines).toHaveLength(20);
  expect(report.logs[0]!.lines.at(-1)).toBe('{"level":50,"n":29,"msg":"«masked», ~/docs"}');
  expect(JSON.stringify(report)).not.toContain(secret);
});
