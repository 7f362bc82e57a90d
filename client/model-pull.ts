/** A model version as a folder: the bundle that is served, and the weights that it was exported from. */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { BlobRef } from '../config/digest.ts';
import type { ModelVersion } from '../config/manifests.ts';
import { blobKey, downloadBlob } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import { ClientError } from './errors.ts';

export interface Pulled {
  folder: string;
  files: { name: string; bytes: number; sha256: string }[];
}

const weightsFile = 'model.safetensors';
/** The record of the version, beside its files. */
const recordFile = 'temper.json';

/**
 * Writes the folder, which transformers and onnxruntime can load; it appears whole, after every file had its
 * SHA-256. `onFile` is told of each before it is fetched.
 */
export async function pullModel(
  store: Store,
  version: ModelVersion,
  folder: string,
  onFile: (file: { name: string; bytes: number }) => void = () => {},
): Promise<Pulled> {
  const target = path.resolve(folder);
  const taken = () =>
    new ClientError(
      'input',
      `${folder} is there already: name another folder, or take it away. Nothing was written.`,
    );
  if (existsSync(target)) throw taken();
  const { files, weights } = version.bundle.manifest;
  const bytes = await store.size(blobKey(weights));
  if (bytes === null) {
    throw new ClientError(
      'failed',
      `${blobKey(weights)}, the weights of ${version.name}@${version.version}, is gone from ${store.place}. Restore the bucket. Nothing was written.`,
    );
  }
  const wanted: [string, BlobRef][] = [
    ...Object.entries(files),
    [weightsFile, { sha256: weights, bytes }],
  ];
  const aside = path.join(path.dirname(target), `.${path.basename(target)}.${randomUUID()}.part`);
  try {
    await mkdir(aside, { recursive: true });
    const pulled: Pulled['files'] = [];
    for (const [name, ref] of wanted.toSorted(([a], [b]) => (a < b ? -1 : 1))) {
      if (path.basename(name) !== name || name === recordFile) {
        throw new ClientError('failed', `bundle: found a file named ${JSON.stringify(name)}.`);
      }
      onFile({ name, bytes: ref.bytes });
      await downloadBlob(store, ref, path.join(aside, name));
      pulled.push({ name, bytes: ref.bytes, sha256: ref.sha256 });
    }
    await writeFile(path.join(aside, recordFile), `${JSON.stringify(version, null, 2)}\n`, {
      flush: true,
    });
    await rename(aside, target).catch((error: NodeJS.ErrnoException) => {
      throw ['ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes(error.code ?? '') ? taken() : error;
    });
    return { folder: target, files: pulled };
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}
