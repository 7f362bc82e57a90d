/** The files of a source, in one order everywhere, and their bytes, read whole and unchanging. */
import { createHash } from 'node:crypto';
import { constants, type BigIntStats } from 'node:fs';
import { lstat, open, readdir, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { byCodeUnits } from './order.ts';
import type { Refusal } from './decode.ts';

/** Of a file that is read at once. */
const maxFileBytes = 16 * 1024 * 1024;
/** A file written within this time may change again without its modification time showing it. */
const freshMs = 10_000;

/** Bytes that were brought to this machine. */
export interface LocalFile {
  file: string;
  /** The name that says its format; left out, that of the found file. */
  readAs?: string;
  /** When it was changed, where whoever gave it says so. */
  date?: string;
  /** Called when it was read. */
  release?: () => Promise<void>;
}

export interface FoundFile {
  path: string;
  refusal: Refusal | null;
  /** Where its documents are said to be from; left out, the source and the path. */
  place?: string;
  /** Of a file elsewhere: brings it here when it is read. */
  fetch?: () => Promise<LocalFile | Refusal>;
}

/** Files under a folder whose relative paths match the glob, by code units. Names that start with a dot are left alone. */
export async function listFiles(folder: string, include: string): Promise<FoundFile[]> {
  const found: FoundFile[] = [];
  await walk(folder, '', include, found);
  return found.toSorted((a, b) => byCodeUnits(a.path, b.path));
}

async function walk(
  root: string,
  folder: string,
  include: string,
  found: FoundFile[],
): Promise<void> {
  let entries;
  try {
    entries = await readdir(path.join(root, folder), { withFileTypes: true });
  } catch (error) {
    if (folder === '') throw error;
    found.push({ path: folder, refusal: unreadable(error) });
    return;
  }
  const names = new Set(entries.map(({ name }) => name));
  for (const entry of entries) {
    if (entry.name.startsWith('.') || describesDataset(entry.name, names)) continue;
    const relative = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) {
      await walk(root, relative, include, found);
    } else if (path.matchesGlob(relative, include)) {
      const refusal = entry.isFile()
        ? null
        : entry.isSymbolicLink()
          ? {
              reason: 'symbolic_link',
              detail: 'links are not followed; give its target as a source',
            }
          : { reason: 'not_a_file', detail: 'expected an ordinary file' };
      found.push({ path: relative, refusal });
    }
  }
}

/** What Hugging Face's datasets keep beside their tables: descriptions of them, and copies of their own making. */
function describesDataset(name: string, siblings: ReadonlySet<string>): boolean {
  if (name === 'dataset_dict.json') return true;
  if (/^cache-[0-9a-f]+(_.*)?\.arrow$/.test(name)) return true;
  return name === 'state.json' || name === 'dataset_info.json'
    ? siblings.has('state.json') && siblings.has('dataset_info.json')
    : false;
}

/** Pauses before a file that changed while it was read is read again. */
const pausesMs = [200, 500, 1000];

/** The bytes of a file, or why not; a file that changes while it is read is read again, a few times. */
export async function readStable(
  file: string,
  pauses: readonly number[] = pausesMs,
): Promise<{ bytes: Buffer } | Refusal> {
  for (const pauseMs of pauses) {
    const read = await readOnce(file);
    if (read !== changed) return read;
    await sleep(pauseMs);
  }
  return await readOnce(file);
}

async function readOnce(file: string): Promise<{ bytes: Buffer } | Refusal> {
  let handle: FileHandle;
  try {
    // Opening a pipe would wait for its writer, and following a link could leave the source.
    handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    return unreadable(error);
  }
  try {
    const before = await handle.stat({ bigint: true });
    if (!before.isFile()) return { reason: 'not_a_file', detail: 'expected an ordinary file' };
    if (before.size > maxFileBytes) {
      return {
        reason: 'too_large',
        detail: `found ${before.size} bytes, expected at most ${maxFileBytes}; split it`,
      };
    }
    const bytes = await handle.readFile();
    const fresh = Date.now() - Number(before.mtimeMs) < freshMs;
    const again = fresh ? await digestOfFile(handle, bytes.length) : null;
    const after = await lstat(file, { bigint: true });
    if (!sameState(before, after) || BigInt(bytes.length) !== before.size) return changed;
    if (again !== null && again !== createHash('sha256').update(bytes).digest('hex'))
      return changed;
    return { bytes };
  } catch (error) {
    return unreadable(error);
  } finally {
    await handle.close();
  }
}

/** Every reading of the file found another one. */
export const changed: Refusal = {
  reason: 'changed_while_read',
  detail: 'size, time or content differed after reading',
};

/** Whether a file is the one that it was. */
export function sameState(a: BigIntStats, b: BigIntStats): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.ino === b.ino && a.dev === b.dev;
}

async function digestOfFile(handle: FileHandle, expectedBytes: number): Promise<string> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(1 << 20);
  for (let position = 0; position <= expectedBytes;) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
  return hash.digest('hex');
}

/** Why a file cannot be opened. */
export function unreadable(error: unknown): Refusal {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
  return code === 'ELOOP'
    ? { reason: 'symbolic_link', detail: 'links are not followed; give its target as a source' }
    : { reason: 'unreadable', detail: code };
}
