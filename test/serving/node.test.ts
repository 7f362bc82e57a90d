import { spawn, type ChildProcess } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import pino from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import { createReleaseActivities } from '../../activities/release.ts';
import type { Deployment, ModelVersion, NodeReport } from '../../config/manifests.ts';
import { blobKey } from '../../registry/blobs.ts';
import { declareDeployment, readNodeReports } from '../../registry/deployments.ts';
import { registerModel } from '../../registry/models.ts';
import { stageDigest } from '../../registry/stages.ts';
import { openStore, type Store, type StoreOptions } from '../../registry/store.ts';
import { openKeyRing } from '../../serving/keys.ts';
import { startServingNode, type ServingNode } from '../../serving/serving-node.ts';
import { testBundles, uploadBundle } from '../support/bundles.ts';
import { freePorts, startS3, type TestS3 } from '../support/s3.ts';

const log = pino({ level: 'silent' });
const projectDir = path.resolve(import.meta.dirname, '../..');
const authorization = 'Bearer node-key';
let s3: TestS3;
/** As in a node's process: gives up soon, for it polls again. */
let store: Store;
let folder: string;
let keyFile: string;
let first: ModelVersion;
let second: ModelVersion;
let third: ModelVersion;
let broken: ModelVersion;
/** Happens in the middle of the node's next download. */
let mishap: (() => Promise<void>) | null = null;
let node: ServingNode | null = null;
let child: ChildProcess | null = null;
let processUrl = '';

async function register(bundle: string): Promise<ModelVersion> {
  const manifest = await uploadBundle(s3.store, bundle, 'c'.repeat(64));
  const digest = stageDigest(manifest);
  const { version } = await registerModel(
    s3.store,
    {
      schemaVersion: 1,
      name: 'tiny',
      bundle: { digest, manifest },
      lineage: {
        run: 'run-1',
        dataset: { name: 'd', version: 1, digest },
        corpus: digest,
        recipe: digest,
        phases: [],
        exact: true,
      },
      evaluations: {},
    },
    new Date(0),
  );
  return version;
}

function declare(version: ModelVersion, endpoint = 'policy'): Promise<Deployment> {
  return declareDeployment(s3.store, {
    endpoint,
    model: version.name,
    version: version.version,
    bundle: version.bundle.digest,
    declaredAt: new Date(0).toISOString(),
    reason: 'a test',
  });
}

async function converged(
  generation: number,
  what: (report: NodeReport) => boolean = (report) => report.generation === generation,
): Promise<NodeReport> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline;) {
    const [report] = await readNodeReports(s3.store, 'policy');
    if (report !== undefined && what(report)) return report;
    await sleep(25);
  }
  throw new Error(`not there: ${JSON.stringify(await readNodeReports(s3.store, 'policy'))}`);
}

function ask(url: string, more: object = {}, init: RequestInit = {}): Promise<Response> {
  const request = { model: 'policy', prompt: 'The people', temperature: 0, max_tokens: 8, ...more };
  return fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { authorization },
    body: JSON.stringify(request),
    ...init,
  });
}

async function servedBy(url: string): Promise<string | null> {
  const response = await ask(url);
  expect(response.status, await response.text()).toBe(200);
  return response.headers.get('x-temper-bundle');
}

function storeOptions(bucket: string): StoreOptions {
  const { endpoint, accessKeyId, secretAccessKey } = s3;
  const region = 'us-east-1';
  return { endpoint, region, bucket, accessKeyId, secretAccessKey, patienceMs: 500 };
}

beforeAll(async () => {
  const [bundles, started] = await Promise.all([testBundles(), startS3()]);
  s3 = started;
  store = openStore(storeOptions(s3.store.bucket));
  folder = await mkdtemp(path.join(tmpdir(), 'temper-node-'));
  keyFile = path.join(folder, 'keys');
  await writeFile(keyFile, 'node-key\n');
  const wrong = path.join(folder, 'wrong');
  await cp(bundles.chat, wrong, { recursive: true });
  await cp(path.join(bundles.other, 'probe.json'), path.join(wrong, 'probe.json'));
  first = await register(bundles.chat);
  second = await register(bundles.other);
  third = await register(bundles.base);
  broken = await register(wrong);
  const download: Store['download'] = async (...args) => {
    const happens = mishap;
    mishap = null;
    await happens?.();
    return store.download(...args);
  };
  node = await startServingNode({
    store: { ...store, download },
    home: path.join(folder, 'home'),
    node: 'node-1',
    keys: openKeyRing(keyFile, log),
    log,
    now: () => new Date(),
    port: 0,
    pollMs: 200,
  });
}, 60_000);

afterAll(async () => {
  child?.kill('SIGKILL');
  await node?.close();
  store.close();
  await s3.stop();
  await rm(folder, { recursive: true, force: true });
});

