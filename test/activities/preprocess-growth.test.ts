/** A corpus of a dataset that grows: what earlier versions kept, trained on and held out stays so. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createIngestActivities } from '../../activities/ingest.ts';
import { deduplicatedSchema, splitSchema } from '../../activities/preprocess-records.ts';
import { ThreadPool } from '../../activities/preprocess-threads.ts';
import { createPreprocessActivities } from '../../activities/preprocess.ts';
import type { Document, DroppedDocument } from '../../config/manifests.ts';
import { readBlob, readJsonLines } from '../../registry/blobs.ts';
import { findStage } from '../../registry/stages.ts';
import { english, seeded } from '../corpus/random.ts';
import { inActivity, pathSource, startFixture, type Fixture } from './corpus-fixtures.ts';

let fixture: Fixture;
let activities: ReturnType<typeof createPreprocessActivities>;
const threads = new ThreadPool(2);
beforeAll(async () => {
  fixture = await startFixture();
  activities = createPreprocessActivities(fixture.deps, threads);
});
afterAll(async () => {
  await threads.close();
  await fixture.stop();
});

const data = { personalData: 'keep', quality: false, heldOut: 0.02, maxDropped: 0.9 } as const;
const random = seeded(21);
const texts = Array.from({ length: 12 }, () => english(random, 300));

async function version(source: string, onto: number, documents: readonly string[]) {
  const { store } = fixture.deps;
  await fixture.put(
    `${source}/a.jsonl`,
    documents.map((text) => JSON.stringify({ text })).join('\n'),
  );
  const { ingestCorpus } = createIngestActivities(fixture.deps);
  const input = { run: 'r', name: 'grown', sources: [pathSource(source)], baseDir: fixture.folder };
  const { dataset } = (await inActivity(ingestCorpus, { ...input, onto })).result;
  const asked = { dataset, data, unread: {} };
  const whole = (await inActivity(activities.resolveDuplicates, asked)).result;
  const split = (
    await inActivity(activities.splitCorpus, {
      duplicates: whole.duplicates,
      heldOut: data.heldOut,
      questions: [],
      seed: 1,
    })
  ).result;
  const { shards, heldOut } = (await findStage(store, 'split', split.split, splitSchema))!;
  const deduplicated = await findStage(store, 'deduplicate', whole.duplicates, deduplicatedSchema);
  const trained = await Promise.all(
    shards.map(async ({ documents: ref }) => (await readJsonLines(store, ref)) as Document[]),
  );
  const held = (await readBlob(store, heldOut.documents)).toString('utf8').trim().split('\n');
  return {
    dropped: (await readJsonLines(store, deduplicated!.dropped)) as DroppedDocument[],
    since: deduplicated!.since,
    trained: new Set(trained.flat().map(({ id }) => id)),
    heldOut: new Set(held.map((line) => (JSON.parse(line) as Document).id)),
  };
}

test('copies that are appended are dropped for the older document, and nothing changes sides', async () => {
  const first = await version('old', 0, texts);
  expect(first.trained.size + first.heldOut.size).toBe(texts.length);
  expect(first.since).toBeUndefined();
  // Some of which have the smaller content hash, whichever that is.
  const copies = texts.flatMap((text) => [`${text} More.`, `${text} And more.`]);
  const others = Array.from({ length: 8 }, () => english(random, 300));
  const second = await version('new', 1, [...copies, ...others, texts[0]!]);
  expect(second.since).toEqual([1, 2]);
  expect(second.dropped.map(({ source }) => source.split('/')[0])).toEqual(
    Array<string>(copies.length + 1).fill('new'),
  );
  for (const { survivor } of second.dropped) expect(survivor).toMatch(/^old\//);
  expect(second.trained.intersection(first.trained)).toEqual(first.trained);
  expect(second.heldOut.intersection(first.heldOut)).toEqual(first.heldOut);
  expect(second.trained.size + second.heldOut.size).toBe(texts.length + others.length);
}, 60_000);
