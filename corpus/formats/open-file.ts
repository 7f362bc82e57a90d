/** One file of a source as bytes: small ones whole and at rest, large ones as they are read, with a look at the end. */
import { constants, type BigIntStats } from 'node:fs';
import { lstat, open } from 'node:fs/promises';
import type { Refusal } from '../decode.ts';
import { changed, readStable, sameState, unreadable } from '../files.ts';
import { bytesOf, bytesOfFile } from './bytes.ts';
import type { Bytes } from './types.ts';

/** Up to this size a file is read whole, and again where it changed meanwhile. */
const stableBytes = 16 * 1024 * 1024;

export interface OpenFile {
  bytes: Bytes & { size: number };
  /** A reason where the file is no longer the one that was opened. */
  ended: () => Promise<Refusal | null>;
  close: () => Promise<void>;
}

/** Opens an ordinary file; links are not followed, and pipes not waited for. */
export async function openFile(file: string): Promise<OpenFile | Refusal> {
  const state = await lstat(file, { bigint: true }).catch((error: unknown) => unreadable(error));
  if ('reason' in state) return state;
  if (state.size <= BigInt(stableBytes) || !state.isFile()) {
    const read = await readStable(file);
    if (!('bytes' in read)) return read;
    const bytes = bytesOf(read.bytes) as OpenFile['bytes'];
    return { bytes, ended: async () => null, close: async () => {} };
  }
  const handle = await open(
    file,
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
  ).catch((error: unknown) => unreadable(error));
  if ('reason' in handle) return handle;
  const before: BigIntStats = await handle.stat({ bigint: true });
  return {
    bytes: bytesOfFile(handle, Number(before.size)) as OpenFile['bytes'],
    ended: async () => {
      const after = await lstat(file, { bigint: true }).catch(() => null);
      return after !== null && sameState(before, after) ? null : changed;
    },
    close: async () => handle.close(),
  };
}
