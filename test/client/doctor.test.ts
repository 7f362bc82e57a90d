/** `temper doctor` against services that are elsewhere: a Temporal and an S3 which it did not start. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, makeTelemetryFilterString, Runtime } from '@temporalio/worker';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startS3, type TestS3 } from '../support/s3.ts';

interface Answer {
  ok: boolean;
  checks: { name: string; ok: boolean; found: string; remedy: string }[];
  report?: { logs: unknown[]; versions: Record<string, string> };
}

const projectDir = path.resolve(import.meta.dirname, '../..');
const home = mkdtempSync(path.join(os.tmpdir(), 'temper-doctor-'));
let server: TestWorkflowEnvironment;
let s3: TestS3;

beforeAll(async () => {
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: {
      logging: { filter: makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' }) },
    },
  });
  [server, s3] = await Promise.all([
    TestWorkflowEnvironment.createLocal({
      server: {
        executable: { type: 'existing-path', path: path.join(projectDir, '.venv/bin/temporal') },
        extraArgs: ['run', 'model'].flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
      },
    }),
    startS3(),
  ]);
});
afterAll(async () => {
  s3?.store.close();
  await Promise.all([server?.teardown(), s3?.stop()]);
  rmSync(home, { recursive: true, force: true });
});

function doctor(args: string[], env: Record<string, string>) {
  return execa(process.execPath, [path.join(projectDir, 'client/cli/main.ts'), 'doctor', ...args], {
    reject: false,
    env: {
      TEMPER_HOME: home,
      TEMPORAL_ADDRESS: server.address,
      TEMPORAL_NAMESPACE: 'default',
      AWS_ACCESS_KEY_ID: s3.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
      ...env,
    },
  });
}

test('a remote Temporal and S3 are tried, and what they lack is named with its cure', async () => {
  const { stdout, exitCode } = await doctor(['--json', '--report'], {
    TEMPER_S3_ENDPOINT: s3.endpoint,
    TEMPER_S3_BUCKET: s3.store.bucket,
  });
  const { ok, checks, report } = JSON.parse(stdout) as Answer;
  const found = Object.fromEntries(checks.map((check) => [check.name, check]));
  expect(found['Temporal service']).toMatchObject({
    ok: true,
    found: expect.stringMatching(/server \d+\.\d+.*, namespace default$/),
  });
  expect(found['Temporal attributes']).toMatchObject({
    ok: false,
    found: 'no stage, dataset',
    remedy: expect.stringContaining('--name stage --type Keyword --name dataset --type Keyword'),
  });
  expect(found['workers']).toMatchObject({ ok: false, found: 'pollers: control 0, data 0, gpu 0' });
  expect(found['S3 bucket']).toMatchObject({ ok: true });
  expect(found['S3 conditional writes']).toMatchObject({ ok: true });
  expect(found['clock']).toMatchObject({ ok: true, found: expect.stringContaining('as the S3’s') });
  expect(found['torch']).toMatchObject({ ok: true });
  // The parts of a local stack are not asked for.
  expect(found['serving node']).toBeUndefined();
  expect([ok, exitCode]).toEqual([false, 1]);
  expect(report?.versions['node']).toBe(process.version);
  expect(stdout).not.toContain(s3.secretAccessKey);
}, 90_000);

test('no bucket, no namespace and no registry are three sentences, and the rest is still looked at', async () => {
  const { stdout, exitCode } = await doctor(['--json'], {
    TEMPORAL_NAMESPACE: 'elsewhere',
    TEMPER_S3_ENDPOINT: s3.endpoint,
    TEMPER_S3_BUCKET: 'no-such-bucket',
  });
  const { checks } = JSON.parse(stdout) as Answer;
  const found = Object.fromEntries(checks.map((check) => [check.name, check]));
  expect(found['Temporal service']?.found).toContain('no namespace "elsewhere"');
  expect(found['Temporal service']?.remedy).toContain('namespace create --namespace elsewhere');
  expect(found['S3 bucket']?.ok).toBe(false);
  expect(found['S3 conditional writes']).toBeUndefined();
  expect(exitCode).toBe(1);

  const unnamed = await doctor(['--json'], { TEMPER_S3_ENDPOINT: '', TEMPER_S3_BUCKET: '' });
  const { checks: others } = JSON.parse(unnamed.stdout) as Answer;
  expect(others.find(({ name }) => name === 'S3 bucket')).toMatchObject({
    ok: false,
    found: 'no registry is named',
  });
}, 120_000);

test('a Temporal that is not there is one sentence; the first line comes at once', async () => {
  const began = performance.now();
  const child = doctor([], { TEMPORAL_ADDRESS: '127.0.0.1:1', TEMPER_S3_BUCKET: '' });
  let firstMs = Infinity;
  child.stdout.once('data', () => (firstMs = performance.now() - began));
  const { stdout, exitCode } = await child;
  // The aim is 500 ms; other tests share the cores.
  expect(firstMs).toBeLessThan(1500);
  expect(stdout).toMatch(/^✓ system /);
  expect(stdout).toMatch(/✗ Temporal service +Temporal unreachable at 127\.0\.0\.1:1/);
  expect(stdout).toMatch(/✓ torch/);
  expect(stdout).toContain('npx temper doctor --report');
  expect(exitCode).toBe(1);
}, 90_000);

test('settings that cannot be read are a finding, and the rest is still looked at', async () => {
  const broken = mkdtempSync(path.join(os.tmpdir(), 'temper-doctor-'));
  writeFileSync(path.join(broken, 'stack.json'), '{}');
  const { stdout, exitCode } = await doctor(['--report'], {
    TEMPER_HOME: broken,
    TEMPORAL_ADDRESS: '',
  });
  rmSync(broken, { recursive: true });
  expect(stdout).toMatch(/✗ stack +.*stack\.json: .*Delete this file/);
  expect(stdout).toMatch(/✓ torch/);
  expect(stdout).toMatch(/^versions\n {2}temper /m);
  expect(exitCode).toBe(1);
}, 90_000);
