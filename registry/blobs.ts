/**
 * Immutable bytes, named by their SHA-256: written once, verified whenever they are read. Sealed ones are named by
 * what is stored, and opened by whoever reads them.
 */
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { isMainThread } from 'node:worker_threads';
import {
  constants,
  zstdCompress,
  zstdDecompress,
  zstdDecompressSync,
  type ZstdOptions,
} from 'node:zlib';
import { canonicalJson, type BlobRef } from '../config/digest.ts';
import { DataKeys } from './data-keys.ts';
import { ArtifactMismatch } from './errors.ts';
import type { Store } from './store.ts';

const compress = promisify(zstdCompress);
// In a thread nobody else waits, and the way through the engine's own threads takes longer than small work itself.
const decompress = isMainThread
  ? promisify(zstdDecompress)
  : async (bytes: Uint8Array, options: ZstdOptions) => zstdDecompressSync(bytes, options);

/** How lines are packed. */
// Written out, so that a change of Node's defaults does not change digests.
export const compression = {
  params: {
    [constants.ZSTD_c_compressionLevel]: 3,
    [constants.ZSTD_c_checksumFlag]: 1,
    [constants.ZSTD_c_nbWorkers]: 0,
  },
};
const newline = 10;

/** Where the bytes of a digest lie. */
export function blobKey(sha256: string): string {
  return `blobs/sha256/${sha256.slice(0, 2)}/${sha256}`;
}

const noKeys = new DataKeys();

/**
 * Names and writes bytes; bytes that exist are not written again. `sealed`: id of the data key to encrypt them with.
 * `before` knows the name before anything is written.
 */
export async function putBlob(
  store: Store,
  bytes: Uint8Array,
  sealed?: string,
  before?: (ref: BlobRef) => Promise<void>,
): Promise<BlobRef> {
  const stored = sealed === undefined ? bytes : (store.dataKeys ?? noKeys).seal(bytes, sealed);
  const sha256 = createHash('sha256').update(stored).digest('hex');
  const ref = { sha256, bytes: stored.byteLength, ...(sealed !== undefined && { sealed }) };
  await before?.(ref);
  await store.putIfAbsent(blobKey(sha256), stored);
  return ref;
}

/** As `putBlob`, for a file of any size, which must not change meanwhile. */
export async function putBlobFile(store: Store, file: string): Promise<BlobRef> {
  const hash = createHash('sha256');
  let bytes = 0;
  await pipeline(createReadStream(file, { highWaterMark: 2 ** 20 }), async (chunks) => {
    for await (const chunk of chunks as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  });
  const ref = { sha256: hash.digest('hex'), bytes };
  if (!(await hasBlob(store, ref)))
    await store.putFileIfAbsent(blobKey(ref.sha256), file, ref.sha256);
  return ref;
}

/** Every file of a folder, which holds no other folder, by its name; in the order of the names. */
export async function putBlobFolder(
  store: Store,
  folder: string,
): Promise<Record<string, BlobRef>> {
  const files: Record<string, BlobRef> = {};
  for (const name of (await readdir(folder)).toSorted()) {
    files[name] = await putBlobFile(store, path.join(folder, name));
  }
  return files;
}

/** Whether a blob is there; one of another length is damage. */
export async function hasBlob(store: Store, ref: BlobRef): Promise<boolean> {
  const key = blobKey(ref.sha256);
  const size = await store.size(key);
  if (size !== null && size !== ref.bytes) {
    throw new ArtifactMismatch(
      `${key} is damaged: found ${size} bytes, expected ${ref.bytes}. Restore or delete it.`,
    );
  }
  return size !== null;
}

function missing(ref: BlobRef): ArtifactMismatch {
  return new ArtifactMismatch(
    `${blobKey(ref.sha256)} is missing, expected ${ref.bytes} bytes. Restore the bucket, or make it again with a new run.`,
  );
}

/** The bytes of a blob, verified, and opened if they are sealed. */
export async function readBlob(store: Store, ref: BlobRef): Promise<Buffer> {
  const found = await store.get(blobKey(ref.sha256));
  if (found === null) throw missing(ref);
  const sha256 = createHash('sha256').update(found.bytes).digest('hex');
  if (sha256 !== ref.sha256 || found.bytes.length !== ref.bytes) {
    throw new ArtifactMismatch(
      `${blobKey(ref.sha256)} is damaged: found SHA-256 ${sha256} over ${found.bytes.length} bytes, ` +
        `expected ${ref.sha256} over ${ref.bytes}. Restore it from a replica or an older version of the object.`,
    );
  }
  if (ref.sealed === undefined) return found.bytes;
  return (store.dataKeys ?? noKeys).open(found.bytes, ref.sealed, blobKey(ref.sha256));
}

/** Writes a blob to a file, which appears only when it is whole and verified. */
export async function downloadBlob(store: Store, ref: BlobRef, file: string): Promise<void> {
  if (ref.sealed !== undefined) {
    const part = `${file}.${randomUUID()}.part`;
    await writeFile(part, await readBlob(store, ref), { mode: 0o600 });
    await rename(part, file);
    return;
  }
  if (!(await store.download(blobKey(ref.sha256), file, ref.sha256))) throw missing(ref);
}

/** JSON lines, zstd; the same records give the same bytes. */
export async function encodeJsonLines(records: Iterable<unknown>): Promise<Buffer> {
  const lines: Buffer[] = [];
  for (const record of records) lines.push(Buffer.from(`${canonicalJson(record)}\n`));
  return compressLines(Buffer.concat(lines));
}

/** Lines that are canonical JSON already, as `encodeJsonLines` writes them. */
export async function compressLines(lines: Uint8Array): Promise<Buffer> {
  return compress(lines, { ...compression, chunkSize: pieceOf(Math.ceil(lines.byteLength / 12)) });
}

/** The lines of `compressLines`. */
export async function decompressLines(bytes: Uint8Array): Promise<Buffer> {
  return decompress(bytes, { chunkSize: pieceOf(bytes.byteLength) });
}

/** Bytes packed or unpacked at a time: the default, 16 KB, takes as long for its many steps as for the work. */
function pieceOf(packed: number): number {
  return Math.max(2 ** 14, Math.min(2 ** 20, packed * 4));
}

/** The records of `encodeJsonLines`. */
export async function decodeJsonLines(bytes: Uint8Array): Promise<unknown[]> {
  // Line by line: one string of it all may be longer than V8 allows.
  const text = await decompressLines(bytes);
  const records: unknown[] = [];
  for (let start = 0; start < text.length;) {
    const found = text.indexOf(newline, start);
    const end = found === -1 ? text.length : found;
    if (end > start) records.push(JSON.parse(text.toString('utf8', start, end)));
    start = end + 1;
  }
  return records;
}

/** Records as one blob of JSON lines. */
export async function putJsonLines(
  store: Store,
  records: Iterable<unknown>,
  sealed?: string,
): Promise<BlobRef> {
  return putBlob(store, await encodeJsonLines(records), sealed);
}

/** The records of a blob of JSON lines, verified. */
export async function readJsonLines(store: Store, ref: BlobRef): Promise<unknown[]> {
  return decodeJsonLines(await readBlob(store, ref));
}
