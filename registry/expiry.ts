/**
 * Expiry: deletes the documents of dataset versions whose time is over, and what preprocessing kept of them beside
 * training and held-out text; and documents of readings that became no version. Whatever else refers to the same bytes keeps them. Safe to kill anywhere and to run twice.
 */
import { randomUUID } from 'node:crypto';
import type { BlobRef } from '../config/digest.ts';
import type { DatasetManifest } from '../config/manifests.ts';
import type { RetentionReport } from '../config/retention.ts';
import { blobKey, hasBlob } from './blobs.ts';
import { eachDataset, getDataset, getExpiry, markExpired, readExpiries } from './datasets.ts';
import { DatasetExpired } from './errors.ts';
import {
  beginSweep,
  finishSweep,
  holdsSweep,
  listNotes,
  notedIn,
  readNote,
  sweepState,
} from './readings.ts';
import type { Store } from './store.ts';

export interface VersionName {
  name: string;
  version: number;
}

/** What stands in the way, or nothing. */
export interface InUse {
  /** Versions that runs at work have read. */
  versions: readonly VersionName[];
  /** Runs that read or preprocess documents now: what they find in the store they may refer to next. */
  reading: readonly string[];
}

export interface ExpiryOptions {
  now: Date;
  inUse: InUse;
  /** Says what would be done, and changes nothing. */
  dryRun?: boolean | undefined;
  /** Called again and again while it works. */
  onProgress?: (done: number) => void;
}

const readAhead = 32;

/** Deletes what has expired. */
export async function expireDatasets(
  store: Store,
  options: ExpiryOptions,
): Promise<RetentionReport> {
  for (let isFirst = true; ; isFirst = false) {
    const report = await sweep(store, options, isFirst);
    if (report !== null) return report;
  }
}

/**
 * Null: another sweep was quicker with one of the versions, or took over what became none; what this one found may be
 * somebody's again. Only the `isFirst` takes over from another, so that two do not take turns for ever.
 */
async function sweep(
  store: Store,
  { now, inUse, dryRun = false, onProgress = () => {} }: ExpiryOptions,
  isFirst: boolean,
): Promise<RetentionReport | null> {
  const due = await dueVersions(store, now);
  const marked = new Set((await expiriesOfAll(store)).map(keyOf));
  // What was begun is finished: whoever registers the same documents waits for it.
  const begun = due.filter((version) => marked.has(keyOf(version)));
  const others = due.filter((version) => !marked.has(keyOf(version)));
  const used = new Set(inUse.versions.map(keyOf));
  const free = others.filter((version) => !used.has(keyOf(version)));
  const mayBegin = dryRun || inUse.reading.length === 0;
  const going = mayBegin ? [...begun, ...free] : begun;
  const report: RetentionReport = {
    expired: going.map(nameOf),
    held: others.filter((version) => used.has(keyOf(version))).map(nameOf),
    waitsFor: free.length === 0 ? [] : [...inUse.reading],
    numBlobs: 0,
    bytes: 0,
    numUnregistered: 0,
    numShared: 0,
  };
  const isUnderway = (await sweepState(store)) === 'underway';
  const unnamed = await dropNotesOfVersions(store, { dryRun });
  const collects = isUnderway ? isFirst : mayBegin && unnamed.length > 0;
  if (going.length === 0 && !collects) return report;

  const at = now.toISOString();
  const id = randomUUID();
  if (!dryRun) {
    // Marked before anything is looked for: who registers the same documents from here on sees the mark, and waits.
    for (const { name, version } of going) {
      await markExpired(store, name, version, { at, finished: false });
    }
    if (collects) await beginSweep(store, id);
  }
  const notes = collects ? await listNotes(store) : [];
  const noted = await readNotes(store, notes);
  const { blobs, records, numShared } = await findExpired(store, { going, noted }, onProgress);
  report.numUnregistered = blobs.filter(({ sha256 }) => noted.has(sha256)).length;
  report.numShared = numShared;
  report.numBlobs = blobs.length;
  report.bytes = blobs.reduce((sum, { bytes }) => sum + bytes, 0);
  if (dryRun) return report;
  const removeAll = async (keys: readonly string[]): Promise<boolean> => {
    for (let from = 0; from < keys.length; from += readAhead) {
      // Once it is finished nobody waits for it: whoever reads the same documents has put them back.
      for (const { name, version } of going) {
        if ((await getExpiry(store, name, version))?.finishedAt !== null) return false;
      }
      if (collects && !(await holdsSweep(store, id))) return false;
      await Promise.all(keys.slice(from, from + readAhead).map((key) => store.remove(key)));
      onProgress(from);
    }
    return true;
  };
  // Blobs first: a record that still stands names those that are left.
  if (!(await removeAll(blobs.map(({ sha256 }) => blobKey(sha256))))) return null;
  if (!(await removeAll(records))) return null;
  if (!(await removeAll(notes))) return null;
  if (collects) await finishSweep(store, id, at);
  for (const { name, version } of going) {
    await markExpired(store, name, version, { at, finished: true });
  }
  return report;
}

