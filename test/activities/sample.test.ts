import { afterAll, beforeAll, expect, test } from 'vitest';
import { createIngestActivities, type IngestInput } from '../../activities/ingest.ts';
import type { Document } from '../../config/manifests.ts';
import { readJsonLines } from '../../registry/blobs.ts';
import { getDataset } from '../../registry/datasets.ts';
import { describeDataset } from '../../workflows/describe.ts';
import {
  failureOf,
  inActivity,
  pathSource,
  startFixture,
  type Fixture,
} from './corpus-fixtures.ts';

let fixture: Fixture;
let ingest: ReturnType<typeof createIngestActivities>['ingestCorpus'];
beforeAll(async () => {
  fixture = await startFixture();
  ingest = createIngestActivities(fixture.deps).ingestCorpus;
  const lines = Array.from({ length: 400 }, (_, index) => `{"text":"text number ${index}"}`);
  await fixture.put('forward/a.jsonl', lines.join('\n'));
  await fixture.put('backward/forward/a.jsonl', lines.toReversed().join('\n'));
  await fixture.put('unread/a.jsonl', [...lines, ...lines.map(() => '{"none":1}')].join('\n'));
  await fixture.put('few/a.txt', 'one');
});
afterAll(() => fixture.stop());

const take = async (name: string, source: string, sample?: number, baseDir = fixture.folder) => {
  const input: IngestInput = { run: 'r', name, sources: [pathSource(source)], baseDir };
  return (await inActivity(ingest, sample === undefined ? input : { ...input, sample })).result;
};
const textsOf = async ({ dataset }: Awaited<ReturnType<typeof take>>): Promise<string[]> => {
  const manifest = (await getDataset(fixture.deps.store, dataset.name, dataset.version))!;
  const shards = manifest.shards.map((s) => readJsonLines(fixture.deps.store, s.documents));
  return ((await Promise.all(shards)).flat() as Document[]).map(({ text }) => text);
};

test('a sample takes about its share, and a larger one holds the smaller', async () => {
  const [tenth, half] = [await take('tenth', 'forward', 0.1), await take('half', 'forward', 0.5)];
  expect(tenth.numDocuments).toBeGreaterThan(20);
  expect(tenth.numDocuments).toBeLessThan(65);
  expect(half.numDocuments).toBeGreaterThan(165);
  expect(half.numDocuments).toBeLessThan(235);
  expect([tenth.sampledFrom, half.sampledFrom]).toEqual([400, 400]);
  const larger = new Set(await textsOf(half));
  expect((await textsOf(tenth)).filter((text) => !larger.has(text))).toEqual([]);
});

test('the same documents are taken whatever their order', async () => {
  const forward = await textsOf(await take('order-a', 'forward', 0.2));
  const backward = await take('order-b', 'forward', 0.2, `${fixture.folder}/backward`);
  expect((await textsOf(backward)).toSorted()).toEqual(forward.toSorted());
});

test('the sample is part of the digest, and a whole one is none', async () => {
  const whole = await take('digest', 'forward');
  expect(await take('digest', 'forward', 1)).toEqual({ ...whole, reused: true });
  expect(whole.sampledFrom).toBeUndefined();
  // So near to all that nothing is left out: another dataset nevertheless.
  const almost = await take('digest', 'forward', 0.999_999_9);
  expect(almost.numDocuments).toBe(400);
  expect(almost.dataset.digest).not.toBe(whole.dataset.digest);
});

test('what cannot be read is sampled alike, so that its share stays', async () => {
  const { numDocuments, dropped } = await take('unread', 'unread', 0.1);
  expect(dropped['no_text']! / (dropped['no_text']! + numDocuments)).toBeCloseTo(0.5, 0);
  expect(dropped['no_text']).toBeLessThan(65);
});

test('a sample of nothing says so', async () => {
  const failure = await failureOf(() => take('few', 'few', 0.000_001));
  expect(failure.message).toBe(
    'data.sample: 0.0001% of 1 documents takes none. Raise it, or leave it out to take all.',
  );
});

test('the progress line says what the sample is of', () => {
  const result = { dataset: { name: 'law', version: 2, digest: '' }, numDocuments: 12, bytes: 1 };
  const line = describeDataset({ ...result, sampledFrom: 1204, dropped: {}, reused: false });
  expect(line).toBe('12 of 1204 documents, a sample, law@2');
  expect(describeDataset({ ...result, dropped: {}, reused: false })).toBe('12 documents, law@2');
});
