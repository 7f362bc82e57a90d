/** Every format in one folder, on data workers that are processes of their own and are killed in the middle. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { explained, formatData } from '../../bench/formats.ts';
import {
  formatSources,
  writeEveryFormat,
  type EveryFormat,
} from '../../bench/support/every-format.ts';
import { startGround, type Ground } from '../../bench/support/killed-workers.ts';
import { readPipelineFile } from '../../client/pipeline-file.ts';

let folder: string;
let made: EveryFormat;
let ground: Ground;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'temper-every-format-'));
  made = writeEveryFormat(folder, 500);
  ground = await startGround(3);
}, 60_000);
afterAll(async () => {
  await ground.stop();
  await rm(folder, { recursive: true, force: true });
});

test('one, two and three data workers, one killed each time, make the same dataset and corpus of every format', async () => {
  const shared = { sources: formatSources, baseDir: folder, data: formatData };
  const [one, two, three] = await Promise.all([
    ground.prepare({ numWorkers: 1, diesBefore: '2 stages/clean-shard/', ...shared }),
    ground.prepare({ numWorkers: 2, diesBefore: '2 stages/scatter/', ...shared }),
    ground.prepare({ numWorkers: 3, diesBefore: '2 stages/bucket/', ...shared }),
  ]);
  expect([one.numKilled, two.numKilled, three.numKilled]).toEqual([1, 1, 1]);
  expect(one.dataset.shards.length).toBeGreaterThan(2);
  expect([two.dataset, three.dataset]).toEqual([one.dataset, one.dataset]);
  expect([two.corpus, three.corpus]).toEqual([one.corpus, one.corpus]);
  expect([two.manifest, three.manifest]).toEqual([one.manifest, one.manifest]);

  const { unexplained, reasons } = explained(made, one);
  expect(unexplained).toEqual([]);
  const { numDocuments, statistics } = { ...one.dataset, ...one.manifest };
  expect(one.sources).toHaveLength(numDocuments);
  const sum = (counts: Record<string, number>): number =>
    Object.values(counts).reduce((total, count) => total + count, 0);
  expect(sum(reasons)).toBe(sum(one.dataset.dropped) + sum(statistics.dropped));
  expect(numDocuments - sum(statistics.dropped)).toBe(statistics.kept);
  expect(one.dropped.every(({ detail, reason }) => detail !== '' && reason !== '')).toBe(true);
}, 120_000);

test('the pipeline file beside the folder names its sources', async () => {
  const { pipeline } = await readPipelineFile(path.join(folder, 'pipeline.yaml'));
  expect(pipeline.data.sources).toEqual(formatSources);
});
