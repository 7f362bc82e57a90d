/** A Temporal whose endpoints do at once what they are asked for, in a real registry. */
import type { Client } from '@temporalio/client';
import { declareDeployment } from '../../registry/deployments.ts';
import { moveAlias } from '../../registry/models.ts';
import type { Store } from '../../registry/store.ts';
import type { DeployRequest } from '../../workflows/messages.ts';
import { digestOf } from './records.ts';

const now = new Date(0);

interface Asked {
  args: [DeployRequest];
  startWorkflowOperation: { options: { args: [{ endpoint: string }] } };
}

/** Declares that an endpoint serves a version. */
export async function declareServed(
  store: Store,
  endpoint: string,
  model: string,
  version: number,
): Promise<void> {
  await declareDeployment(store, {
    endpoint,
    model,
    version,
    bundle: digestOf(String(version)),
    declaredAt: now.toISOString(),
    reason: 'test',
  });
}

/** `asked` tells what the endpoints were asked for, in order. */
export function fakeEndpoints(store: () => Store): { client: Client; asked: string[] } {
  const asked: string[] = [];
  const client = {
    workflow: {
      async executeUpdateWithStart(_: unknown, { args, startWorkflowOperation }: Asked) {
        const [{ model, version, by, reason }] = args;
        const { endpoint } = startWorkflowOperation.options.args[0];
        asked.push(`${endpoint}: ${version} by ${by}: ${reason}`);
        await declareServed(store(), endpoint, model, version);
        await moveAlias(store(), model, 'champion', { version, by, reason, now });
        return { generation: 1, bundle: '', url: '', convergedMs: 5 };
      },
    },
  } as unknown as Client;
  return { client, asked };
}
