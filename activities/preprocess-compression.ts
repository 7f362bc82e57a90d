/** Measures how well the tokenizer of a corpus packs held-out text, beside that of a base model where one was imported. */
import { knownBases } from '../config/base-models.ts';
import type { Compression } from '../config/compression.ts';
import type { BlobRef } from '../config/digest.ts';
import { importedModelSchema } from '../config/manifests.ts';
import { byCodeUnits } from '../corpus/order.ts';
import { readBlob } from '../registry/blobs.ts';
import { readRecord } from '../registry/json.ts';
import type { Store } from '../registry/store.ts';
import { beatsOf } from './preprocess-failures.ts';
import type { ThreadPool } from './preprocess-threads.ts';

/** A tokenizer to compare with. */
interface Reference {
  name: string;
  file: BlobRef;
}

export async function compressionOf(
  store: Store,
  threads: ThreadPool,
  heldOut: BlobRef,
  { tokenizer, reference }: { tokenizer: BlobRef; reference: Reference | null },
): Promise<Compression> {
  const other = reference?.file.sha256 === tokenizer.sha256 ? null : reference;
  const { compression } = await threads.run(
    'compression',
    {
      documents: await readBlob(store, heldOut),
      sha256: tokenizer.sha256,
      tokenizer: await readBlob(store, tokenizer),
      reference: other && { name: other.name, tokenizer: await readBlob(store, other.file) },
    },
    beatsOf('documents'),
  );
  return compression;
}

/** That of a known base model; null as long as none was imported. */
export async function importedTokenizer(store: Store): Promise<Reference | null> {
  const found: Reference[] = [];
  for await (const { key } of store.list('stages/import/')) {
    const model = (await readRecord(store, key, importedModelSchema))?.value;
    const file = model?.files['tokenizer.json'];
    if (model === undefined || file === undefined || !(model.source.name in knownBases)) continue;
    found.push({ name: model.source.title, file });
  }
  return found.toSorted((a, b) => byCodeUnits(a.name, b.name))[0] ?? null;
}
