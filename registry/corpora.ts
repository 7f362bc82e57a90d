/** Corpora, found by the dataset version that they were made of: also where no model came of them. */
import {
  corpusManifestSchema,
  type CorpusManifest,
  type DatasetManifest,
} from '../config/manifests.ts';
import { readRecord } from './json.ts';
import type { Store } from './store.ts';

export interface FoundCorpus {
  /** Digest of the stage record. */
  stage: string;
  manifest: CorpusManifest;
  /** When it was recorded. */
  at: Date;
}

/** The corpus of a dataset version that was recorded last, or null. One that cannot be read is passed over. */
export async function newestCorpus(
  store: Store,
  { name, digest }: Pick<DatasetManifest, 'name' | 'digest'>,
): Promise<FoundCorpus | null> {
  const records: { key: string; at: Date }[] = [];
  for await (const { key, lastModified } of store.list('stages/preprocess/'))
    records.push({ key, at: lastModified });
  const newestFirst = records.toSorted(
    (a, b) => b.at.getTime() - a.at.getTime() || (a.key < b.key ? -1 : 1),
  );
  for (const { key, at } of newestFirst) {
    const manifest = (await readRecord(store, key, corpusManifestSchema).catch(() => null))?.value;
    if (manifest?.dataset.name !== name || manifest.dataset.digest !== digest) continue;
    return { stage: key.split('/')[2]!.replace(/\.json$/, ''), manifest, at };
  }
  return null;
}
