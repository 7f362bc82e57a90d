/** Blobs that every shard of a corpus needs, read once and kept where all threads see them: a task that is given one copies nothing. */
import type { BlobRef } from '../config/digest.ts';
import { readBlob } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';

/** Of the corpus at work: its tokenizer, and what its evaluation sets say. */
const maxKept = 2;

const kept = new Map<string, Promise<Buffer>>();

/** The bytes of a blob, which must not be changed. */
export async function sharedBlob(store: Store, ref: BlobRef): Promise<Buffer> {
  const known = kept.get(ref.sha256);
  if (known !== undefined) return known;
  const read = readBlob(store, ref).then(inSharedMemory);
  if (kept.size >= maxKept) kept.delete(kept.keys().next().value!);
  kept.set(ref.sha256, read);
  // What could not be read is asked for again.
  read.catch(() => {
    if (kept.get(ref.sha256) === read) kept.delete(ref.sha256);
  });
  return read;
}

function inSharedMemory(bytes: Uint8Array): Buffer {
  const shared = Buffer.from(new SharedArrayBuffer(bytes.byteLength));
  shared.set(bytes);
  return shared;
}
