/** A temporary folder for one attempt of an activity, gone afterwards whatever happens: here, or at the next worker's start. */
import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Deps } from './deps.ts';
import { startTimeOf } from './trainer-process.ts';

/** A download writes all the time; one that has not for so long has lost its process. */
const deadPartMs = 3_600_000;

const parentOf = (deps: Pick<Deps, 'home'>): string => path.join(deps.home, 'tmp');

/** The folder's name says whose it is: pid and start time, because a pid alone is given out again. */
export async function withWorkDir<T>(
  deps: Pick<Deps, 'home'>,
  use: (folder: string) => Promise<T>,
): Promise<T> {
  const parent = parentOf(deps);
  await mkdir(parent, { recursive: true });
  const owner = `${process.pid}-${(await startTimeOf(process.pid)) ?? 0}`;
  const folder = await mkdtemp(path.join(parent, `work-${owner}-`));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Removes what killed workers left in this home: their work folders, and parts of files that nobody downloads any more. */
export async function sweepWorkDirs(deps: Pick<Deps, 'home' | 'now'>): Promise<void> {
  // A system that tells no start times tells no dead owner from a living one.
  if ((await startTimeOf(process.pid)) === null) return;
  const parent = parentOf(deps);
  for (const name of await namesIn(parent)) {
    const owner = /^work-(\d+)-(\d+)-/.exec(name);
    if (owner === null || (await startTimeOf(Number(owner[1]))) === Number(owner[2])) continue;
    await rm(path.join(parent, name), { recursive: true, force: true });
  }
  const cache = path.join(deps.home, 'cache');
  for (const folder of await namesIn(cache)) {
    for (const name of await namesIn(path.join(cache, folder))) {
      const file = path.join(cache, folder, name);
      if (name.endsWith('.part') && (await isOld(file, deps.now())))
        await rm(file, { force: true });
    }
  }
}

/** Nothing where there is no such folder. */
async function namesIn(folder: string): Promise<string[]> {
  return await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
    throw error;
  });
}

async function isOld(file: string, now: Date): Promise<boolean> {
  const state = await stat(file).catch(() => null);
  return state !== null && now.getTime() - state.mtimeMs > deadPartMs;
}
