/** Data workers on a stack without its own: as many as asked, each on its own cores, their peak memory read while they live. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { Client, Connection } from '@temporalio/client';
import type {
  DatasetRef,
  KeptTokenizer,
  PreprocessInput,
  PreprocessResult,
} from '../../activities/preprocess-input.ts';
import { dataWorkerFlags } from '../../config/data-memory.ts';
import type { IngestResult } from '../../config/ingest.ts';
import { TaskQueue } from '../../config/queues.ts';
import { sourceSchema } from '../../config/sources.ts';
import { node, projectDir } from '../../infra/layout.ts';
import { findPortBase, stackDown, stackEnvironment, stackUp } from '../../infra/stack.ts';
import { putBlobFile } from '../../registry/blobs.ts';
import { openStore, type Store } from '../../registry/store.ts';
import { workflowId, type DatasetInput } from '../../workflows/messages.ts';

export interface DataStack {
  store: Store;
  /** Reads JSON lines into a dataset version, on one of the workers that are up. */
  ingest(folder: string, name: string): Promise<DatasetRef>;
  /** Runs the workflow of preprocessing on the workers that are up. */
  preprocess(input: Omit<PreprocessInput, 'run'>): Promise<PreprocessResult>;
  keep(tokenizer: string, vocabSize: number): Promise<KeptTokenizer>;
  /** Highest resident memory of any of the workers so far, in bytes. */
  peakMemory(): number;
}

/**
 * Brings up data workers that are pinned to the given cores, and server, store, control worker and this process on those
 * same cores: a core beside them would do part of the work of the workers for nothing.
 */
export async function withDataWorkers<T>(
  home: string,
  cores: readonly string[],
  use: (stack: DataStack) => Promise<T>,
): Promise<T> {
  const workers: ReturnType<typeof startWorker>[] = [];
  const before = coresOfThis();
  try {
    await pinThis(cores.join(','));
    const portBase = await findPortBase();
    const stack = await stackUp(home, { parts: ['s3', 'temporal', 'control'], portBase });
    const env = stackEnvironment(stack);
    const store = openStore({
      endpoint: env['TEMPER_S3_ENDPOINT'],
      region: env['TEMPER_S3_REGION']!,
      bucket: stack.bucket,
      accessKeyId: env['AWS_ACCESS_KEY_ID'],
      secretAccessKey: env['AWS_SECRET_ACCESS_KEY'],
    });
    await store.ensureBucket();
    for (const [index, list] of cores.entries()) {
      workers.push(startWorker(list, { ...env, TEMPER_HOST: `data-${index}` }));
    }
    const connection = await Connection.connect({ address: env['TEMPORAL_ADDRESS']! });
    const client = new Client({ connection });
    await ready(client, workers.length);
    let runs = 0;
    try {
      return await use({
        store,
        async ingest(folder, name) {
          const source = sourceSchema.parse({
            path: folder,
            include: '*.jsonl',
            license: 'benchmark',
          });
          const input: DatasetInput = { name, sources: [source], baseDir: '/', onto: 0 };
          const { dataset } = (await client.workflow.execute('datasetWorkflow', {
            taskQueue: TaskQueue.control,
            workflowId: workflowId.dataset(name),
            args: [input],
          })) as IngestResult;
          return dataset;
        },
        async preprocess(input) {
          const run = `bench-${(runs += 1)}`;
          return (await client.workflow.execute('preprocessWorkflow', {
            taskQueue: TaskQueue.control,
            workflowId: workflowId.preprocess(run),
            args: [{ ...input, run }],
          })) as PreprocessResult;
        },
        async keep(tokenizer, vocabSize) {
          return { file: await putBlobFile(store, tokenizer), vocabSize };
        },
        peakMemory: () => Math.max(...workers.map(({ pid }) => peakOf(pid))),
      });
    } finally {
      await connection.close();
      store.close();
    }
  } finally {
    for (const worker of workers) worker.kill('SIGKILL');
    await Promise.all(workers);
    await pinThis(before);
    await stackDown(home);
  }
}

function coresOfThis(): string {
  const status = readFileSync('/proc/self/status', 'utf8');
  return /Cpus_allowed_list:\s+(\S+)/.exec(status)![1]!;
}

/** This process, with all its threads and whatever it starts from now on. */
async function pinThis(cores: string): Promise<void> {
  await execa('taskset', ['-acp', cores, String(process.pid)]);
}

function startWorker(cores: string, env: NodeJS.ProcessEnv) {
  const program = [node, ...dataWorkerFlags, path.join(projectDir, 'workers/data.ts')];
  return execa('taskset', ['-c', cores, ...program], {
    env,
    stdout: 'ignore',
    stderr: 'inherit',
    reject: false,
  });
}

/** Until that many pollers ask for data work. */
async function ready({ workflowService }: Client, wanted: number): Promise<void> {
  const began = performance.now();
  for (;;) {
    const { pollers } = await workflowService.describeTaskQueue({
      namespace: 'default',
      taskQueue: { name: TaskQueue.data },
      taskQueueType: 2,
    });
    const found = new Set(pollers?.map(({ identity }) => identity)).size;
    if (found >= wanted) return;
    if (performance.now() - began > 60_000)
      throw new Error(`found ${found} data workers after a minute, expected ${wanted}`);
    await sleep(200);
  }
}

function peakOf(pid: number | undefined): number {
  if (pid === undefined) return 0;
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
}
