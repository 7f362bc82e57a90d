/** What people ask of a run while it goes, where the watchers of its trainers can read it. */
import { runControlSchema, type RunControl } from '../config/manifests.ts';
import { readRecord, updateRecord } from './json.ts';
import { keyPart } from './keys.ts';
import type { Store } from './store.ts';

function controlKey(run: string): string {
  return `runs/${keyPart('run', run)}/control.json`;
}

/** Null when nobody has asked anything of the run. */
export async function readRunControl(store: Store, run: string): Promise<RunControl | null> {
  return (await readRecord(store, controlKey(run), runControlSchema))?.value ?? null;
}

/** Writes it, unless a newer one is there: a late attempt must not bring back what was taken back. */
export async function putRunControl(
  store: Store,
  run: string,
  control: RunControl,
): Promise<RunControl> {
  return updateRecord(store, controlKey(run), runControlSchema, (current) =>
    current !== null && current.revision >= control.revision ? current : control,
  );
}
