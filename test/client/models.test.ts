import { afterAll, beforeAll, expect, test } from 'vitest';
import { openModels } from '../../client/models.ts';
import { moveAlias, readAlias, registerModel } from '../../registry/models.ts';
import { declareServed, fakeEndpoints } from '../support/fake-endpoints.ts';
import { digestOf, versionOf } from '../support/records.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

let s3: TestS3;
const now = new Date(0);
const { client, asked } = fakeEndpoints(() => s3.store);

async function champion(model: string, version: number): Promise<void> {
  await moveAlias(s3.store, model, 'champion', { version, by: 'me', reason: 'test', now });
}

beforeAll(async () => {
  s3 = await startS3();
  for (const model of ['policy', 'unserved', 'quiet']) {
    for (const letter of ['1', '2']) {
      await registerModel(s3.store, versionOf(model, digestOf(letter)), now);
    }
  }
}, 60_000);
afterAll(async () => s3.stop());

test('a model that never had a champion has nothing to go back to, and the refusal says so', async () => {
  await declareServed(s3.store, 'unserved', 'unserved', 2);
  const { rollback } = openModels(client, () => s3.store);
  await expect(rollback('unserved', { by: 'me', reason: 'why' })).rejects.toMatchObject({
    kind: 'input',
    message: 'unserved: no version of it was ever champion, so there is none to go back to.',
  });
  await expect(rollback('unservd', { by: 'me', reason: 'why' })).rejects.toThrow(
    'Did you mean unserved?',
  );
});

test('a rollback that broke off between two endpoints is finished by asking again', async () => {
  for (const version of [1, 2, 1]) await champion('policy', version);
  await declareServed(s3.store, 'desk', 'policy', 1);
  await declareServed(s3.store, 'hall', 'policy', 2);
  const { rollback } = openModels(client, () => s3.store);
  const wish = { to: 1, by: 'me', reason: 'why' };
  expect(await rollback('policy', wish)).toMatchObject({ from: 1, to: 1 });
  expect(asked).toEqual(['desk: 1 by me: why', 'hall: 1 by me: why']);
  await expect(rollback('policy', wish)).rejects.toThrow('policy@1 is already the champion');
});

test('a model that no endpoint serves is promoted and rolled back: its champion moves, and no workflow is asked', async () => {
  const before = asked.length;
  const { promote, rollback } = openModels(client, () => s3.store);
  const wish = { by: 'ann', reason: 'better tone' };
  expect(await promote('quiet@1', wish)).toEqual({
    model: 'quiet',
    from: null,
    to: 1,
    deployments: [],
  });
  expect(await promote('quiet@2', wish)).toMatchObject({ from: 1, to: 2, deployments: [] });
  await expect(promote('quiet@2', wish)).rejects.toThrow('already the champion: nothing moved');
  expect(await rollback('quiet', wish)).toMatchObject({ from: 2, to: 1, deployments: [] });
  await expect(rollback('quiet', wish)).rejects.toThrow('quiet@1 is its first champion');
  const { moves } = (await readAlias(s3.store, 'quiet', 'champion'))!;
  expect(moves.map(({ version, by, reason }) => [version, by, reason])).toEqual([
    [1, 'ann', 'better tone'],
    [2, 'ann', 'better tone'],
    [1, 'ann', 'better tone'],
  ]);
  expect(asked).toHaveLength(before);
});
