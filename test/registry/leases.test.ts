import { afterAll, beforeAll, expect, test } from 'vitest';
import { acquireHost, readLeases, releaseHost } from '../../registry/leases.ts';
import type { Store } from '../../registry/store.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

let s3: TestS3;
let store: Store;
beforeAll(async () => {
  s3 = await startS3();
  ({ store } = s3);
}, 60_000);
afterAll(async () => s3.stop());

const at = (seconds: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, seconds));
const ask = async (holder: string, seconds: number, pool = 'pool') =>
  acquireHost(store, pool, 'host', { holder, now: at(seconds), ttlMs: 10_000 });

test('a host has one holder at a time, until the lease runs out or is given back', async () => {
  expect(await ask('a', 0)).toMatchObject({ ours: true, fence: 1 });
  expect(await ask('b', 5)).toEqual({
    ours: false,
    holder: 'a',
    fence: 1,
    expiresAt: at(10).toISOString(),
    since: at(0).toISOString(),
  });
  // Asked for again by its holder it lasts longer, under the same fence.
  expect(await ask('a', 9)).toMatchObject({ ours: true, fence: 1 });
  expect(await ask('b', 18)).toMatchObject({ ours: false });
  expect(await ask('b', 19)).toMatchObject({ ours: true, fence: 2 });
  // Whoever was away too long learns it, and cannot give back what is not his.
  expect(await ask('a', 20)).toMatchObject({ ours: false, holder: 'b' });
  await releaseHost(store, 'pool', 'host', { holder: 'a' });
  expect(await ask('a', 20)).toMatchObject({ ours: false });
  await releaseHost(store, 'pool', 'host', { holder: 'b' });
  expect(await ask('a', 20)).toMatchObject({ ours: true, fence: 3 });
  expect((await readLeases(store, 'pool')).hosts['host']?.holder).toBe('a');
  await releaseHost(store, 'pool', 'never-leased', { holder: 'a' });
});

test('a lease that ran out is regained by its holder, when nobody else was faster', async () => {
  expect(await ask('a', 0, 'lapsed')).toMatchObject({ ours: true, fence: 1 });
  expect(await ask('a', 40, 'lapsed')).toMatchObject({ ours: true, fence: 2 });
  expect(await ask('b', 45, 'lapsed')).toMatchObject({ ours: false, holder: 'a' });
});

test('of those who ask for a host at once, one gets it', { timeout: 60_000 }, async () => {
  const asked = await Promise.all(['a', 'b', 'c', 'd'].map((holder) => ask(holder, 0, 'busy')));
  expect(asked.filter(({ ours }) => ours)).toHaveLength(1);
});
