/** The parts of a local stack, one program each: what to run, and how to tell that it is ready. */
import path from 'node:path';
import { z } from 'zod';
import { dataWorkerFlags } from '../config/data-memory.ts';
import { gpuHostQueue, TaskQueue } from '../config/queues.ts';
import { node, projectDir, venvBin } from './layout.ts';
import type { Ports, Stack } from './settings.ts';

export const partNames = ['s3', 'temporal', 'control', 'data', 'gpu', 'serving'] as const;
export type PartName = (typeof partNames)[number];

export interface Program {
  name: PartName;
  /** For people. */
  title: string;
  argv: string[];
  /** Whoever waits on its files and rows yields the processor to the trainer, which loses two cores for each one taken. */
  nice: number;
  cwd: string;
  /** Ports that others know, and that must be free before the start. */
  ports: (keyof Ports)[];
  stopPatienceMs: number;
  /** Resolves to null when ready, else to what was found instead. */
  check: (startedAt: Date) => Promise<string | null>;
}

/** Search attributes of a run: opaque ids by which the Temporal Web UI can find it. */
export const searchAttributes = ['run', 'stage', 'model', 'dataset'] as const;

/** Every program of a stack, in the order in which they need each other. */
export function programsOf(stack: Stack): Program[] {
  const entry = (file: string, flags: readonly string[] = []): string[] => [
    node,
    ...flags,
    path.join(projectDir, file),
  ];
  return [
    {
      name: 's3',
      title: 'S3 (SeaweedFS)',
      argv: s3Arguments(stack),
      nice: 10,
      cwd: stack.layout.run,
      ports: ['s3'],
      stopPatienceMs: 15_000,
      check: () => answers(`http://127.0.0.1:${stack.ports.s3}/healthz`, [200]),
    },
    {
      name: 'temporal',
      title: 'Temporal and its Web UI',
      argv: temporalArguments(stack),
      nice: 10,
      cwd: stack.layout.run,
      ports: ['temporal', 'temporalUi'],
      stopPatienceMs: 10_000,
      check: () => hasSearchAttributes(stack),
    },
    {
      name: 'control',
      title: 'control worker',
      argv: entry('workers/control.ts'),
      nice: 10,
      cwd: projectDir,
      ports: [],
      stopPatienceMs: 20_000,
      check: (startedAt) => isPolled(stack, TaskQueue.control, 'WORKFLOW', startedAt),
    },
    {
      name: 'data',
      title: 'data worker',
      argv: entry('workers/data.ts', dataWorkerFlags),
      nice: 0,
      cwd: projectDir,
      ports: [],
      stopPatienceMs: 20_000,
      check: (startedAt) => isPolled(stack, TaskQueue.data, 'ACTIVITY', startedAt),
    },
    {
      name: 'gpu',
      title: 'gpu worker',
      argv: entry('workers/gpu.ts'),
      nice: 0,
      cwd: projectDir,
      ports: [],
      stopPatienceMs: 20_000,
      check: (startedAt) => isPolled(stack, gpuHostQueue('local'), 'ACTIVITY', startedAt),
    },
    {
      name: 'serving',
      title: 'serving node',
      argv: entry('serving/node.ts'),
      nice: 0,
      cwd: projectDir,
      ports: ['serving'],
      stopPatienceMs: 15_000,
      check: () => answers(`http://127.0.0.1:${stack.ports.serving}/health`, null),
    },
  ];
}

function s3Arguments({ layout, ports }: Stack): string[] {
  const flags = {
    dir: layout.s3Data,
    ip: '127.0.0.1',
    'ip.bind': '127.0.0.1',
    's3.port': ports.s3,
    's3.port.grpc': ports.s3Grpc,
    's3.port.iceberg': 0,
    's3.port.lance': 0,
    's3.localSocket': path.join(layout.sockets, 's3.sock'),
    'master.port': ports.s3Master,
    'master.port.grpc': ports.s3MasterGrpc,
    'master.telemetry': false,
    'volume.port': ports.s3Volume,
    'volume.port.grpc': ports.s3VolumeGrpc,
    'filer.port': ports.s3Filer,
    'filer.port.grpc': ports.s3FilerGrpc,
    'filer.localSocket': path.join(layout.sockets, 'filer.sock'),
    'admin.port': ports.s3Admin,
    'admin.port.grpc': ports.s3AdminGrpc,
    'admin.ui': false,
    webdav: false,
  };
  const options = Object.entries(flags).map(([flag, value]) => `-${flag}=${value}`);
  return [venvBin('weed'), '-logtostderr=true', '-v=0', 'mini', ...options];
}

function temporalArguments({ layout, ports }: Stack): string[] {
  const flags = {
    'db-filename': layout.temporalFile,
    ip: '127.0.0.1',
    port: ports.temporal,
    'ui-port': ports.temporalUi,
    'http-port': ports.temporalHttp,
    'metrics-port': ports.temporalMetrics,
    'log-level': 'warn',
  };
  const options = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]);
  const attributes = searchAttributes.flatMap((name) => ['--search-attribute', `${name}=Keyword`]);
  const quiet = ['--ui-disable-news-fetch', '--disable-config-file', '--disable-config-env'];
  return [venvBin('temporal'), 'server', 'start-dev', ...options, ...attributes, ...quiet];
}

async function answers(url: string, statuses: number[] | null): Promise<string | null> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
    await response.body?.cancel();
    if (statuses === null || statuses.includes(response.status)) return null;
    return `HTTP status ${response.status} from ${url}`;
  } catch {
    return `no answer from ${url}`;
  }
}

const attributesSchema = z.object({ customAttributes: z.record(z.string(), z.string()) });
const queueSchema = z.object({
  pollers: z.array(z.object({ lastAccessTime: z.string() })).default([]),
});

/** Asks Temporal over its HTTP API, which needs no client library and answers in a millisecond. */
async function askTemporal<T>(stack: Stack, path: string, schema: z.ZodType<T>): Promise<T | null> {
  try {
    const url = `http://127.0.0.1:${stack.ports.temporalHttp}/api/v1/namespaces/default/${path}`;
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
    if (!response.ok) return null;
    return schema.parse(await response.json());
  } catch {
    return null;
  }
}

async function hasSearchAttributes(stack: Stack): Promise<string | null> {
  // The Web UI reaches the server over a connection of its own, which may come later.
  const ui = `http://127.0.0.1:${stack.ports.temporalUi}/api/v1/namespaces/default`;
  const uiFault = await answers(ui, [200]);
  if (uiFault !== null) return uiFault;
  const answer = await askTemporal(stack, 'search-attributes', attributesSchema);
  if (answer === null) return `no answer from 127.0.0.1:${stack.ports.temporalHttp}`;
  const missing = searchAttributes.filter((name) => !(name in answer.customAttributes));
  return missing.length === 0 ? null : `no search attribute ${missing.join(', ')}`;
}

async function isPolled(
  stack: Stack,
  queue: string,
  type: 'WORKFLOW' | 'ACTIVITY',
  startedAt: Date,
): Promise<string | null> {
  const path = `task-queues/${queue}?taskQueueType=TASK_QUEUE_TYPE_${type}`;
  const answer = await askTemporal(stack, path, queueSchema);
  const polled = answer?.pollers.some((poller) => new Date(poller.lastAccessTime) >= startedAt);
  return polled === true ? null : `nobody polls the task queue ${queue}`;
}
