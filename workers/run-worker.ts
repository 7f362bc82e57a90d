/** What the three kinds of worker share: logging, the connection, the dependencies of activities, a quiet end. */
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
import { sweepWorkDirs } from '../activities/work-dir.ts';
import { parseEnvironment } from '../config/environment.ts';
import { untilAnswered } from './until-answered.ts';

export interface WorkerContext extends Deps {
  client: Client;
}

const stopSignals = ['SIGTERM', 'SIGINT'] as const;

/**
 * Runs the workers that `define` names until SIGTERM or SIGINT. Waits as long as it takes for
 * S3 and Temporal to answer; a store that would let two writers win is refused before anything is polled.
 */
export async function runWorkers(
  kind: 'control' | 'data' | 'gpu',
  define: (context: WorkerContext) => (WorkerOptions & { taskQueue: string })[],
): Promise<void> {
  const env = parseEnvironment(process.env);
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
    shutdownSignals: [...stopSignals],
  });

  const { connectionOptions, namespace = 'default' } = loadClientConnectConfig();
  const deps = openDeps(env);
  const stopped = new AbortController();
  const stop = () => stopped.abort();
  for (const signal of stopSignals) process.once(signal, stop);
  const waiting = {
    signal: stopped.signal,
    warn: (details: { error: unknown }, message: string) => logger.warn(details, message),
  };
  let connection: NativeConnection | undefined;
  try {
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
    const context: WorkerContext = { ...deps, client };
    const ownConnection = connection;
    const workers = await Promise.all(
      define(context).map((options) =>
        Worker.create({
          connection: ownConnection,
          namespace,
          // Cancellation and liveness travel with heartbeats: the default would hold them back for up to a minute.
          maxHeartbeatThrottleInterval: '3s',
          shutdownGraceTime: '5s',
          ...options,
        }),
      ),
    );
    logger.info({ queues: workers.map((worker) => worker.options.taskQueue) }, 'worker ready');
    const runs = workers.map((worker) => worker.run());
    // A signal may have come while there was no worker yet to hear it.
    for (const worker of stopped.signal.aborted ? workers : []) {
      if (worker.getState() === 'RUNNING') worker.shutdown();
    }
    await Promise.all(runs);
  } catch (error) {
    if (!stopped.signal.aborted || (error as Error).name !== 'AbortError') throw error;
  } finally {
    for (const signal of stopSignals) process.off(signal, stop);
    deps.store.close();
    await connection?.close();
  }
}
