/** Dataset versions: what was ingested, under a number that stays. */
import { datasetManifestSchema, type DatasetManifest } from '../config/manifests.ts';
import { readRecord } from './json.ts';
import { keyPart } from './keys.ts';
import type { Store } from './store.ts';
import { readVersions, registerVersion, versionKey } from './versions.ts';

function folderOf(name: string): string {
  return `datasets/${keyPart('dataset', name)}`;
}

/** Gives a dataset the next number; one whose digest is registered already keeps the number it has. */
export async function registerDataset(
  store: Store,
  manifest: Omit<DatasetManifest, 'version'>,
): Promise<DatasetManifest> {
  const { version } = await registerVersion(
    store,
    folderOf(manifest.name),
    datasetManifestSchema,
    (found) => found.digest === manifest.digest,
    (number) => ({ ...manifest, version: number }),
  );
  return version;
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

/** The version with the highest number, or null. */
export async function latestDataset(store: Store, name: string): Promise<DatasetManifest | null> {
  return (await readVersions(store, folderOf(name), datasetManifestSchema)).at(-1) ?? null;
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
