/**
 * A dataset version, or the corpus made of it, as a folder that Hugging Face's `datasets` loads. The folder appears
 * whole; one that was cut off is gone on with file by file, and making the same one again changes nothing.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { canonicalJson, sha256Schema, type BlobRef } from '../../config/digest.ts';
import {
  documentSchema,
  type CorpusManifest,
  type DatasetManifest,
} from '../../config/manifests.ts';
import { newestCorpus } from '../../registry/corpora.ts';
import { readRecords } from '../../registry/lines.ts';
import type { Store } from '../../registry/store.ts';
import { ClientError } from '../errors.ts';
import { findDataset } from '../find-dataset.ts';
import { dataCard } from './card.ts';
import { writers, type ExportFormat, type Row } from './export-files.ts';
import { dropsOf, goneLists, requireTexts } from './drops.ts';
import { licenseOf } from './licenses.ts';

export interface ExportRequest {
  /** `policy` or `policy@2`. */
  reference: string;
  folder: string;
  format: ExportFormat;
  cleaned: boolean;
  /** Hears of each file that is whole. */
  onFile?: (file: string, done: number, total: number) => void;
}

export interface Exported {
  dataset: { name: string; version: number; digest: string };
  /** Digest of the corpus's stage, where it is the cleaned one. */
  corpus: string | null;
  folder: string;
  format: ExportFormat;
  files: { file: string; bytes: number; numDocuments: number }[];
  numDocuments: number;
  numDropped: number;
  /** What dropped.jsonl lacks, as lists of what was dropped may expire before the cleaned documents. */
  notes: string[];
  /** It was there already, and is what it would be. */
  reused: boolean;
}

const count = z.number().int().nonnegative();
const markSchema = z.strictObject({
  schemaVersion: z.literal(1),
  dataset: z.strictObject({ name: z.string(), version: count, digest: sha256Schema }),
  corpus: sha256Schema.nullable(),
  format: z.enum(['jsonl', 'parquet']),
});
type Mark = z.infer<typeof markSchema>;

/** temper-export.json: what the folder is, and its files once all are there. */
const wholeSchema = markSchema.extend({
  files: z.array(z.strictObject({ file: z.string(), bytes: count, numDocuments: count })),
  numDropped: count,
});

const markFile = 'temper-export.json';
/** How far a folder that is not whole yet has come; gone from one that is. */
const notes = '.temper';
const dataFolder = 'data';
/** Of packed bytes of shards; a file of text is about three times that. */
const fileBytes = 64_000_000;

/** Writes the folder; throws a ClientError where it holds something else. */
export async function exportDataset(store: Store, request: ExportRequest): Promise<Exported> {
  const { reference, format, cleaned } = request;
  const dataset = await findDataset(store, reference);
  const corpus = await newestCorpus(store, dataset);
  if (cleaned && corpus?.manifest.documents === undefined) throw noTexts(dataset, corpus !== null);
  if (!cleaned) await requireTexts(store, dataset);
  const { name, version, digest } = dataset;
  const mark: Mark = {
    schemaVersion: 1,
    dataset: { name, version, digest },
    corpus: cleaned ? corpus!.stage : null,
    format,
  };
  const folder = path.resolve(request.folder);
  const lists = { dataset, manifest: cleaned ? corpus!.manifest : null };
  const gone = await goneLists(store, lists);
  const answer = (whole: z.infer<typeof wholeSchema>, reused: boolean): Exported => ({
    dataset: mark.dataset,
    corpus: mark.corpus,
    folder,
    format,
    files: whole.files,
    numDocuments: whole.files.reduce((sum, { numDocuments }) => sum + numDocuments, 0),
    numDropped: whole.numDropped,
    notes: gone,
    reused,
  });
  const there = await wholeFolder(folder, mark);
  if (there !== null) return answer(there, true);

  const partial = `${folder}.partial`;
  await openPartial(partial, mark);
  const planned = cleaned ? cleanedFiles(corpus!.manifest, format) : rawFiles(dataset, format);
  const files: z.infer<typeof wholeSchema>['files'] = [];
  try {
    for (const [index, { file, shards }] of planned.entries()) {
      files.push({ file, ...(await writeOnce(store, partial, file, shards, dataset, format)) });
      request.onFile?.(file, index + 1, planned.length);
    }
    const numDropped = await writeAside(partial, 'dropped.jsonl', (aside) =>
      writers.plain(aside, dropsOf(store, lists)),
    );
    const splits = [...new Set(planned.map(({ split }) => split))].map((split) => ({
      name: split,
      pattern: `${dataFolder}/${split}-*.${endings[format]}`,
    }));
    const card = dataCard({ dataset, corpus }, { cleaned, splits, notes: gone });
    await writeAside(partial, 'README.md', (aside) => writeFile(aside, card));
    const whole = { ...mark, files, numDropped };
    await writeWhole(partial, markFile, `${canonicalJson(whole)}\n`);
    await rmdir(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw occupied(folder);
    });
    await rename(partial, folder);
    await rm(path.join(folder, notes), { recursive: true, force: true });
    return answer(whole, false);
  } catch (error) {
    // Two that make the same folder write the same bytes: the one that is whole first is that of both.
    const made = await wholeFolder(folder, mark).catch(() => null);
    if (made !== null) {
      await rm(partial, { recursive: true, force: true });
      return answer(made, true);
    }
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new ClientError(
      'failed',
      `${partial}: found that something else removed it while files were written there. Export again, one export at a time.`,
      error,
    );
  }
}

const endings: Record<ExportFormat, string> = { jsonl: 'jsonl.zst', parquet: 'parquet' };

interface PlannedFile {
  file: string;
  split: string;
  shards: BlobRef[];
}