test('a declared deployment is served and reported', async () => {
  const { url } = node!;
  expect(await (await fetch(`${url}/health`)).json()).toMatchObject({ status: 'ok', ready: 0 });
  const working = new Promise<NodeReport>((resolve) => {
    mishap = async () => resolve(await converged(0));
  });
  const { generation } = await declare(first);
  // It lives, however long the download may take.
  expect(await working).toMatchObject({ bundle: null, failure: null, trying: null });
  const report = await converged(generation);
  expect(report).toMatchObject({ node: 'node-1', bundle: first.bundle.digest, failure: null, url });
  expect(await servedBy(url)).toBe(first.bundle.digest);
});

test('a bundle that answers otherwise than PyTorch is reported by how far, and the old one goes on', async () => {
  const { generation } = await declare(broken);
  const report = await converged(generation, ({ failure }) => failure?.generation === generation);
  expect(report.failure!.message).toMatch(/the probe's logits differ from PyTorch's by \d/);
  expect(report).toMatchObject({ generation: generation - 1, bundle: first.bundle.digest });
  expect(await servedBy(node!.url)).toBe(first.bundle.digest);
});

test('a damaged bundle is not served, is said so, and is served once the store is whole again', async () => {
  const { sha256 } = second.bundle.manifest.files['model.onnx']!;
  const whole = (await s3.store.get(blobKey(sha256)))!;
  const flipped = Buffer.from(whole.bytes);
  flipped[1000]! ^= 1;
  const etag = await s3.store.replace(blobKey(sha256), flipped, whole.etag);
  const { generation } = await declare(second);
  const report = await converged(generation, ({ failure }) => failure?.generation === generation);
  expect(report.failure!.message).toMatch(/is damaged: found SHA-256/);
  expect(report.bundle).toBe(first.bundle.digest);
  expect(await servedBy(node!.url)).toBe(first.bundle.digest);
  await s3.store.replace(blobKey(sha256), whole.bytes, etag);
  expect(await converged(generation)).toMatchObject({
    bundle: second.bundle.digest,
    failure: null,
  });
});

test('a rollback converges within two seconds, and of the requests meanwhile none fails', async () => {
  const { url } = node!;
  const seen: string[] = [];
  let going = true;
  const client = async (stream: boolean): Promise<void> => {
    while (going) {
      const response = await ask(url, { stream, max_tokens: 40 });
      const text = await response.text();
      if (response.status !== 200 || text.includes('"error"')) throw new Error(text);
      if (stream && !text.includes('[DONE]')) throw new Error(`a stream broke off: ${text}`);
      seen.push(response.headers.get('x-temper-bundle')!);
    }
  };
  const clients = [client(false), client(true)];
  await sleep(200);
  const tookMs: number[] = [];
  for (const version of [first, second, first]) {
    const startedAt = performance.now();
    const { generation } = await declare(version);
    await converged(generation);
    tookMs.push(performance.now() - startedAt);
  }
  const before = seen.length;
  await sleep(200);
  going = false;
  await Promise.all(clients);
  // Two seconds hold for a machine that is not overloaded by others.
  const overloaded = loadavg()[0]! > 2 * availableParallelism();
  expect(tookMs.toSorted((a, b) => a - b)[1]).toBeLessThan(overloaded ? 20_000 : 2000);
  expect(new Set(seen)).toEqual(new Set([first.bundle.digest, second.bundle.digest]));
  // Answers begun before the move may still come from the old bundle: one of each client.
  expect(new Set(seen.slice(before + clients.length))).toEqual(new Set([first.bundle.digest]));
  expect(seen.length).toBeGreaterThan(20);
});

test('with the store away serving goes on, and what was declared meanwhile is served after it is back', async () => {
  await s3.kill();
  await sleep(1200);
  expect(await servedBy(node!.url)).toBe(first.bundle.digest);
  await s3.restart();
  const { generation } = await declare(second);
  await converged(generation);
  expect(await servedBy(node!.url)).toBe(second.bundle.digest);
});

/** As the deployment's workflow waits: throws when a node refuses the bundle. */
function awaitConvergence(deployment: Deployment): Promise<{ url: string }> {
  const deps = { store: s3.store, now: () => new Date() } as Deps;
  const activities = createReleaseActivities(deps as Parameters<typeof createReleaseActivities>[0]);
  return new MockActivityEnvironment().run(activities.awaitConvergence, deployment) as Promise<{
    url: string;
  }>;
}

test('an engine that is killed while it starts is no verdict about its bundle', async () => {
  let killed = 0;
  const kill = (message: unknown): void => {
    const started = (message as { process: ChildProcess }).process;
    started.once('spawn', () => started.kill('SIGKILL'));
    killed += 1;
  };
  subscribe('child_process', kill);
  const deployment = await declare(first);
  const { generation } = deployment;
  const outcome = awaitConvergence(deployment);
  const report = await converged(
    generation,
    ({ failure, trying }) => failure !== null || trying !== null,
  ).finally(() => unsubscribe('child_process', kill));
  expect(killed).toBeGreaterThan(0);
  expect(report).toMatchObject({ bundle: second.bundle.digest, failure: null });
  expect(report.trying).toMatchObject({
    generation,
    message: expect.stringContaining('the engine ended before it was ready'),
  });
  expect(await outcome).toEqual({ url: node!.url });
  expect(await converged(generation)).toMatchObject({ failure: null, trying: null });
});

