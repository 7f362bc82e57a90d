import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { getDataset, latestDataset, listDatasets } from '../../registry/datasets.ts';
import {
  declareDeployment,
  listDeployments,
  readDeployment,
  readNodeReports,
  reportNode,
} from '../../registry/deployments.ts';
import { AliasMoved } from '../../registry/errors.ts';
import { readRecord, updateRecord } from '../../registry/json.ts';
import {
  getModel,
  listModels,
  listVersions,
  moveAlias,
  readAlias,
  registerModel,
} from '../../registry/models.ts';
import { getRunRecord, putRunRecord } from '../../registry/runs.ts';
import { findStage, recordStage, stageDigest } from '../../registry/stages.ts';
import type { Store } from '../../registry/store.ts';
import { datasetOf, digestOf, registerDataset, versionOf } from '../support/records.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

let s3: TestS3;
let store: Store;

beforeAll(async () => {
  s3 = await startS3();
  ({ store } = s3);
}, 60_000);
afterAll(async () => s3.stop());

const at = (seconds: number): Date => new Date(Date.UTC(2026, 0, 1) + seconds * 1000);
const counterSchema = z.strictObject({ schemaVersion: z.literal(1), value: z.number() });
type Counter = z.infer<typeof counterSchema>;

test('of changes to one record that come at once, none is lost', { timeout: 60_000 }, async () => {
  const add = async (): Promise<Counter> =>
    updateRecord(store, 'counter.json', counterSchema, (current) => ({
      schemaVersion: 1,
      value: (current?.value ?? 0) + 1,
    }));
  await Promise.all(Array.from({ length: 6 }, add));
  expect((await readRecord(store, 'counter.json', counterSchema))?.value.value).toBe(6);
});

test('a change that changes nothing writes nothing', async () => {
  const value: Counter = { schemaVersion: 1, value: 1 };
  await updateRecord(store, 'same.json', counterSchema, () => value);
  const frozen: Store = { ...store, replace: async (key) => expect.unreachable(`wrote ${key}`) };
  expect(await updateRecord(frozen, 'same.json', counterSchema, () => value)).toEqual(value);
});

test('a record of another schema version says which, and what to do', async () => {
  await store.putIfAbsent('future.json', Buffer.from('{"schemaVersion":7,"value":1}'));
  await expect(readRecord(store, 'future.json', counterSchema)).rejects.toThrow(
    /^future\.json has schemaVersion 7, which this Temper cannot read .* Use the version of Temper/,
  );
  await store.putIfAbsent('none.json', Buffer.from('{"value":1}'));
  await expect(readRecord(store, 'none.json', counterSchema)).rejects.toThrow('schemaVersion none');
});

test('a record that is damaged is named, and is never replaced', async () => {
  await store.putIfAbsent('text.json', Buffer.from('{"schema'));
  await expect(readRecord(store, 'text.json', counterSchema)).rejects.toThrow(
    'text.json is not JSON',
  );
  await store.putIfAbsent('wrong.json', Buffer.from('{"schemaVersion":1,"value":"x"}'));
  const change = updateRecord(store, 'wrong.json', counterSchema, () => ({
    schemaVersion: 1,
    value: 2,
  }));
  await expect(change).rejects.toMatchObject({ name: 'InvalidRecord' });
  expect(String((await store.get('wrong.json'))?.bytes)).toContain('"x"');
});

test('a name cannot leave its folder', async () => {
  for (const name of ['../secrets', 'a/b', '', '.hidden', 'a b']) {
    await expect(latestDataset(store, name)).rejects.toThrow('cannot be part of a key');
  }
});

test('the first manifest of a stage wins, and later ones adopt it', async () => {
  const digest = stageDigest({ inputs: [digestOf('1')], code: 'v1' });
  expect(digest).toBe(stageDigest({ code: 'v1', inputs: [digestOf('1')] }));
  expect(await findStage(store, 'clean', digest, counterSchema)).toBeNull();
  const recorded = await Promise.all(
    [1, 2, 3].map(async (value) =>
      recordStage(store, 'clean', digest, counterSchema, { schemaVersion: 1, value }),
    ),
  );
  expect(new Set(recorded.map(({ value }) => value)).size).toBe(1);
  expect(await findStage(store, 'clean', digest, counterSchema)).toEqual(recorded[0]);
});

