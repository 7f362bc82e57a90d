import type { Client } from '@temporalio/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openModels } from '../../client/models.ts';
import { declareDeployment } from '../../registry/deployments.ts';
import { moveAlias, registerModel } from '../../registry/models.ts';
import { digestOf, versionOf } from '../support/records.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

let s3: TestS3;
const now = new Date(0);
const asked: string[] = [];
/** Every endpoint does at once what it is asked for. */
const client = {
  workflow: {
    async executeUpdateWithStart(_update: unknown, options: Asked) {
      const { endpoint } = options.startWorkflowOperation.options.args[0];
      const { model, version } = options.args[0];
      asked.push(`${endpoint}: ${version}`);
      await declare(endpoint, model, version);
    },
  },
} as unknown as Client;
interface Asked {
  args: [{ model: string; version: number }];
  startWorkflowOperation: { options: { args: [{ endpoint: string }] } };
}

async function declare(endpoint: string, model: string, version: number): Promise<void> {
  await declareDeployment(s3.store, {
    endpoint,
    model,
    version,
    bundle: digestOf(String(version)),
    declaredAt: now.toISOString(),
    reason: 'test',
  });
}

async function champion(model: string, version: number): Promise<void> {
  await moveAlias(s3.store, model, 'champion', { version, by: 'me', reason: 'test', now });
}

beforeAll(async () => {
  s3 = await startS3();
  for (const model of ['policy', 'unserved']) {
    for (const letter of ['1', '2']) {
      await registerModel(s3.store, versionOf(model, digestOf(letter)), now);
    }
  }
}, 60_000);
afterAll(async () => s3.stop());

test('a model that was never served has nothing to go back to, and the refusal says so', async () => {
  await declare('unserved', 'unserved', 2);
  const { rollback } = openModels(client, () => s3.store);
  await expect(rollback('unserved', { by: 'me', reason: 'why' })).rejects.toMatchObject({
    kind: 'input',
    message: 'unserved: no version of it was ever served, so there is none to go back to.',
  });
  await expect(rollback('unservd', { by: 'me', reason: 'why' })).rejects.toThrow(
    'Did you mean unserved?',
  );
});

test('a rollback that broke off between two endpoints is finished by asking again', async () => {
  for (const version of [1, 2, 1]) await champion('policy', version);
  await declare('desk', 'policy', 1);
  await declare('hall', 'policy', 2);
  const { rollback } = openModels(client, () => s3.store);
  const wish = { to: 1, by: 'me', reason: 'why' };
  expect(await rollback('policy', wish)).toMatchObject({ from: 1, to: 1 });
  expect(asked).toEqual(['desk: 1', 'hall: 1']);
  await expect(rollback('policy', wish)).rejects.toThrow('policy@1 is already the champion');
});
