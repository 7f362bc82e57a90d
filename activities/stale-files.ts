/** What an attempt that was killed left in a cache. */
import { readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';

/** An attempt that another took over from may still read what it fetched; not for this long. */
const staleMs = 24 * 60 * 60 * 1000;

/** Removes the files of a folder that were written long ago; with `ending`, those whose names end so. */
export async function sweepStale(folder: string, ending = '', now = Date.now()): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.endsWith(ending)) continue;
    const file = path.join(folder, name);
    const state = await stat(file).catch(() => null);
    if (state?.isFile() && now - state.mtimeMs > staleMs) await rm(file, { force: true });
  }
}