test('S3 killed in the middle of a download delays a deployment, and fails nothing', async () => {
  const killed = new Promise<void>((resolve) => {
    mishap = async () => {
      await s3.kill();
      resolve();
    };
  });
  const deployment = await declare(third);
  const outcome = awaitConvergence(deployment);
  await killed;
  // Longer than the node's patience, so that its attempt fails.
  await sleep(1500);
  await s3.restart();
  expect(await outcome).toEqual({ url: node!.url });
  expect(await servedBy(node!.url)).toBe(third.bundle.digest);
  await converged((await declare(second)).generation);
});

test('before there is a bucket the node waits for it, and says so in one quiet line', async () => {
  const early = openStore(storeOptions('made-later'));
  const lines: { level: number; msg: string }[] = [];
  const heard = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const waiting = await startServingNode({
    store: early,
    home: path.join(folder, 'home-early'),
    node: 'early',
    keys: openKeyRing(keyFile, heard),
    log: heard,
    now: () => new Date(),
    port: 0,
    pollMs: 50,
  });
  await sleep(500);
  await early.ensureBucket();
  await declareDeployment(early, {
    endpoint: 'soon',
    model: 'none',
    version: 1,
    bundle: first.bundle.digest,
    declaredAt: new Date(0).toISOString(),
    reason: 'a test',
  });
  await expect.poll(async () => (await readNodeReports(early, 'soon')).length).toBe(1);
  await waiting.close();
  early.close();
  const said = lines.map(({ level, msg }) => `${level} ${msg}`);
  expect(said).toEqual(['30 listening', '30 waiting for the bucket', '50 bundle cannot be served']);
});

test('a second endpoint is served beside the first', async () => {
  await declare(first, 'law');
  await expect
    .poll(async () => (await ask(node!.url, { model: 'law' })).headers.get('x-temper-bundle'), {
      timeout: 20_000,
    })
    .toBe(first.bundle.digest);
  expect(await servedBy(node!.url)).toBe(second.bundle.digest);
  await node!.close();
  node = null;
});

/** Starts the entry file of a node, as a supervisor does. */
async function startProcess(port: number): Promise<void> {
  processUrl = `http://127.0.0.1:${port}`;
  child = spawn(process.execPath, ['serving/node.ts'], {
    cwd: projectDir,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      TEMPER_HOME: path.join(folder, 'home-2'),
      TEMPER_HOST: 'node-2',
      TEMPER_PYTHON: 'python',
      TEMPER_S3_ENDPOINT: s3.endpoint,
      TEMPER_S3_BUCKET: store.bucket,
      AWS_ACCESS_KEY_ID: s3.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
      TEMPER_API_KEY_FILE: keyFile,
      TEMPER_SERVING_PORT: String(port),
      TEMPER_ENDPOINT: 'policy',
    },
  });
  for await (const line of createInterface({ input: child.stdout! })) {
    if (JSON.parse(line).msg === 'serving') break;
  }
  child.stdout!.resume();
}

/** Processes that this one started. */
async function engines(parent: number): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
    if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent) {
      found.push(Number(name));
    }
  }
  return found;
}

function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('a killed node leaves no engine behind, and serves again from its disk while the store is away', async () => {
  const [port] = await freePorts(1);
  await startProcess(port!);
  expect(await servedBy(processUrl)).toBe(second.bundle.digest);
  const [engine] = await engines(child!.pid!);
  expect(engine).toBeGreaterThan(0);
  expect(await readFile(`/proc/${child!.pid}/environ`, 'utf8')).toContain('AWS_SECRET_ACCESS_KEY');
  expect(await readFile(`/proc/${engine}/environ`, 'utf8')).not.toMatch(/AWS_|KEY|SECRET/);
  child!.kill('SIGKILL');
  await once(child!, 'exit');
  await expect.poll(() => exists(engine!), { timeout: 10_000 }).toBe(false);

  await s3.kill();
  await startProcess(port!);
  expect(await servedBy(processUrl)).toBe(second.bundle.digest);
});

test('SIGTERM lets the answers in progress end, then the node and its engine are gone', async () => {
  const [engine] = await engines(child!.pid!);
  const response = await ask(processUrl, {
    prompt: Array(60).fill('The people'),
    max_tokens: 60,
    stream: true,
  });
  child!.kill('SIGTERM');
  const text = await response.text();
  expect(text).toContain('[DONE]');
  if (child!.exitCode === null) await once(child!, 'exit');
  expect(child!.exitCode).toBe(0);
  await expect.poll(() => exists(engine!), { timeout: 10_000 }).toBe(false);
});
