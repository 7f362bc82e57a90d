/** A store that refuses connections: known at once to be down, or waited for. */
import net from 'node:net';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { StoreUnreachable } from '../../registry/errors.ts';
import { openStore } from '../../registry/store.ts';

async function closedPort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  await once(server.close(), 'close');
  return port;
}

async function refused(isDown?: () => Promise<boolean>) {
  const store = openStore({
    endpoint: `http://127.0.0.1:${await closedPort()}`,
    region: 'us-east-1',
    bucket: 'temper',
    accessKeyId: 'a',
    secretAccessKey: 'b',
    patienceMs: 400,
    isDown,
  });
  const began = performance.now();
  const error: unknown = await store.get('x').catch((found: unknown) => found);
  store.close();
  expect(error).toBeInstanceOf(StoreUnreachable);
  return { message: (error as Error).message, ms: performance.now() - began };
}

test('a store that is down is not waited for, and the sentence says how to start it', async () => {
  let asked = 0;
  const { message } = await refused(async () => (asked += 1) > 0);
  expect(message).toMatch(/does not answer, for the stack is down\. Start it: npx temper up$/);
  // One refusal was enough.
  expect(asked).toBe(1);
});

test('a store that may come back, or of which nobody knows, keeps its patience', async () => {
  let asked = 0;
  const waited = await refused(async () => (asked += 1) === 0);
  expect(waited.ms).toBeGreaterThanOrEqual(399);
  expect(asked).toBeGreaterThan(1);
  expect(waited.message).toMatch(/attempts, last: ECONNREFUSED/);
  expect((await refused()).ms).toBeGreaterThanOrEqual(399);
});
