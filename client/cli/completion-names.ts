/** Names of what exists, for completion: of a stack that answers at once, else none. Nothing is made or started. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { homeFolder } from '../../infra/layout.ts';

export type NameKind = 'runs' | 'models' | 'datasets' | 'endpoints';

/** Somebody waits with a finger on the Tab key. */
const limitMs = 300;

const executionsSchema = z.object({
  executions: z.array(z.object({ execution: z.object({ workflowId: z.string() }) })).default([]),
});

/** Newest first, or in the order of the alphabet; empty when nobody answers in time. */
export async function quickNames(kind: NameKind): Promise<string[]> {
  try {
    const env = process.env;
    if ((env['TEMPORAL_ADDRESS'] ?? '') !== '') return await remoteNames(kind);
    // What was never up has no names, and looking must not make a home folder.
    const home = homeFolder(env);
    if (!existsSync(path.join(home, 'stack.json'))) return [];
    const { resolveStack, stackEnvironment } = await import('../../infra/settings.ts');
    // It would move a stack that is down.
    delete env['TEMPER_PORT_BASE'];
    const stack = await resolveStack(home);
    if (kind === 'runs') return await soon(localRuns(stack.ports.temporalHttp));
    return await storedNames(kind, stackEnvironment(stack));
  } catch {
    return [];
  }
}

/** Temporal's HTTP API answers before its client library is loaded. */
async function localRuns(port: number): Promise<string[]> {
  const query = new URLSearchParams({
    query: "WorkflowType = 'pipelineWorkflow'",
    pageSize: '100',
  });
  const url = `http://127.0.0.1:${port}/api/v1/namespaces/default/workflows?${query.toString()}`;
  const response = await fetch(url, { signal: AbortSignal.timeout(limitMs) });
  const { executions } = executionsSchema.parse(await response.json());
  return executions.map(({ execution }) => execution.workflowId.replace(/^pipeline\//, ''));
}

async function remoteNames(kind: NameKind): Promise<string[]> {
  if (kind !== 'runs') {
    const named = process.env['TEMPER_S3_BUCKET'] ?? process.env['TEMPER_S3_ENDPOINT'] ?? '';
    return named === '' ? [] : await storedNames(kind, process.env);
  }
  const { connectTemper } = await import('../client.ts');
  return await soon(
    connectTemper().then(async (client) =>
      (await client.listRuns({ limit: 100 })).map(({ run }) => run),
    ),
  );
}

async function storedNames(
  kind: Exclude<NameKind, 'runs'>,
  env: Record<string, string | undefined>,
): Promise<string[]> {
  const { openStore } = await import('../../registry/store.ts');
  const store = openStore({
    endpoint: env['TEMPER_S3_ENDPOINT'],
    region: env['TEMPER_S3_REGION'] ?? 'us-east-1',
    bucket: env['TEMPER_S3_BUCKET'] ?? 'temper',
    accessKeyId: env['AWS_ACCESS_KEY_ID'],
    secretAccessKey: env['AWS_SECRET_ACCESS_KEY'],
    patienceMs: limitMs,
  });
  const prefix = kind === 'endpoints' ? 'deployments' : kind;
  const names = new Set<string>();
  const list = async () => {
    for await (const { key } of store.list(`${prefix}/`)) {
      const name = key.split('/')[1]?.replace(/\.json$/, '');
      if (name !== undefined) names.add(name);
    }
    return [...names];
  };
  return (await soon(list())).toSorted();
}

/** What is known in time. */
function soon(names: Promise<string[]>): Promise<string[]> {
  return Promise.race([names, sleep(limitMs, [])]);
}