/** Versions whose time is over, and whose documents are not all deleted yet. */
export async function dueVersions(store: Store, now: Date): Promise<DatasetManifest[]> {
  const due: DatasetManifest[] = [];
  for await (const version of eachDataset(store)) {
    const { name, expiresAt } = version;
    if (expiresAt === undefined || Date.parse(expiresAt) > now.getTime()) continue;
    const expiry = await getExpiry(store, name, version.version);
    if (expiry === null || expiry.finishedAt === null) due.push(version);
  }
  return due;
}

/** Throws where the documents of a version are deleted, or about to be. */
export async function requireUnexpired(store: Store, name: string, version: number): Promise<void> {
  const expiry = await getExpiry(store, name, version);
  if (expiry === null) return;
  throw new DatasetExpired(
    `dataset ${name}@${version}: its documents expired and were deleted on ${expiry.beganAt.slice(0, 10)}, ` +
      'expected to preprocess them. Read the sources again: npx temper run pipeline.yaml.',
  );
}

/** Throws where the time of a version is over, though its documents may still be there. */
export function requireTime({ name, version, expiresAt }: DatasetManifest, now: Date): void {
  if (expiresAt === undefined || Date.parse(expiresAt) > now.getTime()) return;
  throw new DatasetExpired(
    `dataset ${name}@${version}: the time of its documents was over on ${expiresAt.slice(0, 10)}, and what is added would be deleted with them, ` +
      'expected a version that lasts. Read the sources again: npx temper run pipeline.yaml.',
  );
}

/** Whether all documents of a version are there. */
export async function isWhole(store: Store, { shards }: DatasetManifest): Promise<boolean> {
  let found = true;
  await inBatches(shards, async ({ documents }) => {
    if (!(await hasBlob(store, documents))) found = false;
  });
  return found;
}

/** Whether documents were ever deleted, or are being deleted. */
export async function hasExpiries(store: Store): Promise<boolean> {
  return (await expiriesOfAll(store)).length > 0 || (await sweepState(store)) !== null;
}

/**
 * Throws where a version that was just registered lacks documents, because they expired under another name while they
 * were read. The next try puts them back.
 */
export async function requireWhole(store: Store, name: string, version: number): Promise<void> {
  const marks = await expiriesOfAll(store);
  const swept = await sweepState(store);
  if (marks.length === 0 && swept === null) return;
  if (swept === 'underway') {
    throw new Error(
      `dataset ${name}@${version}: found documents of readings that became no version being deleted, expected that to be over. ` +
        'It is read again; npx temper datasets expire finishes a deletion that was cut short.',
    );
  }
  const mine = await getDataset(store, name, version);
  const refs = mine === null ? [] : rawOf(mine);
  const names = new Set(refs.map(({ sha256 }) => sha256));
  for (const mark of marks.filter(({ finished }) => !finished)) {
    const other = await getDataset(store, mark.name, mark.version);
    if (other === null || !rawOf(other).some(({ sha256 }) => names.has(sha256))) continue;
    throw new Error(
      `dataset ${name}@${version}: found ${mark.name}@${mark.version}, which holds some of the same documents, being deleted, ` +
        'expected it to be over. It is read again; npx temper datasets expire finishes a deletion that was cut short.',
    );
  }
  await inBatches(refs, async (ref) => {
    if (await hasBlob(store, ref)) return;
    throw new Error(
      `dataset ${name}@${version}: documents expired under another version while they were read again. They are read once more.`,
    );
  });
}

/** The blobs that a version names itself: its documents, and the list of what could not be read. */
function rawOf({ shards, droppedDocuments }: DatasetManifest): BlobRef[] {
  return [
    ...shards.map(({ documents }) => documents),
    ...(droppedDocuments ? [droppedDocuments] : []),
  ];
}

async function expiriesOfAll(store: Store): Promise<(VersionName & { finished: boolean })[]> {
  const names = new Set<string>();
  for await (const { key } of store.list('datasets/')) {
    const [, name = '', kind] = key.split('/');
    if (kind === 'expired') names.add(name);
  }
  const marks: (VersionName & { finished: boolean })[] = [];
  for (const name of names) {
    for (const { version, finishedAt } of await readExpiries(store, name)) {
      marks.push({ name, version, finished: finishedAt !== null });
    }
  }
  return marks;
}

/**
 * What refers to the documents of the versions alone, or was noted and is of no version: their blobs, and the stage
 * records that name these.
 */