function rawFiles({ shards }: DatasetManifest, format: ExportFormat): PlannedFile[] {
  return split(
    'train',
    shards.map(({ documents }) => documents),
    format,
  );
}

function cleanedFiles(
  { documents = [], heldOut }: CorpusManifest,
  format: ExportFormat,
): PlannedFile[] {
  return [
    ...split('train', documents, format),
    ...split('validation', [heldOut.documents], format),
  ];
}

/** Consecutive shards into files of about one size: which shard goes where follows from the manifest alone. */
function split(name: string, shards: readonly BlobRef[], format: ExportFormat): PlannedFile[] {
  const groups: BlobRef[][] = [];
  let bytes = Infinity;
  for (const shard of shards) {
    if (bytes >= fileBytes) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)!.push(shard);
    bytes += shard.bytes;
  }
  return groups.map((group, index) => ({
    file: `${dataFolder}/${name}-${String(index).padStart(5, '0')}.${endings[format]}`,
    split: name,
    shards: group,
  }));
}

/** The rows of shards, one after the other. */
async function* rowsOf(
  store: Store,
  shards: readonly BlobRef[],
  { sources }: DatasetManifest,
): AsyncGenerator<Row> {
  for (const shard of shards) {
    for await (const record of readRecords(store, shard)) {
      const document = documentSchema.parse(record);
      const { id, source, text, metadata } = document;
      const license = licenseOf(document, sources);
      yield { id, source, license, text, metadata: canonicalJson(metadata) };
    }
  }
}

const doneSchema = z.strictObject({ bytes: count, numDocuments: count });

/** Writes a file, unless it is there: a file has its name only when it is whole, and what it holds lies beside it. */
async function writeOnce(
  store: Store,
  folder: string,
  file: string,
  shards: readonly BlobRef[],
  dataset: DatasetManifest,
  format: ExportFormat,
): Promise<{ bytes: number; numDocuments: number }> {
  const note = path.join(notes, `${path.basename(file)}.json`);
  const found = doneSchema.safeParse(await jsonOf(path.join(folder, note))).data;
  const size = (await stat(path.join(folder, file)).catch(() => null))?.size;
  if (found !== undefined && size === found.bytes) return found;
  const numDocuments = await writeAside(folder, file, (aside) =>
    writers[format](aside, rowsOf(store, shards, dataset)),
  );
  const done = { bytes: (await stat(path.join(folder, file))).size, numDocuments };
  await writeWhole(folder, note, JSON.stringify(done));
  return done;
}

/** A folder that holds this export; null where there is nothing yet. */
async function wholeFolder(
  folder: string,
  mark: Mark,
): Promise<z.infer<typeof wholeSchema> | null> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw occupied(folder);
  });
  if (names.length === 0) return null;
  const found = wholeSchema.safeParse(await jsonOf(path.join(folder, markFile))).data;
  if (found === undefined || !isSame(found, mark)) throw occupied(folder);
  for (const { file, bytes } of found.files) {
    const size = (await stat(path.join(folder, file)).catch(() => null))?.size;
    if (size !== bytes) {
      throw new ClientError(
        'input',
        `${path.join(folder, file)}: found ${size ?? 'no'} bytes, expected ${bytes}: the export was changed. Remove the folder, or name another.`,
      );
    }
  }
  await rm(path.join(folder, notes), { recursive: true, force: true });
  return found;
}

/** Begins, or goes on with what was cut off; what another export left here is made anew. */
async function openPartial(folder: string, mark: Mark): Promise<void> {
  await mkdir(path.dirname(folder), { recursive: true });
  const names = await readdir(folder).catch(() => []);
  const found = markSchema.safeParse(await jsonOf(path.join(folder, notes, markFile))).data;
  if (found === undefined && !isBegun(names)) throw occupied(folder);
  if (found !== undefined && !isSame(found, mark)) await rm(folder, { recursive: true });
  await mkdir(path.join(folder, notes), { recursive: true });
  await mkdir(path.join(folder, dataFolder), { recursive: true });
  await writeWhole(folder, path.join(notes, markFile), canonicalJson(mark));
}

/** Nothing, or what an export makes before its mark. */
function isBegun(names: readonly string[]): boolean {
  if (names.length === 0) return true;
  return names.includes(notes) && names.every((name) => name === notes || name === dataFolder);
}

function isSame({ dataset, corpus, format }: Mark, mark: Mark): boolean {
  return canonicalJson({ dataset, corpus, format }) === canonicalJson(pick(mark));
}

function pick({ dataset, corpus, format }: Mark): object {
  return { dataset, corpus, format };
}

/** Under a name that no other process has, among the notes, whose folder goes when the export is whole. */
async function writeAside<Result>(
  folder: string,
  file: string,
  write: (aside: string) => Promise<Result>,
): Promise<Result> {
  const aside = path.join(folder, notes, `${randomUUID()}.tmp`);
  const result = await write(aside);
  await rename(aside, path.join(folder, file));
  return result;
}

async function writeWhole(folder: string, file: string, text: string): Promise<void> {
  await writeAside(folder, file, (aside) => writeFile(aside, text));
}

async function jsonOf(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch {
    return null;
  }
}

function occupied(folder: string): ClientError {
  return new ClientError(
    'input',
    `${folder}: found something else there, expected no folder, an empty one, or this same export. Name another folder.`,
  );
}

function noTexts({ name, version }: DatasetManifest, isOld: boolean): ClientError {
  return new ClientError(
    'input',
    isOld
      ? `--cleaned: the corpus of ${name}@${version} was made by an older version of Temper, which did not note where its texts lie. Run its pipeline again, or leave --cleaned out.`
      : `--cleaned: no corpus was made of ${name}@${version} yet. Run its pipeline, or leave --cleaned out.`,
  );
}
