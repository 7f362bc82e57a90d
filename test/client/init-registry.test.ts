/** What init says of a model of the same name, with a registry near; it never starts one. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { registerModel } from '../../registry/models.ts';
import { digestOf, versionOf } from '../support/records.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

const main = path.resolve(import.meta.dirname, '../../client/cli/main.ts');
const partNames =
  'temporal temporalUi s3 serving temporalHttp temporalMetrics s3Grpc s3Master s3MasterGrpc s3Volume s3VolumeGrpc s3Filer s3FilerGrpc s3Admin s3AdminGrpc'.split(
    ' ',
  );
let folder: string;
let s3: TestS3;
beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'temper-init-registry-'));
  s3 = await startS3();
  const home = path.join(folder, 'home');
  mkdirSync(home, { recursive: true });
  mkdirSync(path.join(folder, 'docs'));
  writeFileSync(path.join(folder, 'docs/a.txt'), 'The text of the document and the place.');
  const port = Number(new URL(s3.endpoint).port);
  const ports = Object.fromEntries(partNames.map((name) => [name, port]));
  const stack = { schemaVersion: 1, bucket: s3.store.bucket, portBase: null, ports };
  const keys = { s3AccessKeyId: s3.accessKeyId, s3SecretAccessKey: s3.secretAccessKey };
  writeFileSync(path.join(home, 'stack.json'), JSON.stringify(stack));
  writeFileSync(
    path.join(home, 'secrets.json'),
    JSON.stringify({ schemaVersion: 1, ...keys, apiKey: 'key' }),
    { mode: 0o600 },
  );
});
afterAll(async () => {
  await s3.stop();
  rmSync(folder, { recursive: true, force: true });
});

const init = async (name: string, home = 'home') => {
  const { stdout, durationMs } = await execa(
    process.execPath,
    [main, 'init', 'docs', '--name', name, '--force'],
    {
      cwd: folder,
      env: { TEMPER_HOME: path.join(folder, home), TEMPORAL_ADDRESS: '', TEMPER_PORT_BASE: '' },
    },
  );
  return { note: stdout.split('\n').find((line) => line.includes('  name  ')) ?? null, durationMs };
};

test('a model of this name that is registered already is said', async () => {
  await registerModel(s3.store, versionOf('policy', digestOf('a')), new Date(0));
  expect((await init('policy')).note).toBe(
    '  name         policy: there is a model of this name; a run adds the next version',
  );
  expect((await init('another')).note).toBeNull();
});

test('without a registry nothing is said, waited for or started', async () => {
  expect((await init('policy', 'nowhere')).note).toBeNull();
  expect(existsSync(path.join(folder, 'nowhere'))).toBe(false);
  await s3.kill();
  expect((await init('policy')).note).toBeNull();
});
