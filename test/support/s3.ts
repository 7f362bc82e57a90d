/** A private SeaweedFS for tests: its own folder, keys and free ports, all on 127.0.0.1, gone when stopped. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openStore, type Store } from '../../registry/store.ts';

export interface TestS3 {
  store: Store;
  endpoint: string;
  accessKeyId: string;
  secretAccessKey: string;
  /** Ends the server and removes its data. */
  stop(): Promise<void>;
  /** SIGKILL, as a crash. */
  kill(): Promise<void>;
  /** Starts it again on its data, and waits until it answers. */
  restart(): Promise<void>;
}

const weed = path.resolve(import.meta.dirname, '../../.venv/bin/weed');
const keys = { accessKeyId: 'temper-test', secretAccessKey: 'temper-test-secret' };
const bucket = 'temper-test';
const readyMs = 30_000;
/** SeaweedFS's ten listeners; a grpc port left out would be the other plus 10000. */
const listeners = [
  'master.port',
  'master.port.grpc',
  'volume.port',
  'volume.port.grpc',
  'filer.port',
  'filer.port.grpc',
  's3.port.grpc',
  'admin.port',
  'admin.port.grpc',
];

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    await once(server.close(), 'close');
    return true;
  } catch {
    return false;
  }
}

/**
 * Ports that are free now, below those that the kernel gives to outgoing connections: one of these may be
 * taken while a killed server is away.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = randomInt(12_000, 32_000);
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

async function healthy(endpoint: string): Promise<boolean> {
  try {
    return (await fetch(`${endpoint}/healthz`, { signal: AbortSignal.timeout(1000) })).ok;
  } catch {
    return false;
  }
}

/** Starts one, with an empty bucket in it. */
export async function startS3(options: { port?: number } = {}): Promise<TestS3> {
  const dir = await mkdtemp(path.join(tmpdir(), 'temper-s3-'));
  const ports = await freePorts(listeners.length + 1);
  const port = options.port ?? ports.at(-1);
  const endpoint = `http://127.0.0.1:${port}`;
  let child: ChildProcess | null = null;
  let output = '';

  async function start(): Promise<void> {
    const flags = listeners.map((name, index) => `-${name}=${ports[index]}`);
    child = spawn(
      weed,
      [
        '-logtostderr',
        'mini',
        `-dir=${dir}`,
        '-ip=127.0.0.1',
        '-ip.bind=127.0.0.1',
        `-s3.port=${port}`,
        ...flags,
        '-s3.port.iceberg=0',
        '-s3.port.lance=0',
        '-webdav=false',
        '-admin.ui=false',
        '-master.telemetry=false',
        `-s3.localSocket=${path.join(dir, 's3.sock')}`,
        `-filer.localSocket=${path.join(dir, 'filer.sock')}`,
        '-volume.preStopSeconds=0',
      ],
      {
        cwd: dir,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { AWS_ACCESS_KEY_ID: keys.accessKeyId, AWS_SECRET_ACCESS_KEY: keys.secretAccessKey },
      },
    );
    output = '';
    const keep = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-4000);
    };
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
    const deadline = Date.now() + readyMs;
    while (!(await healthy(endpoint))) {
      if (child.exitCode !== null || Date.now() > deadline) {
        throw new Error(`SeaweedFS did not come up at ${endpoint}; its last words:\n${output}`);
      }
      await sleep(50);
    }
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  // A test run that is cut short leaves no server behind.
  const onExit = (): void => {
    child?.kill('SIGKILL');
  };
  process.once('exit', onExit);
  await start();
  const store = openStore({ endpoint, region: 'us-east-1', bucket, ...keys });
  await store.ensureBucket();
  return {
    store,
    endpoint,
    ...keys,
    async stop() {
      process.off('exit', onExit);
      store.close();
      // Nothing in it is needed any more.
      await end('SIGKILL');
      await rm(dir, { recursive: true, force: true });
      // SeaweedFS puts these beside its ports' numbers, wherever its data are.
      for (const [index, name] of listeners.entries()) {
        const service = /^(\w+)\.port\.grpc$/.exec(name)?.[1];
        if (service !== undefined)
          await rm(`/tmp/seaweedfs-${service}-grpc-${ports[index]}.sock`, { force: true });
      }
    },
    kill: () => end('SIGKILL'),
    restart: start,
  };
}
