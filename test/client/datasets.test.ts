/** Looking into datasets: what became of every document, what changed, what is handed on. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { rename } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { dataCard } from '../../client/datasets/card.ts';
import { diffDatasets } from '../../client/datasets/diff.ts';
import { exportDataset } from '../../client/datasets/export.ts';
import { inspectDataset, listDropped } from '../../client/datasets/inspect.ts';
import { hubLicense, licenseOf } from '../../client/datasets/licenses.ts';
import { Sample } from '../../client/datasets/sample.ts';
import { trainedIds, trainedTexts } from '../../client/datasets/texts.ts';
import { corpusManifestSchema, type CorpusManifest } from '../../config/manifests.ts';
import { sourceSchema } from '../../config/sources.ts';
import { openSource, readSource } from '../../corpus/sources.ts';
import { newestCorpus } from '../../registry/corpora.ts';
import { getDataset } from '../../registry/datasets.ts';
import { recordStage } from '../../registry/stages.ts';
import { digestOf, registerDataset } from '../support/records.ts';
import { runCommand } from '../support/command.ts';
import { startS3, type TestS3 } from '../support/s3.ts';
import { documentOf, makeCorpus, makeVersions } from './datasets-fixture.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'temper-datasets-'));
let s3: TestS3;
let corpus: string;
beforeAll(async () => {
  s3 = await startS3();
  await makeVersions(s3.store);
  corpus = await makeCorpus(s3.store);
});
afterAll(async () => {
  await s3?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const place = (name: string): string => path.join(folder, name);
const temper = (...args: string[]) => runCommand(s3, args, { cwd: folder });
const asked = { number: 3, seed: 1 };

test('what was kept and what was dropped is shown by reason, redacted, and the same for the same seed', async () => {
  const request = { reference: 'policy', ...asked };
  const seen = await inspectDataset(s3.store, request);
  expect(seen.corpus).toMatchObject({ stage: corpus, kept: 16 });
  expect(seen.kept).toHaveLength(3);
  expect(
    seen.dropped.map(({ reason, stage, count, samples }) => [reason, stage, count, samples.length]),
  ).toEqual([
    ['needs_ocr', 'ingest', 1, 1],
    ['duplicate_near', 'preprocess', 4, 3],
    ['too_short', 'preprocess', 1, 1],
  ]);
  expect(JSON.stringify(seen)).not.toContain('ann@example.com');
  for (const { source, text } of seen.kept)
    expect(text).toContain(`Rule ${source.match(/\d+/)![0]}.`);
  expect(await inspectDataset(s3.store, request)).toEqual(seen);
  const other = await inspectDataset(s3.store, { ...request, seed: 2 });
  expect(other.kept).not.toEqual(seen.kept);
});

test('texts of a mixed corpus are found, whose token shards hold other documents', async () => {
  const { manifest } = (await newestCorpus(s3.store, { name: 'policy', digest: digestOf('2') }))!;
  const mixed = { ...manifest, shards: manifest.shards.toReversed(), mixture: { sources: [] } };
  const ids = await Array.fromAsync(trainedIds(s3.store, mixed));
  expect((await trainedTexts(s3.store, mixed, ids)).size).toBe(ids.length);
});

test('a version without a corpus says so, and shows what could not be read', async () => {
  const seen = await inspectDataset(s3.store, { reference: 'policy@1', ...asked });
  expect(seen.corpus).toBeNull();
  expect(seen.notes[0]).toContain('No corpus was made of policy@1 yet');
  expect(seen.dropped.map(({ reason }) => reason)).toEqual(['needs_ocr']);
});

test('of a corpus of an older version samples are of the held-out part, which is said', async () => {
  const { manifest } = (await newestCorpus(s3.store, { name: 'policy', digest: digestOf('2') }))!;
  const { documents: _, preparation: __, ...older } = manifest;
  const name = { ...older.dataset, digest: digestOf('1') };
  const stage = digestOf('b');
  await recordStage(s3.store, 'preprocess', stage, corpusManifestSchema, {
    ...older,
    dataset: name,
  });
  const seen = await inspectDataset(s3.store, { reference: 'policy@1', ...asked });
  expect(seen.notes[0]).toContain('older version');
  expect(seen.kept.map(({ source }) => source)).toEqual(['./docs/19.md']);
  const request = {
    reference: 'policy@1',
    folder: place('old'),
    format: 'jsonl',
    cleaned: true,
  } as const;
  await expect(exportDataset(s3.store, request)).rejects.toThrow('Run its pipeline again');
});

test('what was deleted is said to be gone, and its counts stay', async () => {
  const found = (await getDataset(s3.store, 'policy', 1))!;
  const gone = { sha256: digestOf('9'), bytes: 9 };
  await registerDataset(s3.store, {
    ...found,
    name: 'expired',
    shards: [{ documents: gone, numDocuments: 20 }],
    droppedDocuments: gone,
  });
  const seen = await inspectDataset(s3.store, { reference: 'expired', ...asked });
  expect(seen.notes[0]).toContain('The list of what ingest dropped is gone');
  expect(seen.dropped).toMatchObject([{ reason: 'needs_ocr', count: 1, samples: [] }]);
  const diff = diffDatasets(s3.store, { before: 'expired', after: 'policy@1', ...asked });
  await expect(diff).rejects.toThrow('expired@1: its documents are gone');
  const request = {
    reference: 'expired',
    folder: place('e'),
    format: 'jsonl',
    cleaned: false,
  } as const;
  await expect(exportDataset(s3.store, request)).rejects.toThrow('its documents are gone');
  await expect(diffDatasets(s3.store, { before: 'expired', ...asked })).rejects.toThrow(
    'found version 1 alone',
  );
});

test('a corpus that was parted by age still shows its texts', async () => {
  const { manifest } = (await newestCorpus(s3.store, { name: 'policy', digest: digestOf('2') }))!;
  const [first, second] = manifest.shards;
  const parted = { ...manifest, shards: [second!], older: [first!] };
  const ids = await Array.fromAsync(trainedIds(s3.store, parted));
  expect((await trainedTexts(s3.store, parted, ids)).size).toBe(15);
});

test('every dropped document is listed, or every one of a reason', async () => {
  const count = async (reason?: string) => {
    const { drops } = await listDropped(s3.store, {
      reference: 'policy',
      ...(reason && { reason }),
    });
    return (await Array.fromAsync(drops)).length;
  };
  expect(await count()).toBe(6);
  expect(await count('duplicate_near')).toBe(4);
  await expect(count('duplicate_neer')).rejects.toThrow('Did you mean duplicate_near?');
});

test('documents are compared by their ids, whatever shards they lie in', async () => {
  const diff = await diffDatasets(s3.store, { before: 'policy', ...asked });
  expect([diff.before.version, diff.after.version]).toEqual([1, 2]);
  expect(diff.numKept).toBe(17);
  expect(diff.numSharedShards).toBe(1);
  expect([diff.added.numDocuments, diff.removed.numDocuments]).toEqual([4, 3]);
  const bytes = [21, 22, 23, 24].map((number) => Buffer.byteLength(documentOf(number).text));
  expect(diff.added.bytes).toBe(bytes.reduce((sum, one) => sum + one, 0));
  expect(diff.added.samples.every(({ dropped }) => dropped !== null)).toBe(true);
  expect(diff.removed.samples[0]).toMatchObject({ text: null, dropped: null });
  expect(JSON.stringify(diff)).not.toContain('ann@example.com');
});

test('a version compared with itself has changed nothing, and the other way round swaps the two', async () => {
  const same = await diffDatasets(s3.store, { before: 'policy@2', after: 'policy@2', ...asked });
  expect([same.numKept, same.added.numDocuments, same.removed.numDocuments]).toEqual([21, 0, 0]);
  const back = await diffDatasets(s3.store, { before: 'policy@2', after: 'policy@1', ...asked });
  expect([back.added.numDocuments, back.removed.numDocuments]).toEqual([3, 4]);
});

test('an export is a folder of packed lines with a card that names its files', async () => {
  const made = await exportDataset(s3.store, {
    reference: 'policy@2',
    folder: place('raw'),
    format: 'jsonl',
    cleaned: false,
  });
  expect(made).toMatchObject({ numDocuments: 21, numDropped: 1, reused: false });
  expect(readdirSync(place('raw')).toSorted()).toEqual([
    'README.md',
    'data',
    'dropped.jsonl',
    'temper-export.json',
  ]);
  const rows = rowsIn(path.join(place('raw'), 'data/train-00000.jsonl.zst'));
  const { id, source, text, metadata } = documentOf(4);
  expect(rows[0]).toEqual({
    id,
    source,
    license: 'MIT',
    text,
    metadata: JSON.stringify(metadata, ['license', 'number']),
  });
  expect(rows.find((row) => row.source === './docs/6.md')!.license).toBe('internal');
  expect(rows.find((row) => row.source === 'https://example.org/5')!.license).toBe('CC-BY-4.0');
  const head = parse(readFileSync(path.join(place('raw'), 'README.md'), 'utf8').split('---')[1]!);
  expect(head).toMatchObject({
    language: ['en', 'zh'],
    license: 'other',
    size_categories: ['n<1K'],
    configs: [
      { config_name: 'default', data_files: [{ split: 'train', path: 'data/train-*.jsonl.zst' }] },
    ],
  });
});

interface ExportedRow {
  id: string;
  source: string;
  license: string;
  text: string;
}

function rowsIn(file: string): ExportedRow[] {
  const text = zstdDecompressSync(readFileSync(file)).toString('utf8');
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as ExportedRow);
}

test('what was exported is read again as it was, by either format', async () => {
  for (const format of ['jsonl', 'parquet'] as const) {
    const folder = place(`back-${format}`);
    await exportDataset(s3.store, { reference: 'policy@2', folder, format, cleaned: true });
    const source = sourceSchema.parse({ path: folder, license: 'x', include: 'data/train-*' });
    if (!('path' in source)) throw new Error('expected a path');
    const opened = await openSource(source, { baseDir: '/', projectDir: '/' });
    const texts: string[] = [];
    for await (const item of readSource(opened))
      if ('document' in item) texts.push(item.document.text);
    expect(texts).toHaveLength(15);
    expect(texts[0]).toBe('Rule 4. Write to <EMAIL>. 第4條');
  }
});

test('the same export again changes nothing; another one, or a changed one, is refused', async () => {
  const request = {
    reference: 'policy@2',
    folder: place('again'),
    format: 'jsonl',
    cleaned: true,
  } as const;
  await exportDataset(s3.store, request);
  expect((await exportDataset(s3.store, request)).reused).toBe(true);
  const other = exportDataset(s3.store, { ...request, cleaned: false });
  await expect(other).rejects.toThrow('found something else there');
  writeFileSync(path.join(place('again'), 'data/train-00000.jsonl.zst'), 'x');
  await expect(exportDataset(s3.store, request)).rejects.toThrow('the export was changed');
  mkdirSync(place('mine'));
  writeFileSync(path.join(place('mine'), 'a.txt'), 'mine');
  await expect(exportDataset(s3.store, { ...request, folder: place('mine') })).rejects.toThrow(
    'found something else there',
  );
});

test('an export says which lists of what was dropped were deleted with the documents', async () => {
  const found = (await getDataset(s3.store, 'policy', 2))!;
  const { manifest } = (await newestCorpus(s3.store, found))!;
  const gone = { sha256: digestOf('9'), bytes: 9 };
  const dataset = { ...found, name: 'forgotten', digest: digestOf('7'), droppedDocuments: gone };
  const { version, name, digest } = await registerDataset(s3.store, dataset);
  await recordStage(s3.store, 'preprocess', digestOf('8'), corpusManifestSchema, {
    ...manifest,
    dataset: { name, version, digest },
  });
  const request = { reference: name, folder: place(name), format: 'jsonl', cleaned: true } as const;
  const whole = await exportDataset(s3.store, request);
  expect(whole).toMatchObject({ numDocuments: 16, numDropped: 5 });
  expect(whole.notes).toEqual([expect.stringContaining('what ingest dropped is gone')]);
  expect(readFileSync(path.join(place(name), 'README.md'), 'utf8')).toContain(whole.notes[0]);
  expect((await exportDataset(s3.store, request)).notes).toEqual(whole.notes);
});

test('exports that make the same folder at once all have it, whole', async () => {
  const request = {
    reference: 'policy@2',
    folder: place('at-once'),
    format: 'jsonl',
    cleaned: true,
  } as const;
  const made = await Promise.all([1, 2, 3].map(() => exportDataset(s3.store, request)));
  expect(made.filter(({ reused }) => !reused)).toHaveLength(1);
  for (const one of made) expect({ ...one, reused: true }).toEqual({ ...made[0]!, reused: true });
  expect((await exportDataset(s3.store, request)).reused).toBe(true);
  expect(readdirSync(place('at-once')).toSorted()).toEqual([
    'README.md',
    'data',
    'dropped.jsonl',
    'temper-export.json',
  ]);
  expect(existsSync(place('at-once.partial'))).toBe(false);
});

test('an export that was cut off is gone on with, file by file', async () => {
  const request = {
    reference: 'policy@2',
    folder: place('cut'),
    format: 'parquet',
    cleaned: true,
  } as const;
  const first: string[] = [];
  const cut = exportDataset(s3.store, {
    ...request,
    onFile: (file) => {
      first.push(file);
      throw new Error('the machine went away');
    },
  });
  await expect(cut).rejects.toThrow('went away');
  expect(existsSync(place('cut'))).toBe(false);
  const kept = path.join(place('cut.partial'), first[0]!);
  const before = readFileSync(kept);
  const made = await exportDataset(s3.store, request);
  expect(made.files.map(({ numDocuments }) => numDocuments)).toEqual([15, 1]);
  expect(readFileSync(path.join(place('cut'), first[0]!))).toEqual(before);
  expect(existsSync(place('cut.partial'))).toBe(false);
  // What another export left behind is not mixed in.
  await rename(place('cut'), place('whole'));
  const left = exportDataset(s3.store, {
    ...request,
    cleaned: false,
    onFile: () => {
      throw new Error('gone');
    },
  });
  await expect(left).rejects.toThrow('gone');
  expect((await exportDataset(s3.store, request)).numDocuments).toBe(16);
});

test('Hugging Face’s datasets loads the folder with its splits', { timeout: 60_000 }, async () => {
  await exportDataset(s3.store, {
    reference: 'policy',
    folder: place('hub'),
    format: 'parquet',
    cleaned: true,
  });
  const program = `import datasets, json, sys
loaded = datasets.load_dataset(sys.argv[1])
row = loaded["train"][0]
print(json.dumps({"rows": {name: len(part) for name, part in loaded.items()}, "row": row, "columns": loaded["train"].column_names}))`;
  const { stdout } = await execa(path.resolve('.venv/bin/python'), ['-c', program, place('hub')], {
    env: { HF_HUB_OFFLINE: '1', HF_HOME: place('hf'), HF_DATASETS_DISABLE_PROGRESS_BARS: '1' },
  });
  const loaded = JSON.parse(stdout.split('\n').at(-1)!) as {
    rows: object;
    columns: string[];
    row: ExportedRow;
  };
  expect(loaded.rows).toEqual({ train: 15, validation: 1 });
  expect(loaded.columns).toEqual(['id', 'source', 'license', 'text', 'metadata']);
  expect(loaded.row.text).toBe('Rule 4. Write to <EMAIL>. 第4條');
});

test('the card says where documents came from, what was left out and what nobody looked for', async () => {
  const dataset = (await getDataset(s3.store, 'policy', 2))!;
  const card = dataCard({ dataset, corpus: await newestCorpus(s3.store, dataset) });
  for (const sentence of [
    '| ./docs | internal | 17 |',
    '| almost the same text',
    '- 21 e-mail addresses',
    'No evaluation sets were named',
    'addresses and names were not looked for',
    'The language of 1 document is known by its script alone',
    'Hosts of the web: example.org (4).',
  ])
    expect(card.replaceAll('duplicate near: ', '')).toContain(sentence);
  const alone = dataCard({ dataset: (await getDataset(s3.store, 'policy', 1))!, corpus: null });
  expect(alone).toContain('Not cleaned yet: a run does that before it trains');
  expect(alone).toContain('Nobody looked for personal data');
});

test('a card says of steps only what was asked', async () => {
  const dataset = (await getDataset(s3.store, 'policy', 2))!;
  const { stage, manifest } = (await newestCorpus(s3.store, dataset))!;
  const cardOf = (change: Partial<CorpusManifest['preparation']>) =>
    dataCard({
      dataset,
      corpus: {
        stage,
        manifest: { ...manifest, preparation: { ...manifest.preparation!, ...change } },
      },
    });
  expect(cardOf({})).toContain('full-width letters');
  expect(cardOf({ deduplicate: {} })).toContain('almost the same (found by MinHash)');
  const changed = cardOf({
    clean: { preset: 'usual', except: ['width'], steps: ['dates'] },
    quality: false,
    personalData: 'keep',
    decontaminate: ['evals/a.jsonl'],
    deduplicate: { near: false },
  });
  for (const sentence of [
    '| dates | 0 |',
    'No document was judged by its quality',
    'nobody looked for personal data',
    'Nobody looked for what is almost the same (`near: false`).',
    'Held against `evals/a.jsonl` by 13-grams: 0 documents left out',
  ])
    expect(changed).toContain(sentence);
  expect(changed).not.toContain('full-width letters');
});

test('what documents are called cannot break a card', async () => {
  const dataset = (await getDataset(s3.store, 'policy', 1))!;
  const hostile = { name: 'a|b\n# <script>', license: '`x`', numDocuments: 1, bytes: 1 };
  const card = dataCard({ dataset: { ...dataset, sources: [hostile] }, corpus: null });
  expect(card).toContain('| a\\|b # \\<script\\> | \\`x\\` |');
});

test('the Hub’s names of licences are used where it knows all of them', () => {
  expect(hubLicense(['CC0-1.0'])).toEqual({ license: 'cc0-1.0' });
  expect(hubLicense(['PDDL-1.0', 'GPL-3.0-only', 'MIT', 'MIT'])).toEqual({
    license: ['pddl', 'gpl-3.0', 'mit'],
  });
  expect(hubLicense(['Internal Use', 'MIT'])).toEqual({
    license: 'other',
    license_name: 'internal-use-and-mit',
  });
});

test('a document’s licence is its own, else that of the nearest source around it', () => {
  const sourceOf = (name: string, license: string) => ({
    name,
    license,
    numDocuments: 1,
    bytes: 1,
  });
  const sources = [
    sourceOf('./a', 'A'),
    sourceOf('./a/b', 'B'),
    sourceOf('https://x.org/map.xml', 'X'),
  ];
  const of = (source: string, metadata = {}) => licenseOf({ source, metadata }, sources);
  expect(of('./a/1.txt')).toBe('A');
  expect(of('./a/b/1.txt#3')).toBe('B');
  expect(of('./ab/1.txt')).toBeNull();
  expect(of('https://x.org/page')).toBe('X');
  expect(of('./a/1.txt', { license: 'MIT' })).toBe('MIT');
});

test('a sample is the same in whatever order its items come', () => {
  const keys = Array.from({ length: 200 }, (_, index) => `key ${index}`);
  const chosen = (order: string[]) => {
    const sample = new Sample<string>(7, 3);
    for (const key of order) sample.add(key, key);
    return sample.items();
  };
  expect(chosen(keys)).toHaveLength(7);
  expect(chosen(keys.toReversed())).toEqual(chosen(keys));
  expect(chosen([...keys, ...keys])).toEqual(chosen(keys));
});

test('the commands print text and JSON, and say what is wrong with what was asked', async () => {
  const inspected = await temper('datasets', 'inspect', 'policy', '--number', '2');
  expect(inspected.exitCode).toBe(0);
  expect(inspected.stdout).toContain('policy@2: 21 documents read');
  expect(inspected.stdout).toContain('kept instead: ./docs/4.md');
  const all = await temper(
    'datasets',
    'inspect',
    'policy',
    '--dropped',
    '--number',
    'all',
    '--json',
  );
  const listed = JSON.parse(all.stdout) as { dropped: { stage: string }[] };
  expect(listed.dropped.map(({ stage }) => stage)).toEqual([
    'ingest',
    ...Array<string>(5).fill('preprocess'),
  ]);
  const diff = await temper('datasets', 'diff', 'policy');
  expect(diff.stdout).toMatch(/only in policy@2 +4 /);
  const card = await temper('datasets', 'card', 'policy@2', '--json');
  expect(JSON.parse(card.stdout)).toMatchObject({ dataset: { version: 2 }, corpus });
  const wrong = [
    temper('datasets', 'inspect', 'policy', '--number', 'all'),
    temper('datasets', 'export', 'policy', './x', '--format', 'csv'),
  ];
  for (const { exitCode, stderr } of await Promise.all(wrong)) {
    expect(stderr).toMatch(/add --dropped|Allowed choices/);
    expect(exitCode).toBe(2);
  }
});
