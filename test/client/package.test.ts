/** The client as others get it: packed, installed into an empty project without a network, compiled against, and run. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, makeTelemetryFilterString, Runtime } from '@temporalio/worker';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packagesIn, packClient } from '../../infra/pack.ts';
import { startS3, type TestS3 } from '../support/s3.ts';
import { copyPackages } from '../support/packages.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
const scratch = mkdtempSync(path.join(os.tmpdir(), 'temper-package-'));
const project = path.join(scratch, 'project');
const installed = path.join(project, 'node_modules/temper-client');
let server: TestWorkflowEnvironment;
let s3: TestS3;

interface Manifest {
  name: string;
  version: string;
  dependencies: Record<string, string>;
  devDependencies?: Record<string, string>;
}

const manifestAt = (folder: string) =>
  JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8')) as Manifest;

beforeAll(async () => {
  Runtime.install({
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: {
      logging: { filter: makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' }) },
    },
  });
  const attributes = ['run', 'model', 'dataset', 'stage'];
  [server, s3] = await Promise.all([
    TestWorkflowEnvironment.createLocal({
      server: {
        executable: { type: 'existing-path', path: path.join(projectDir, '.venv/bin/temporal') },
        extraArgs: attributes.flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
      },
    }),
    startS3(),
    install(),
  ]);
}, 180_000);
afterAll(async () => {
  await Promise.all([server?.teardown(), s3?.stop()]);
  rmSync(scratch, { recursive: true, force: true });
});

/** An empty project but for what a registry would give it; npm checks that nothing is missing. */
async function install(): Promise<void> {
  const tarball = await packClient(path.join(scratch, 'pack'));
  mkdirSync(project);
  const types = manifestAt(projectDir).devDependencies!['@types/node']!;
  const manifest = { name: 'theirs', type: 'module', devDependencies: { '@types/node': types } };
  writeFileSync(path.join(project, 'package.json'), JSON.stringify(manifest));
  const packed = manifestAt(path.join(scratch, 'pack/package'));
  copyPackages([...Object.keys(packed.dependencies), '@types/node'], project);
  await execa(
    'npm',
    [
      'install',
      '--offline',
      '--ignore-scripts',
      '--no-bin-links',
      '--no-audit',
      '--no-fund',
      '--no-bin-links',
      tarball,
    ],
    {
      cwd: project,
      env: {
        npm_config_cache: path.join(scratch, 'npm-cache'),
        npm_config_update_notifier: 'false',
      },
      stdin: 'ignore',
    },
  );
}

test('it depends on the exact versions of what it imports, and on nothing else', () => {
  const own = manifestAt(projectDir);
  const packed = manifestAt(installed);
  expect(packed).toMatchObject({ name: 'temper-client', version: own.version });
  expect(packed.dependencies).toEqual(
    Object.fromEntries(
      Object.keys(packed.dependencies).map((name) => [name, own.dependencies[name]]),
    ),
  );
  expect(Object.keys(packed.dependencies)).toContain('@temporalio/client');
  for (const heavy of ['@temporalio/worker', '@temporalio/core-bridge', 'onnxruntime-node']) {
    expect(existsSync(path.join(project, 'node_modules', heavy)), heavy).toBe(false);
  }
  for (const file of ['README.md', 'LICENSE'])
    expect(existsSync(path.join(installed, file))).toBe(true);
  expect(existsSync(path.join(installed, 'lib/activities'))).toBe(false);
});

test('imports are found in every form that the compiler emits', () => {
  expect(
    packagesIn([
      `import { z } from 'zod';\nimport path from 'node:path';\nimport './own.js';`,
      `export declare const a: import("@scope/name").A;\nconst { b } = await import('yaml/sub');`,
      `import fs from 'fs';\nexport { c } from "../c.js";\nimport 'bare';`,
    ]),
  ).toEqual(['@scope/name', 'bare', 'yaml', 'zod']);
});

