/** Dataset versions: what was ingested, under a number that stays. */
import {
  datasetExpirySchema,
  datasetManifestSchema,
  type DatasetExpiry,
  type DatasetManifest,
} from '../config/manifests.ts';
import { encodeRecord, readRecord, updateRecord } from './json.ts';
import { keyPart, padded } from './keys.ts';
import type { Store } from './store.ts';
import { findVersion, readNewest, readVersions, versionKey } from './versions.ts';

function folderOf(name: string): string {
  return `datasets/${keyPart('dataset', name)}`;
}

/**
 * Gives a dataset the number that follows on another one, as its documents came in that; one whose digest is
 * registered already keeps the number it has, unless its documents have expired since, or are to be kept for ever by one
 * of the two alone. Null when somebody else took the number.
 */
export async function registerDatasetAfter(
  store: Store,
  manifest: Omit<DatasetManifest, 'version'>,
  before: number,
): Promise<DatasetManifest | null> {
  const folder = folderOf(manifest.name);
  const stands = await standsFor(store, manifest);
  const registered = async (): Promise<DatasetManifest | null> =>
    findVersion(store, folder, datasetManifestSchema, stands);
  const same = await registered();
  if (same !== null) return same;
  const version = datasetManifestSchema.parse({ ...manifest, version: before + 1 });
  const won = await store.putIfAbsent(versionKey(folder, version.version), encodeRecord(version));
  // After a lost reply the number is taken by ourselves.
  return won ? version : await registered();
}

/** One version, or null. */
export async function getDataset(
  store: Store,
  name: string,
  version: number,
): Promise<DatasetManifest | null> {
  const key = versionKey(folderOf(name), version);
  return (await readRecord(store, key, datasetManifestSchema))?.value ?? null;
}

/** Whether a version that is registered may be taken for this one. */
async function standsFor(
  store: Store,
  { name, digest, expiresAt }: Omit<DatasetManifest, 'version'>,
): Promise<(found: DatasetManifest) => boolean> {
  const expired = new Set((await readExpiries(store, name)).map(({ version }) => version));
  return (found) =>
    found.digest === digest &&
    !expired.has(found.version) &&
    (found.expiresAt === undefined) === (expiresAt === undefined);
}

/** Which versions of a dataset have expired. */
export async function readExpiries(store: Store, name: string): Promise<DatasetExpiry[]> {
  const marks: DatasetExpiry[] = [];
  for await (const { key } of store.list(`${folderOf(name)}/expired/`)) {
    const mark = await readRecord(store, key, datasetExpirySchema);
    if (mark !== null) marks.push(mark.value);
  }
  return marks;
}

/** How far the expiry of one version is; null where it has not expired. */
export async function getExpiry(
  store: Store,
  name: string,
  version: number,
): Promise<DatasetExpiry | null> {
  return (await readRecord(store, expiryKey(name, version), datasetExpirySchema))?.value ?? null;
}

/** Says that a version expires, or that all of it is deleted; what was said first stays. */
export async function markExpired(
  store: Store,
  name: string,
  version: number,
  mark: { at: string; finished: boolean },
): Promise<void> {
  await updateRecord(store, expiryKey(name, version), datasetExpirySchema, (known) => ({
    schemaVersion: 1 as const,
    version,
    beganAt: known?.beganAt ?? mark.at,
    finishedAt: known?.finishedAt ?? (mark.finished ? mark.at : null),
  }));
}

function expiryKey(name: string, version: number): string {
  return `${folderOf(name)}/expired/${padded(version, 6)}.json`;
}

/** The version with the highest number, or null. */
export async function latestDataset(store: Store, name: string): Promise<DatasetManifest | null> {
  return readNewest(store, folderOf(name), datasetManifestSchema);
}

/** The name of every dataset, in order. */
export async function datasetNames(store: Store): Promise<string[]> {
  const names = new Set<string>();
  for await (const { key } of store.list('datasets/')) names.add(key.split('/')[1] ?? '');
  return [...names].toSorted();
}

/** Every version of every dataset, by name, then by number. */
export async function listDatasets(store: Store): Promise<DatasetManifest[]> {
  const all: DatasetManifest[] = [];
  for (const name of await datasetNames(store)) {
    all.push(...(await readVersions(store, folderOf(name), datasetManifestSchema)));
  }
  return all;
}
