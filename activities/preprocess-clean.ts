/** Cleans one raw shard in a thread and keeps what came of it as blobs. */
import type { BlobRef } from '../config/digest.ts';
import type { CleanOptions } from '../corpus/clean-shard.ts';
import { putBlob, readBlob } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import { beatsOf } from './preprocess-failures.ts';
import type { CleanShard } from './preprocess-records.ts';
import { sharedBlob } from './preprocess-shared.ts';
import type { ThreadPool } from './preprocess-threads.ts';

export async function cleanDocuments(
  store: Store,
  threads: ThreadPool,
  documents: BlobRef,
  {
    personalData,
    quality,
    clean,
    grams,
    languages,
    deduplicate,
  }: CleanOptions & { grams?: BlobRef | undefined },
): Promise<CleanShard> {
  const cleaned = await threads.run(
    'clean',
    {
      documents: await readBlob(store, documents),
      options: { personalData, quality, clean, languages, deduplicate },
      ...(grams !== undefined && {
        grams: { digest: grams.sha256, packed: await sharedBlob(store, grams) },
      }),
    },
    beatsOf('documents'),
  );
  const [kept, fingerprints, dropped] = await Promise.all([
    // What comes of sealed documents tells as much: it is sealed with the same key.
    putBlob(store, cleaned.documents, documents.sealed),
    putBlob(store, cleaned.fingerprints, documents.sealed),
    putBlob(store, cleaned.dropped, documents.sealed),
  ]);
  return {
    schemaVersion: 1,
    of: documents.sha256,
    documents: kept,
    fingerprints,
    dropped,
    numDocuments: cleaned.numDocuments,
    kept: cleaned.kept,
    redacted: cleaned.redacted,
    cleaned: cleaned.cleaned,
  };
}
