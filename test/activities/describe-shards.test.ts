import { afterAll, beforeAll, expect, test } from 'vitest';
import { createShardDescriber } from '../../activities/describe-shards.ts';
import { putJsonLines } from '../../registry/blobs.ts';
import { documentOf } from '../client/datasets-fixture.ts';
import { startFixture, type Fixture } from './corpus-fixtures.ts';

let fixture: Fixture;
beforeAll(async () => {
  fixture = await startFixture();
});
afterAll(async () => {
  await fixture.stop();
});

test('shards that were described before are not read again, and add up', async () => {
  const { store } = fixture.deps;
  const shards = await Promise.all(
    [[1, 2, 3], [4, 5], [10]].map(async (numbers) => ({
      documents: await putJsonLines(store, numbers.map(documentOf)),
    })),
  );
  const first = await createShardDescriber(fixture.deps).describe(shards);
  expect(first?.distributions).toMatchObject({
    domains: { top: [{ name: 'example.org', numDocuments: 2 }] },
    licenses: { top: [{ name: 'MIT', numDocuments: 1 }] },
    dates: null,
  });
  const read: string[] = [];
  const get: typeof store.get = async (key) => {
    read.push(key);
    return store.get(key);
  };
  const describer = createShardDescriber({ ...fixture.deps, store: { ...store, get } });
  expect(await describer.describe(shards.toReversed())).toEqual(first);
  expect(read).toHaveLength(shards.length);
  expect(read.every((key) => key.startsWith('stages/describe-shard/'))).toBe(true);
});

test('a version whose documents are gone and were never counted is left without counts', async () => {
  const gone = { documents: { sha256: 'a'.repeat(64), bytes: 1 }, numDocuments: 1 };
  expect(await createShardDescriber(fixture.deps).describe([gone])).toBeNull();
});
