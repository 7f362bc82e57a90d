import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Head, Meeting } from '../../config/manifests.ts';
import { putBlob } from '../../registry/blobs.ts';
import { commitMeeting } from '../../registry/gangs.ts';
import { hasGpus, livingGpus, livingHosts, reportHost } from '../../registry/hosts.ts';
import { acquireHost, acquireHosts, readLeases } from '../../registry/leases.ts';
import type { Store } from '../../registry/store.ts';
import { commitCheckpoint, openGeneration } from '../../registry/training.ts';
import { checkpointOf, digestOf } from '../support/records.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

let s3: TestS3;
let store: Store;
beforeAll(async () => {
  s3 = await startS3();
  ({ store } = s3);
}, 60_000);
afterAll(async () => s3.stop());

const at = (seconds: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, seconds));
const ask = (pool: string, holder: string, hosts: string[], sizes: number[], seconds = 0) =>
  acquireHosts(store, pool, hosts, sizes, { holder, now: at(seconds), ttlMs: 10_000 });

test('hosts are leased together or not at all, the first that are free', async () => {
  await acquireHost(store, 'some', 'h1', { holder: 'a', now: at(0), ttlMs: 10_000 });
  expect(await ask('some', 'b', ['h1', 'h2'], [2])).toEqual([]);
  expect(Object.keys((await readLeases(store, 'some')).hosts)).toEqual(['h1']);
  expect(await ask('some', 'b', ['h1', 'h2', 'h3'], [2])).toEqual(['h2', 'h3']);
  // Its holder lengthens them; another takes over what ran out.
  expect(await ask('some', 'b', ['h3', 'h2'], [2], 5)).toEqual(['h3', 'h2']);
  expect(await ask('some', 'c', ['h1', 'h2', 'h3'], [2], 12)).toEqual([]);
  expect(await ask('some', 'c', ['h1', 'h2', 'h3'], [2, 1], 12)).toEqual(['h1']);
  expect(await ask('some', 'c', ['h1', 'h2', 'h3'], [2], 16)).toEqual(['h1', 'h2']);
  expect((await readLeases(store, 'some')).hosts['h2']?.fence).toBe(2);
});

test('of those who ask for overlapping hosts at once, none waits for another', async () => {
  const hosts = ['h1', 'h2', 'h3'];
  const got = await Promise.all(
    ['a', 'b', 'c', 'd'].map((holder, index) =>
      ask('busy', holder, [...hosts.slice(index % 3), ...hosts.slice(0, index % 3)], [2]),
    ),
  );
  expect(got.map((mine) => mine.length).toSorted()).toEqual([0, 0, 0, 2]);
});

test('a host that was not heard of for 45 seconds does not live', async () => {
  for (const [host, seconds] of [
    ['h2', 0],
    ['h1', 20],
  ] as const) {
    const report = { schemaVersion: 1 as const, host, address: '10.0.0.1' };
    await reportHost(store, 'heard', { ...report, at: at(seconds).toISOString() });
  }
  const names = async (seconds: number) =>
    (await livingHosts(store, 'heard', at(seconds))).map(({ host }) => host);
  expect(await names(30)).toEqual(['h1', 'h2']);
  expect(await names(50)).toEqual(['h1']);
  expect(await names(70)).toEqual([]);
});

test('reports that another version of Temper wrote are read as far as they are known, and hide no other', async () => {
  const report = { schemaVersion: 1 as const, host: 'h1', at: at(0).toISOString() };
  await reportHost(store, 'mixed', report);
  const others = { h2: { ...report, host: 'h2', cores: 8 }, h3: { ...report, schemaVersion: 2 } };
  for (const [host, said] of Object.entries(others))
    await store.replace(`hosts/mixed/${host}.json`, Buffer.from(JSON.stringify(said)), null);
  expect(await livingHosts(store, 'mixed', at(10))).toEqual([report, { ...report, host: 'h2' }]);
  await reportHost(store, 'mixed', { ...report, host: 'h3' });
  expect(await livingHosts(store, 'mixed', at(10))).toHaveLength(3);
});

