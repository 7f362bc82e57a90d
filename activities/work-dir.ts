/** A temporary folder for one attempt of an activity, gone afterwards whatever happens. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Deps } from './deps.ts';

export async function withWorkDir<T>(deps: Deps, use: (folder: string) => Promise<T>): Promise<T> {
  const parent = path.join(deps.home, 'tmp');
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(path.join(parent, 'work-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
