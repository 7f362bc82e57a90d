import { appendFileSync, cpSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
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

test('shards are described again where languages would be told otherwise', async () => {
  const { store } = fixture.deps;
  const shard = { documents: await putJsonLines(store, [documentOf(31)]) };
  const projectDir = mkdtempSync(path.join(os.tmpdir(), 'temper-describe-'));
  const copied = ['config/languages.ts', 'node_modules/eld/package.json'];
  const counting = ['describe-shard', 'document-date', 'statistics'];
  for (const name of ['languages', 'languages-table', 'characters', ...counting])
    copied.push(`corpus/${name}.ts`);
  for (const file of copied)
    cpSync(path.join(fixture.deps.projectDir, file), path.join(projectDir, file));
  const numRecords = async () =>
    (await Array.fromAsync(store.list('stages/describe-shard/'))).length;
  try {
    await createShardDescriber(fixture.deps).describe([shard]);
    const before = await numRecords();
    await createShardDescriber({ store, projectDir }).describe([shard]);
    expect(await numRecords()).toBe(before);
    for (const [index, file] of copied.entries()) {
      appendFileSync(path.join(projectDir, file), '\n');
      await createShardDescriber({ store, projectDir }).describe([shard]);
      expect(await numRecords()).toBe(before + index + 1);
    }
  } finally {
    rmSync(projectDir, { recursive: true });
  }
});

test('a version whose documents are gone and were never counted is left without counts', async () => {
  const gone = { documents: { sha256: 'a'.repeat(64), bytes: 1 }, numDocuments: 1 };
  expect(await createShardDescriber(fixture.deps).describe([gone])).toBeNull();
});
