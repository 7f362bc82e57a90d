/** What the three kinds of worker share: logging, the connection, the dependencies of activities, a quiet end. */
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import {
  DefaultLogger,
  NativeConnection,
  Runtime,
  Worker,
  type WorkerOptions,
} from '@temporalio/worker';
import pino from 'pino';
import { openDeps, type Deps } from '../activities/deps.ts';
import { Leaving } from '../activities/leaving.ts';
import { sweepWorkDirs } from '../activities/work-dir.ts';
import { parseEnvironment, type Environment } from '../config/environment.ts';
import {
  fileNotice,
  metadataNotice,
  noticeOf,
  untilItStays,
  watchNotices,
  type NoticeSource,
} from './leaving-notices.ts';
import { untilAnswered } from './until-answered.ts';

export interface WorkerContext extends Deps {
  client: Client;
  /** Tells in the log of this worker. */
  warn: (details: { error: unknown }, message: string) => void;
}

/** A worker on one task queue. */
export interface WorkerDefinition extends WorkerOptions {
  taskQueue: string;
  /** Where the host leaves, it goes on until what it works at was handed over; left out, it ends at once. */
  handsOver?: boolean;
}

const stopSignals = ['SIGTERM', 'SIGINT'] as const;

/**
 * Runs the workers that `define` names until SIGTERM or SIGINT. Waits as long as it takes for
 * S3 and Temporal to answer; a store that would let two writers win is refused before anything is polled.
 */
export async function runWorkers(
  kind: 'control' | 'data' | 'gpu',
  define: (context: WorkerContext) => WorkerDefinition[],
): Promise<void> {
  const env = parseEnvironment(process.env);
  // Only there does anything lie that would be lost with the host.
  const isLeft = kind === 'gpu' && env.TEMPER_SIGTERM === 'leave';
  const logger = pino({
    level: env.TEMPER_LOG_LEVEL,
    base: { worker: kind, host: env.TEMPER_HOST },
    serializers: { error: pino.stdSerializers.err },
  });
  Runtime.install({
    logger: new DefaultLogger('INFO', ({ level, message, meta }) => {
      const write = {
        TRACE: 'trace',
        DEBUG: 'debug',
        INFO: 'info',
        WARN: 'warn',
        ERROR: 'error',
      } as const;
      logger[write[level]](meta ?? {}, message);
    }),
    shutdownSignals: stopSignals.filter((signal) => signal !== 'SIGTERM' || !isLeft),
  });

  const { connectionOptions, namespace = 'default' } = loadClientConnectConfig();
  const leaving = new Leaving();
  const deps = { ...openDeps(env), ...(kind === 'gpu' && { leaving }) };
  const stopped = new AbortController();
  const ended = new AbortController();
  const stop = () => stopped.abort();
  for (const signal of stopSignals) process.once(signal, stop);
  const waiting = {
    signal: stopped.signal,
    warn: (details: { error: unknown }, message: string) => logger.warn(details, message),
  };
  const leavingMs = env.TEMPER_LEAVING_S * 1000;
  const watching = { ...waiting, leaving, leavingMs, now: deps.now };
  const terminated = () => leaving.tell(noticeOf({ why: 'SIGTERM' }, watching));
  if (isLeft) process.on('SIGTERM', terminated);
  const sources = kind === 'gpu' ? noticeSources(env, deps.home) : [];
  let connection: NativeConnection | undefined;
  try {
    await untilItStays(sources, watching);
    if (env.TEMPER_STACK_HOME === undefined) {
      await untilAnswered(() => deps.store.probe(), {
        ...waiting,
        what: deps.store.place,
        isFinal: (error) => error instanceof Error && error.name === 'StoreRefused',
      });
    }
    connection = await untilAnswered(() => NativeConnection.connect(connectionOptions), {
      ...waiting,
      what: `Temporal at ${connectionOptions.address ?? '127.0.0.1:7233'}`,
      isFinal: (error) => /unauthenticated|permission ?denied/i.test(String(error)),
    });
    await sweepWorkDirs(deps);
    const client = new Client({ connection: Connection.lazy(connectionOptions), namespace });
    const context: WorkerContext = { ...deps, client, warn: waiting.warn };
    const ownConnection = connection;
    const defined = define(context);
    const workers = await Promise.all(
      defined.map(({ handsOver = false, activities = {}, ...options }) =>
        Worker.create({
          connection: ownConnection,
          namespace,
          // Cancellation and liveness travel with heartbeats: the default would hold them back for up to a minute.
          maxHeartbeatThrottleInterval: '3s',
          shutdownGraceTime: '5s',
          activities: handsOver ? countedBy(leaving, activities) : activities,
          ...options,
        }),
      ),
    );
    logger.info({ queues: workers.map((worker) => worker.options.taskQueue) }, 'worker ready');
    const runs = workers.map((worker) => worker.run());
    // SIGTERM may be followed by an earlier deadline, while the host hands over.
    watchNotices(sources, { ...watching, signal: isLeft ? ended.signal : stopped.signal });
    leaving.signal.addEventListener('abort', () => {
      logger.warn({ ...leaving.notice }, 'this host leaves: its training is handed over');
      const [last, first] = [true, false].map((handsOver) =>
        workers.filter((_, index) => (defined[index]!.handsOver ?? false) === handsOver),
      ) as [Worker[], Worker[]];
      shutDown(first);
      void leaving.settled(deps.now).then(() => shutDown(last));
    });
    // A signal may have come while there was no worker yet to hear it.
    if (stopped.signal.aborted) shutDown(workers);
    await Promise.all(runs);
  } catch (error) {
    if (!stopped.signal.aborted || (error as Error).name !== 'AbortError') throw error;
  } finally {
    stopped.abort();
    ended.abort();
    for (const signal of stopSignals) process.off(signal, stop);
    process.off('SIGTERM', terminated);
    deps.store.close();
    await connection?.close();
  }
}

function noticeSources(env: Environment, home: string): NoticeSource[] {
  const file = fileNotice(env.TEMPER_LEAVING_FILE ?? path.join(home, 'leaving'));
  const { TEMPER_EC2_METADATA: address } = env;
  return address === undefined ? [file] : [file, metadataNotice(address)];
}

type Activity = (...args: unknown[]) => Promise<unknown>;

/** The same activities, each known to a host that leaves for as long as it works. */
function countedBy(leaving: Leaving, activities: object): object {
  const entries = Object.entries(activities as Record<string, Activity>);
  return Object.fromEntries(
    entries.map(([name, work]) => [
      name,
      async (...args: unknown[]) => await leaving.during(() => work(...args)),
    ]),
  );
}

function shutDown(workers: Worker[]): void {
  for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
}