test('datasets are numbered, and one that is registered keeps its number', async () => {
  const versions = [];
  for (const letter of ['1', '2', '1']) {
    versions.push((await registerDataset(store, datasetOf('sotu', digestOf(letter)))).version);
  }
  expect(versions).toEqual([1, 2, 1]);
  await registerDataset(store, datasetOf('novels', digestOf('1')));
  expect((await latestDataset(store, 'sotu'))?.digest).toBe(digestOf('2'));
  expect((await getDataset(store, 'sotu', 1))?.digest).toBe(digestOf('1'));
  expect(await getDataset(store, 'sotu', 3)).toBeNull();
  expect(await latestDataset(store, 'unknown')).toBeNull();
  expect((await listDatasets(store)).map(({ name, version }) => `${name}@${version}`)).toEqual([
    'novels@1',
    'sotu@1',
    'sotu@2',
  ]);
});

test('datasets registered at once get different numbers, equal ones the same', async () => {
  const found = await Promise.all(
    ['1', '2', '3', '1', '2'].map((letter) =>
      registerDataset(store, datasetOf('at-once', digestOf(letter))),
    ),
  );
  const numbers = found.map(({ version }) => version);
  expect(new Set(numbers)).toEqual(new Set([1, 2, 3]));
  expect(numbers.slice(3)).toEqual(numbers.slice(0, 2));
});

test('a model is reused when bundle, phases and dataset are the same, else numbered', async () => {
  const first = await registerModel(store, versionOf('m', digestOf('1')), at(0));
  expect(first).toMatchObject({ version: { version: 1, createdAt: at(0).toISOString() } });
  expect(first.reused).toBe(false);
  const again = await registerModel(store, versionOf('m', digestOf('1')), at(60));
  expect(again).toEqual({ version: first.version, reused: true });
  // A version of before lineages named the stage of each phase keeps its number, too.
  const named = versionOf('m', digestOf('1'));
  named.lineage.phases = named.lineage.phases.map((phase) => ({ ...phase, stage: digestOf('7') }));
  expect(await registerModel(store, named, at(60))).toMatchObject({ reused: true });
  // The same bundle by another way is another version.
  const other = await registerModel(store, versionOf('m', digestOf('1'), digestOf('9')), at(60));
  expect(other).toMatchObject({ version: { version: 2 }, reused: false });
  expect((await listVersions(store, 'm')).map(({ version }) => version)).toEqual([1, 2]);
  expect(await getModel(store, 'm', 2)).toEqual(other.version);
  expect(await getModel(store, 'm', 3)).toBeNull();
  expect(await listModels(store)).toEqual(['m']);
});

test('an alias moves only to versions that exist, and keeps its past', async () => {
  await registerModel(store, versionOf('aliased', digestOf('1')), at(0));
  await registerModel(store, versionOf('aliased', digestOf('2')), at(0));
  expect(await readAlias(store, 'aliased', 'champion')).toBeNull();
  const move = async (version: number, seconds: number) =>
    moveAlias(store, 'aliased', 'champion', {
      version,
      by: 'test',
      reason: 'because',
      now: at(seconds),
    });
  await move(1, 1);
  await move(2, 2);
  expect((await move(2, 3)).moves).toHaveLength(2);
  const back = await move(1, 4);
  expect(back.version).toBe(1);
  expect(back.moves.map(({ version }) => version)).toEqual([1, 2, 1]);
  expect(await readAlias(store, 'aliased', 'champion')).toEqual(back);
  await expect(move(7, 5)).rejects.toThrow('aliased@7 does not exist: expected one of 1, 2.');
});

