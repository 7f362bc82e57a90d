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
import { parseEnvironment } from '../config/environment.ts';

export interface WorkerContext extends Deps {
  client: Client;
}

/**
 * Runs the workers that `define` names until SIGTERM or SIGINT. Waits as long as it takes for
 * Temporal to answer: a worker that starts before its server is not a failure.
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
    shutdownSignals: ['SIGTERM', 'SIGINT'],
  });

  const { connectionOptions, namespace = 'default' } = loadClientConnectConfig();
  const connection = await NativeConnection.connect(connectionOptions);
  const context: WorkerContext = {
    ...openDeps(env),
    client: new Client({ connection: Connection.lazy(connectionOptions), namespace }),
  };
  try {
    const workers = await Promise.all(
      define(context).map((options) =>
        Worker.create({
          connection,
          namespace,
          // Cancellation and liveness travel with heartbeats: the default would hold them back for up to a minute.
          maxHeartbeatThrottleInterval: '3s',
          shutdownGraceTime: '5s',
          ...options,
        }),
      ),
    );
    logger.info({ queues: workers.map((worker) => worker.options.taskQueue) }, 'worker ready');
    await Promise.all(workers.map((worker) => worker.run()));
  } finally {
    context.store.close();
    await connection.close();
  }
}
