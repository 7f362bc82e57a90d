/** The newest checkpoint of a trial, as a trainer would find it on its disk. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { downloadBlob } from '../../registry/blobs.ts';
import type { Store } from '../../registry/store.ts';
import { readCheckpoint, readHead, type TrialPath } from '../../registry/training.ts';

/** Fills a folder with its files, each verified. */
export async function downloadCheckpoint(
  store: Store,
  trial: TrialPath,
  folder: string,
): Promise<void> {
  const entry = (await readHead(store, trial))?.value.chain.at(-1);
  if (entry === undefined) throw new Error(`${trial.run}: found no checkpoint`);
  const { files } = await readCheckpoint(store, entry);
  mkdirSync(folder, { recursive: true });
  for (const [name, ref] of Object.entries(files)) {
    await downloadBlob(store, ref, path.join(folder, name));
  }
}
