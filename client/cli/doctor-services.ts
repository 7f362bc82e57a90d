/** The services that a run needs, wherever they are: Temporal and its workers, S3 and what it promises. */
import { isGrpcServiceError, type Connection } from '@temporalio/client';
import { TaskQueue } from '../../config/queues.ts';
import { look, type Check } from '../../infra/check.ts';
import { searchAttributes } from '../../infra/programs.ts';
import { openTemporal, type OpenedTemporal } from '../connection.ts';
import { rootMessage } from '../errors.ts';
import type { Context } from './context.ts';

const temporalMs = 20_000;
const callMs = 8000;
const storeMs = 20_000;
/** Of Temporal's API. */
const queueTypes = { workflow: 1, activity: 2 } as const;
const notFound = 5;

/** Temporal: whether it answers us, has the namespace, and knows the search attributes that runs carry. */
export async function checkTemporal({ stack, env }: Context): Promise<Check[]> {
  const opened = Promise.withResolvers<OpenedTemporal | null>();
  const service = await look(
    {
      name: 'Temporal service',
      expected: 'an answer, and the namespace',
      remedy:
        stack === null
          ? 'Check TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and TEMPORAL_API_KEY, or the profile that TEMPORAL_PROFILE names.'
          : 'Start the stack: npx temper up.',
      limitMs: temporalMs,
    },
    async () => {
      const temporal = await openTemporal(
        stack === null
          ? {}
          : { address: env['TEMPORAL_ADDRESS'], namespace: env['TEMPORAL_NAMESPACE'] },
      );
      const { client, address, namespace } = temporal;
      return within(temporal, async () => {
        const { serverVersion } = await client.workflowService.getSystemInfo({});
        const at = `${address}${serverVersion ? `, server ${serverVersion}` : ''}`;
        try {
          await client.workflowService.describeNamespace({ namespace });
        } catch (error) {
          if (!isGrpcServiceError(error) || error.code !== notFound) throw error;
          const remedy = `Make it, or name another in TEMPORAL_NAMESPACE: temporal operator namespace create --namespace ${namespace}.`;
          return { ok: false, found: `${at}, no namespace "${namespace}"`, remedy };
        }
        opened.resolve(temporal);
        return { ok: true, found: `${at}, namespace ${namespace}` };
      });
    },
  );
  opened.resolve(null);
  const temporal = await opened.promise;
  if (temporal === null) return [service];
  try {
    const rest = [checkAttributes(temporal)];
    // Of the local stack, each worker is looked at by itself.
    if (stack === null) rest.push(checkWorkers(temporal));
    return [service, ...(await Promise.all(rest))];
  } finally {
    await temporal.client.connection.close();
  }
}

function checkAttributes(temporal: OpenedTemporal): Promise<Check> {
  const { client, namespace } = temporal;
  const create = (names: readonly string[]) =>
    `temporal operator search-attribute create --namespace ${namespace} ${names.map((name) => `--name ${name} --type Keyword`).join(' ')}`;
  const subject = {
    name: 'Temporal attributes',
    expected: `search attributes ${searchAttributes.join(', ')}`,
    remedy: `Make them: ${create(searchAttributes)}.`,
    limitMs: callMs,
  };
  return look(subject, () =>
    within(temporal, async () => {
      const { operatorService } = client.connection as Connection;
      const { customAttributes } = await operatorService.listSearchAttributes({ namespace });
      const missing = searchAttributes.filter((name) => !(name in (customAttributes ?? {})));
      if (missing.length === 0) return { ok: true, found: searchAttributes.join(', ') };
      const found = `no ${missing.join(', ')}`;
      return { ok: false, found, remedy: `Make what is missing: ${create(missing)}.` };
    }),
  );
}

function checkWorkers(temporal: OpenedTemporal): Promise<Check> {
  const subject = {
    name: 'workers',
    expected: 'somebody who polls the task queues control, data and gpu',
    remedy:
      'Start workers where the data and the machines are: node workers/control.ts, workers/data.ts and workers/gpu.ts, with TEMPORAL_ADDRESS and the registry’s variables.',
    limitMs: callMs,
  };
  return look(subject, () =>
    within(temporal, async () => {
      const { client, namespace } = temporal;
      const counts = await Promise.all(
        Object.values(TaskQueue).map(async (name) => {
          const { pollers } = await client.workflowService.describeTaskQueue({
            namespace,
            taskQueue: { name },
            taskQueueType: name === TaskQueue.control ? queueTypes.workflow : queueTypes.activity,
          });
          return { name, count: pollers?.length ?? 0 };
        }),
      );
      const found = counts.map(({ name, count }) => `${name} ${count}`).join(', ');
      return { ok: counts.every(({ count }) => count > 0), found: `pollers: ${found}` };
    }),
  );
}

/** S3: whether the bucket opens to our keys, and whether the store keeps what the registry relies on. */
export async function checkStore({ stack, env, store }: Context): Promise<Check[]> {
  const named = env['TEMPER_S3_BUCKET'] ?? '';
  const remote = stack === null;
  const bucket = await look(
    {
      name: 'S3 bucket',
      expected: 'a bucket that our keys open',
      remedy: remote
        ? 'Check TEMPER_S3_BUCKET, TEMPER_S3_ENDPOINT, TEMPER_S3_REGION and the AWS keys.'
        : 'Start the stack: npx temper up.',
      limitMs: storeMs,
    },
    async () => {
      if (remote && named === '' && (env['TEMPER_S3_ENDPOINT'] ?? '') === '') {
        const remedy =
          'Set TEMPER_S3_BUCKET, and TEMPER_S3_ENDPOINT where it is not AWS, to the registry of that Temporal’s workers.';
        return { ok: false, found: 'no registry is named', remedy };
      }
      // One page of a list is enough: a missing bucket and wrong keys both show.
      for await (const _ of store.list('models/')) break;
      return { ok: true, found: `${store.place}, bucket ${store.bucket}` };
    },
  );
  if (!bucket.ok) return [bucket];
  const promises = await look(
    {
      name: 'S3 conditional writes',
      expected: 'one winner of each race, and checksums verified',
      remedy:
        'Use a store with conditional writes (If-None-Match, If-Match) and SHA-256 checksums.',
      limitMs: storeMs,
    },
    async () => {
      await store.probe();
      return { ok: true, found: 'honoured, and checksums verified' };
    },
  );
  return [bucket, promises];
}

/** Where the clock of the store can be read; null when no store is named. */
export function storeUrl({ stack, env }: Context): string | null {
  const endpoint = env['TEMPER_S3_ENDPOINT'] ?? '';
  if (endpoint !== '') return endpoint;
  if (stack !== null || (env['TEMPER_S3_BUCKET'] ?? '') === '') return null;
  return `https://s3.${env['TEMPER_S3_REGION'] ?? 'us-east-1'}.amazonaws.com`;
}

/** Errors of a call on one line, and never longer than its time. */
async function within<T>({ client }: OpenedTemporal, work: () => Promise<T>): Promise<T> {
  try {
    return await client.connection.withDeadline(Date.now() + callMs, work);
  } catch (error) {
    throw new Error(rootMessage(error).split('\n')[0], { cause: error });
  }
}