const program = `
import {
  ClientError, connect, PipelineFileError, readPipelineFile,
  type LiveStatus, type ModelDetails, type Rollback, type RunSummary, type TemperClient,
} from 'temper-client';

const temper: TemperClient = await connect({
  address: process.env['ADDRESS'],
  registry: JSON.parse(process.env['REGISTRY'] ?? '') as { bucket: string },
});
const { pipeline, baseDir } = await readPipelineFile('pipeline.yaml');
const { run } = await temper.startPipeline({ pipeline: { pipeline, baseDir }, run: process.env['RUN'] });
const status: LiveStatus = await temper.getStatus(run);
let listed: RunSummary | undefined;
for (let i = 0; listed === undefined && i < 100; i += 1) {
  listed = (await temper.listRuns()).find((one) => one.run === run);
  if (listed === undefined) await new Promise((resolve) => setTimeout(resolve, 100));
}
await temper.cancel(run, 'only a try');
const models: string[] = (await temper.models.list()).map(({ name }) => name);
const unknown = await temper.getStatus(run + 'x').catch((error: unknown) => error);
const wrong = await temper.startPipeline({ pipeline: 'wrong.yaml' }).catch((error: unknown) => error);
console.log(JSON.stringify({
  run, listed, models, state: status.state,
  unknown: unknown instanceof ClientError ? [unknown.kind, unknown.message] : null,
  wrong: wrong instanceof PipelineFileError ? wrong.faults.map((fault) => fault.field) : null,
  native: (process.report.getReport() as { sharedObjects: string[] }).sharedObjects.filter((file) => file.endsWith('.node')),
}));
await temper.close();

export async function unused(): Promise<[ModelDetails, Rollback]> {
  // @ts-expect-error: a rollback has a reason and somebody who asked for it
  await temper.models.rollback('policy');
  // @ts-expect-error: a pipeline is needed
  await temper.startPipeline({});
  const details = await temper.models.show('policy@2');
  details.version.lineage satisfies object;
  return [details, await temper.models.rollback('policy', { by: 'me', reason: 'tone' })];
}
`;

test('a program of theirs and the example compile against its types, strictly', async () => {
  writeFileSync(path.join(project, 'start.ts'), program);
  const readme = readFileSync(path.join(installed, 'README.md'), 'utf8');
  const example = /```ts\n([\s\S]*?)```/.exec(readme)![1]!;
  writeFileSync(path.join(project, 'example.ts'), example);
  const compilerOptions = {
    target: 'es2022',
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    types: ['node'],
    outDir: 'out',
  };
  writeFileSync(
    path.join(project, 'tsconfig.json'),
    JSON.stringify({ compilerOptions, files: ['start.ts', 'example.ts'] }),
  );
  const tsc = path.join(projectDir, 'node_modules/.bin/tsc');
  const { all } = await execa(tsc, ['-p', '.', '--pretty', 'false'], {
    cwd: project,
    reject: false,
    all: true,
  });
  // The types of other packages are theirs to answer for.
  const faults = all
    .split('\n')
    .filter((line) => /^((start|example)\.ts|node_modules\/temper-client)/.test(line));
  expect(faults).toEqual([]);
  expect(existsSync(path.join(project, 'out/start.js'))).toBe(true);
}, 60_000);

/** Ours, and the machine's own where that is another. */
async function nodes(): Promise<string[]> {
  const found = await execa('/bin/sh', ['-c', 'which -a node'], { reject: false });
  const versions = new Map<string, string>();
  for (const file of [process.execPath, ...found.stdout.split('\n').filter(Boolean)]) {
    const { stdout } = await execa(file, ['--version'], { reject: false });
    const major = /^v(\d+)\./.exec(stdout)?.[1];
    if (major !== undefined && Number(major) >= 20 && !versions.has(major))
      versions.set(major, file);
  }
  return [...versions.values()];
}

test('the program starts a run, sees it and cancels it, on every Node.js that is here', async () => {
  writeFileSync(
    path.join(project, 'pipeline.yaml'),
    'version: 1\nname: theirs\ndata: { sources: [{ path: ., license: x }] }\n',
  );
  writeFileSync(path.join(project, 'wrong.yaml'), 'version: 1\nname: theirs\nbudgte: 1\n');
  const { store, endpoint, accessKeyId, secretAccessKey } = s3;
  const registry = { endpoint, bucket: store.bucket, accessKeyId, secretAccessKey };
  for (const [index, node] of (await nodes()).entries()) {
    const run = `theirs-${index}`;
    const { stdout } = await execa(node, ['out/start.js'], {
      cwd: project,
      env: { ADDRESS: server.address, REGISTRY: JSON.stringify(registry), RUN: run },
    });
    expect(JSON.parse(stdout), node).toEqual({
      run,
      listed: {
        run,
        state: 'running',
        stage: 'ingest',
        startedAt: expect.any(Number),
        endedAt: null,
      },
      models: [],
      state: 'running',
      unknown: ['input', `run: found no "${run}x". Did you mean ${run}?`],
      wrong: ['data', 'budgte'],
      native: [],
    });
    const history = await server.client.workflow.getHandle(`pipeline/${run}`).fetchHistory();
    const types = (history.events ?? []).map((event) => Number(event.eventType));
    const cancelRequested = 20;
    expect(types).toContain(cancelRequested);
  }
}, 90_000);