async function findExpired(
  store: Store,
  { going, noted }: { going: readonly DatasetManifest[]; noted: ReadonlyMap<string, BlobRef> },
  onProgress: (done: number) => void,
): Promise<{ blobs: BlobRef[]; records: string[]; numShared: number }> {
  const gone = new Set((await expiriesOfAll(store)).map(keyOf));
  for (const version of going) gone.add(keyOf(version));
  const candidates = new Map<string, BlobRef>();
  const kept = new Set<string>();
  const records: string[] = [];
  const drop = (value: unknown) => walk(value, (ref) => candidates.set(ref.sha256, ref));
  const keep = (value: unknown) => walk(value, ({ sha256 }) => kept.add(sha256));
  for (const version of going) drop(version);
  for (const ref of noted.values()) drop(ref);

  const goingDigests = new Set(going.map(({ digest }) => digest));
  // Of those that went before too: what they dropped stayed where others held it, and goes with the last of these.
  const goneDigests = new Set<string>();
  const liveDigests = new Set<string>();
  const goneRaw = new Set([
    ...going.flatMap(({ shards }) => shards.map(nameOfShard)),
    ...noted.keys(),
  ]);
  let numRead = 0;
  // Read after the marks stand.
  for await (const version of eachDataset(store)) {
    onProgress((numRead += 1));
    if (gone.has(keyOf(version))) {
      goneDigests.add(version.digest);
      continue;
    }
    liveDigests.add(version.digest);
    for (const shard of version.shards) goneRaw.delete(nameOfShard(shard));
    keep(version);
  }

  await eachRecord(store, 'models/', (_, value) => keep(value), onProgress);
  await eachRecord(
    store,
    'stages/',
    (key, value) => {
      const stage = key.split('/')[1];
      const { of, dataset, droppedDocuments } = value as StageRecord;
      const isOf = [of ?? []].flat().some((raw) => goneRaw.has(raw));
      if (isOf) {
        records.push(key);
        drop(value);
        return;
      }
      const digest = dataset?.digest ?? '';
      if (stage === 'preprocess' && goneDigests.has(digest) && !liveDigests.has(digest)) {
        if (goingDigests.has(digest)) drop(droppedDocuments);
        keep({ ...(value as object), droppedDocuments: null });
        return;
      }
      keep(value);
    },
    onProgress,
  );
  const [shared, blobs] = partition(candidates.values(), ({ sha256 }) => kept.has(sha256));
  // What was noted and is of a version is as it should be.
  const numShared = shared.filter(({ sha256 }) => !noted.has(sha256)).length;
  return { blobs, records, numShared };
}

function partition<T>(items: Iterable<T>, holds: (item: T) => boolean): [T[], T[]] {
  const parts: [T[], T[]] = [[], []];
  for (const item of items) parts[holds(item) ? 0 : 1].push(item);
  return parts;
}

/**
 * Removes the notes of blobs that a version names: they have done their part. Resolves with the keys of the others. A version
 * that has expired counts as none: what it names is noted again where it was read again.
 */
async function dropNotesOfVersions(
  store: Store,
  { dryRun }: { dryRun: boolean },
): Promise<string[]> {
  const notes = await listNotes(store);
  if (notes.length === 0) return [];
  const unnamed = new Set(notes.map(notedIn));
  // One that has expired deletes nothing more: what was written again since is its reading's to answer for.
  const expired = new Set((await expiriesOfAll(store)).map(keyOf));
  for await (const version of eachDataset(store)) {
    if (expired.has(keyOf(version))) continue;
    for (const { sha256 } of rawOf(version)) unnamed.delete(sha256);
  }
  const [left, done] = partition(notes, (key) => unnamed.has(notedIn(key)));
  if (!dryRun) await inBatches(done, (key) => store.remove(key));
  return left;
}

/** What notes name, by its digest. */
async function readNotes(
  store: Store,
  keys: readonly string[],
): Promise<ReadonlyMap<string, BlobRef>> {
  const noted = new Map<string, BlobRef>();
  await inBatches(keys, async (key) => {
    const ref = await readNote(store, key);
    if (ref !== null) noted.set(ref.sha256, ref);
  });
  return noted;
}

/** What stage records say of where they come from. */
interface StageRecord {
  /** Raw shards, with which the record and its blobs expire. */
  of?: string | string[];
  dataset?: { digest?: string };
  droppedDocuments?: unknown;
}

/** Every reference to a blob in a record, however deep. */
function walk(value: unknown, onRef: (ref: BlobRef) => void): void {
  if (value === null || typeof value !== 'object') return;
  const { sha256, bytes } = value as Partial<BlobRef>;
  if (typeof sha256 === 'string' && typeof bytes === 'number') onRef(value as BlobRef);
  else for (const inner of Object.values(value)) walk(inner, onRef);
}

async function eachRecord(
  store: Store,
  prefix: string,
  use: (key: string, value: unknown) => void,
  onProgress: (done: number) => void,
): Promise<void> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) if (key.endsWith('.json')) keys.push(key);
  await inBatches(
    keys,
    async (key) => {
      const found = await store.get(key);
      if (found !== null) use(key, JSON.parse(found.bytes.toString('utf8')));
    },
    onProgress,
  );
}

async function inBatches<T>(
  items: readonly T[],
  work: (item: T) => Promise<void>,
  onProgress: (done: number) => void = () => {},
): Promise<void> {
  for (let from = 0; from < items.length; from += readAhead) {
    await Promise.all(items.slice(from, from + readAhead).map(work));
    onProgress(from);
  }
}

function nameOf({ name, version }: VersionName): VersionName {
  return { name, version };
}

function keyOf({ name, version }: VersionName): string {
  return `${name}@${version}`;
}

function nameOfShard({ documents }: DatasetManifest['shards'][number]): string {
  return documents.sha256;
}
