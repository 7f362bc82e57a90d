/** `temper report` and `temper datasets` as processes, on a registry whose Temporal is away. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runReportSchema } from '../../../client/report/run-report.ts';
import { pipelineSchema } from '../../../config/pipeline.ts';
import { putRunRecord } from '../../../registry/runs.ts';
import { runCommand } from '../../support/command.ts';
import { datasetOf, digestOf, registerDataset } from '../../support/records.ts';
import { machine } from '../../support/recipes.ts';
import { freePorts, startS3, type TestS3 } from '../../support/s3.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'temper-report-'));
let s3: TestS3;
let closedPort: number;

beforeAll(async () => {
  s3 = await startS3();
  closedPort = (await freePorts(1))[0]!;
  await registerDataset(s3.store, datasetOf('policy', digestOf('d')));
  const source = { path: './文件', license: 'internal' };
  const pipeline = pipelineSchema.parse({
    version: 1,
    name: 'policy',
    data: { sources: [source] },
  });
  await putRunRecord(s3.store, 'policy-7f3a', 'spec', { pipeline, machine });
});
afterAll(async () => {
  await s3?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function temper(...args: string[]) {
  return runCommand(s3, args, { cwd: folder, temporal: `127.0.0.1:${closedPort}` });
}

test('a page is written into the current folder, and its path printed', async () => {
  const { exitCode, stdout } = await temper('report', 'policy-7f3a');
  expect(exitCode).toBe(0);
  const file = stdout.split('\n').at(-1)!;
  expect(path.basename(file)).toBe('policy-7f3a.html');
  expect(stdout).toContain('! No training: nothing of it is stored.');
  expect(readFileSync(file, 'utf8')).toContain('./文件');
});

test('--json prints one object of the type RunReport, and writes no page', async () => {
  rmSync(path.join(folder, 'policy-7f3a.html'), { force: true });
  const { exitCode, stdout } = await temper('report', 'policy-7f3a', '--json');
  expect(exitCode).toBe(0);
  expect(runReportSchema.parse(JSON.parse(stdout))).toMatchObject({ run: 'policy-7f3a', machine });
  expect(existsSync(path.join(folder, 'policy-7f3a.html'))).toBe(false);
});

test('--output names the file; one that cannot be written is wrong input', async () => {
  expect((await temper('report', 'policy-7f3a', '-o', 'a.html')).exitCode).toBe(0);
  expect(existsSync(path.join(folder, 'a.html'))).toBe(true);
  const { exitCode, stderr } = await temper('report', 'policy-7f3a', '-o', 'no/such/a.html');
  expect(exitCode).toBe(2);
  expect(stderr).toContain('--output: cannot write');
});

test('an unknown run ends with 2 and the nearest', async () => {
  const { exitCode, stderr } = await temper('report', 'policy-7f3b');
  expect(exitCode).toBe(2);
  expect(stderr).toContain('run: found no "policy-7f3b". Did you mean policy-7f3a?');
});

test('datasets are listed and shown without Temporal', async () => {
  const list = await temper('datasets', 'list');
  expect([list.exitCode, list.stdout.split('\n')[1]]).toEqual([
    0,
    expect.stringMatching(/^policy {3}1 /),
  ]);
  const { datasets } = JSON.parse((await temper('datasets', 'list', '--json')).stdout);
  expect(datasets).toMatchObject([{ name: 'policy', versions: [1] }]);
  const show = await temper('datasets', 'show', 'policy@1');
  expect(show.stdout).toContain(`sha256:${digestOf('d')}`);
  const wrong = await temper('datasets', 'show', 'polcy');
  expect([wrong.exitCode, wrong.stderr]).toEqual([
    2,
    expect.stringContaining('Did you mean policy?'),
  ]);
});

test.each(['report', 'datasets list', 'datasets show'])('%s has an example', async (command) => {
  const { stdout } = await temper(...command.split(' '), '--help');
  expect(stdout).toContain(`npx temper ${command}`);
  expect(stdout).toContain('--json');
});
