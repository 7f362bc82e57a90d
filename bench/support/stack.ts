/** A stack for one benchmark, in a home of its own under `bench/` of the usual home: down and gone at its end, whatever happens. */
import { rmSync } from 'node:fs';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { bringUp } from '../../client/cli/context.ts';
import { connectTemper, type TemperClient } from '../../client/client.ts';
import type { LiveStatus } from '../../client/live-status.ts';
import type { Pipeline } from '../../config/pipeline.ts';
import type { Machine } from '../../config/recipe.ts';
import { homeFolder, layoutOf } from '../../infra/layout.ts';
import { describeMachine } from '../../infra/machine.ts';
import { findPortBase, stackDown, stackEnvironment, type Stack } from '../../infra/stack.ts';
import { openStore, type Store } from '../../registry/store.ts';
import { say } from './bench.ts';

export interface BenchStack {
  stack: Stack;
  temper: TemperClient;
  /** Temporal's own client, for histories. */
  temporal: Client;
  store: Store;
}

/** Where a benchmark keeps its things. */
export function benchFolder(name: string): string {
  return path.join(homeFolder(process.env), 'bench', name);
}

/** Makes an empty home, uses it, stops whatever still runs in it and deletes it, also after Ctrl-C. */
export async function withHome<T>(
  name: string,
  { keep }: { keep: boolean },
  use: (home: string) => Promise<T>,
): Promise<T> {
  const home = benchFolder(name);
  const empty = async () => {
    await stackDown(home);
    rmSync(home, { recursive: true, force: true });
  };
  await empty();
  const interrupted = Promise.withResolvers<never>();
  const interrupt = () => interrupted.reject(new Error('interrupted: the stack was taken down'));
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  try {
    return await Promise.race([use(layoutOf(home).home), interrupted.promise]);
  } finally {
    if (keep) {
      await stackDown(home);
      say(`kept: ${home} (TEMPER_HOME=${home} npx temper up starts it again)`);
    } else await empty();
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

/** Brings a home's stack up, uses it and takes it down; its data stay. */
export async function withStack<T>(
  home: string,
  use: (stack: BenchStack) => Promise<T>,
  previous?: Stack,
): Promise<T> {
  try {
    const portBase = previous?.portBase ?? (await findPortBase());
    const stack = await bringUp(home, {}, { portBase });
    const env = stackEnvironment(stack);
    const store = openStore({
      endpoint: env['TEMPER_S3_ENDPOINT'],
      region: env['TEMPER_S3_REGION']!,
      bucket: stack.bucket,
      accessKeyId: env['AWS_ACCESS_KEY_ID'],
      secretAccessKey: env['AWS_SECRET_ACCESS_KEY'],
    });
    const address = env['TEMPORAL_ADDRESS']!;
    const temper = await connectTemper({ address, namespace: 'default', store });
    const connection = await Connection.connect({ address });
    try {
      return await use({ stack, temper, temporal: new Client({ connection }), store });
    } finally {
      await temper.close();
      await connection.close();
      store.close();
    }
  } finally {
    await stackDown(home);
  }
}

export interface RunRequest {
  run: string;
  pipeline: Pipeline;
  baseDir: string;
  machine?: Machine;
}

/** Runs a pipeline until it ends, or until `enough` says so; prints a line when a stage ends. */
export async function runPipeline(
  { temper }: Pick<BenchStack, 'temper'>,
  { run, pipeline, baseDir, machine = describeMachine() }: RunRequest,
  enough: (status: LiveStatus) => boolean = () => false,
): Promise<LiveStatus> {
  await temper.startPipeline({ pipeline: { pipeline, baseDir }, machine, run });
  const told = new Set<string>();
  let last: LiveStatus | null = null;
  for await (const status of temper.followStatus(run)) {
    last = status;
    for (const { name, state, startedAt, endedAt, summary } of status.stages) {
      if (startedAt === null || endedAt === null || told.has(name)) continue;
      told.add(name);
      const seconds = ((endedAt - startedAt) / 1000).toFixed(1);
      say(`  ${run} ${name.padEnd(15)}${state.padEnd(7)} ${seconds.padStart(6)} s  ${summary}`);
    }
    if (enough(status)) break;
  }
  if (last === null) throw new Error(`run ${run}: no status was seen`);
  return last;
}

/** As `runPipeline`, for a run that has to give a model. */
export async function finishPipeline(
  stack: Pick<BenchStack, 'temper'>,
  request: RunRequest,
): Promise<LiveStatus & { result: NonNullable<LiveStatus['result']>; endedAt: number }> {
  const status = await runPipeline(stack, request);
  const { result, endedAt } = status;
  if (status.state === 'finished' && result !== null && endedAt !== null) {
    return { ...status, result, endedAt };
  }
  throw new Error(`run ${request.run} ${status.state}: ${status.failure ?? 'no result'}`);
}