test('the GPUs to plan for are the least that a living host has, though it trains with no others', async () => {
  const gpu = { name: 'NVIDIA A100', count: 8, memoryBytes: 80e9 };
  const said = { schemaVersion: 1 as const, at: at(0).toISOString() };
  await reportHost(store, 'gpus', { ...said, host: 'none', address: '10.0.0.1' });
  expect(await livingGpus(store, 'gpus', at(10))).toBeNull();
  await reportHost(store, 'gpus', { ...said, host: 'large', gpu });
  await reportHost(store, 'gpus', { ...said, host: 'small', gpu: { ...gpu, count: 2 } });
  expect(await livingGpus(store, 'gpus', at(10))).toEqual({ ...gpu, count: 2 });
  expect(await livingGpus(store, 'gpus', at(60))).toBeNull();
});

test('several hosts are planned for with what enough of one kind have', async () => {
  const a100 = { name: 'NVIDIA A100', count: 8, memoryBytes: 40e9 };
  const l40s = { name: 'NVIDIA L40S', count: 1, memoryBytes: 48e9 };
  const said = { schemaVersion: 1 as const, at: at(0).toISOString(), address: '10.0.0.1' };
  await reportHost(store, 'kinds', { ...said, host: 'a', gpu: a100 });
  // Fewer, though larger: what both have is neither.
  const other = { ...a100, count: 2, memoryBytes: 80e9 };
  await reportHost(store, 'kinds', { ...said, host: 'b', gpu: other });
  await reportHost(store, 'kinds', { ...said, host: 'c', gpu: l40s });
  const { address: _, ...alone } = said;
  await reportHost(store, 'kinds', { ...alone, host: 'd', gpu: l40s });
  expect(await livingGpus(store, 'kinds', at(10))).toEqual(l40s);
  const both = await livingGpus(store, 'kinds', at(10), 2);
  expect(both).toEqual({ ...a100, count: 2 });
  for (const has of [a100, other]) expect(hasGpus(has, both!)).toBe(true);
  for (const lacks of [l40s, null, undefined]) expect(hasGpus(lacks, both!)).toBe(false);
  expect(hasGpus(null, undefined)).toBe(true);
});

test('other numbers of hosts than planned are noted with their step, and no later checkpoint is gone on from', async () => {
  const trial = { run: 'worlds', phase: 'pretrain', round: 0, trial: 0 };
  const file = await putBlob(store, Buffer.from('weights'));
  let fence = 0;
  const meet = async (numHosts: number, step: number): Promise<Head> => {
    fence += 1;
    const writer = `w${fence}`;
    await openGeneration(store, trial, { stage: digestOf('5'), writer });
    const hosts = Array.from({ length: numHosts }, (_, index) => `h${index}`);
    const meeting: Meeting = { meeting: writer, hosts, address: '10.0.0.1', port: 1234, step };
    return await commitMeeting(store, trial, { fence, writer }, { meeting, numPlanned: 2 });
  };
  const train = async (step: number) =>
    await commitCheckpoint(
      store,
      trial,
      { fence, writer: `w${fence}` },
      checkpointOf(step, fence, file),
    );
  const told = ({ worlds, chain }: Head) => ({ worlds, steps: chain.map(({ step }) => step) });

  expect(told(await meet(2, 0))).toEqual({ worlds: undefined, steps: [] });
  await train(10);
  await train(20);
  await train(30);
  // The checkpoint of step 30 could not be read.
  expect(told(await meet(2, 20))).toEqual({ worlds: undefined, steps: [10, 20, 30] });
  expect(told(await meet(1, 20))).toEqual({
    worlds: [{ step: 20, numHosts: 1 }],
    steps: [10, 20],
  });
  await train(30);
  expect(told(await meet(1, 30))).toEqual({
    worlds: [{ step: 20, numHosts: 1 }],
    steps: [10, 20, 30],
  });
  const both = [
    { step: 20, numHosts: 1 },
    { step: 30, numHosts: 2 },
  ];
  expect(told(await meet(2, 30))).toEqual({ worlds: both, steps: [10, 20, 30] });
  // Back to before it was otherwise, it is as planned.
  expect(told(await meet(2, 10)).worlds).toBeUndefined();
  const stale = { fence: 1, writer: 'w1' };
  const meeting: Meeting = { meeting: 'w1', hosts: ['h'], address: '10.0.0.1', port: 1, step: 0 };
  await expect(
    commitMeeting(store, trial, stale, { meeting, numPlanned: 2 }),
  ).rejects.toMatchObject({ name: 'Fenced' });
});
