/** Blobs as files of this host: the disk is a cache, every file is checked against its digest. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { heartbeat } from '@temporalio/activity';
import type { BlobRef } from '../config/digest.ts';
import { downloadBlob } from '../registry/blobs.ts';
import type { Deps } from './deps.ts';

/** A blob as a file of this host's cache, under its digest. */
export async function cached(deps: Deps, ref: BlobRef): Promise<string> {
  const file = path.join(deps.home, 'cache', ref.sha256.slice(0, 2), ref.sha256);
  await ensureFile(deps, ref, file);
  return file;
}

/** Downloads unless a file with the right bytes is there. */
export async function ensureFile(deps: Deps, ref: BlobRef, file: string): Promise<void> {
  if ((await digestIfThere(file)) === ref.sha256) return;
  heartbeat({ kind: 'download', file: path.basename(file) });
  await mkdir(path.dirname(file), { recursive: true });
  await downloadBlob(deps.store, ref, file);
}

/** SHA-256 of a file. */
export async function digestOfFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

async function digestIfThere(file: string): Promise<string | null> {
  try {
    return await digestOfFile(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