test('a conditional move is made only from where it is expected, and made again is no second one', async () => {
  for (const letter of ['1', '2', '3']) {
    await registerModel(store, versionOf('guarded', digestOf(letter)), at(0));
  }
  const move = async (version: number, expected?: number | null) =>
    moveAlias(store, 'guarded', 'champion', {
      version,
      by: 'ann',
      reason: 'better tone',
      now: at(version),
      expected,
    });
  await move(1, null);
  await move(2, 1);
  // Its answer was lost: asked again, it is as it should be.
  expect((await move(2, 1)).moves).toHaveLength(2);
  const late: unknown = await move(3, 1).catch((error: unknown) => error);
  expect(late).toBeInstanceOf(AliasMoved);
  expect(late).toMatchObject({
    version: 2,
    message:
      'guarded@3 stays registered and is not promoted: when its run began guarded@1 was champion, ' +
      'now guarded@2 is (ann: better tone). To promote it all the same: npx temper models promote guarded@3',
  });
  await expect(move(3, null)).rejects.toThrow('when its run began there was no champion, now');
  expect((await readAlias(store, 'guarded', 'champion'))?.version).toBe(2);
  expect((await move(3)).version).toBe(3);
});

test('of two challengers of one champion that end at once, one is promoted', async () => {
  for (const letter of ['1', '2', '3']) {
    await registerModel(store, versionOf('raced', digestOf(letter)), at(0));
  }
  const move = async (version: number, expected: number | null) =>
    moveAlias(store, 'raced', 'champion', { version, by: 'a', reason: 'b', now: at(1), expected });
  await move(1, null);
  const ends = await Promise.allSettled([move(2, 1), move(3, 1)]);
  expect(ends.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  expect((await readAlias(store, 'raced', 'champion'))?.moves).toHaveLength(2);
});

test('a rollback at the very time of the move is still a move', async () => {
  await registerModel(store, versionOf('frozen', digestOf('1')), at(0));
  await registerModel(store, versionOf('frozen', digestOf('2')), at(0));
  for (const version of [1, 2, 1]) {
    await moveAlias(store, 'frozen', 'champion', { version, by: 'a', reason: 'b', now: at(0) });
  }
  expect((await readAlias(store, 'frozen', 'champion'))?.version).toBe(1);
});

test('each new declaration of an endpoint is a generation, the same one is not', async () => {
  const declare = async (version: number) =>
    declareDeployment(store, {
      endpoint: 'policy',
      model: 'm',
      version,
      bundle: digestOf(String(version)),
      declaredAt: at(version).toISOString(),
      reason: 'test',
    });
  expect((await declare(1)).generation).toBe(1);
  expect((await declare(1)).generation).toBe(1);
  const second = await declare(2);
  expect(second.generation).toBe(2);
  expect((await declare(1)).generation).toBe(3);
  const report = (node: string, generation: number) => ({
    schemaVersion: 1 as const,
    node,
    endpoint: 'policy',
    generation,
    bundle: null,
    failure: null,
    trying: null,
    url: 'http://127.0.0.1:8080',
    at: at(0).toISOString(),
  });
  await reportNode(store, report('b', 1));
  await reportNode(store, report('a', 2));
  await reportNode(store, report('b', 3));
  expect(await readNodeReports(store, 'policy')).toEqual([report('a', 2), report('b', 3)]);
  expect((await readDeployment(store, 'policy'))?.generation).toBe(3);
  expect(await readDeployment(store, 'unknown')).toBeNull();
  expect((await listDeployments(store)).map(({ endpoint }) => endpoint)).toEqual(['policy']);
});

test('the records of a run can be read back, and replaced', async () => {
  expect(await getRunRecord(store, 'run-1', 'cost', counterSchema)).toBeNull();
  for (const value of [1, 2]) {
    await putRunRecord(store, 'run-1', 'cost', { schemaVersion: 1, value });
  }
  expect(await getRunRecord(store, 'run-1', 'cost', counterSchema)).toMatchObject({ value: 2 });
});
