/** What people ask of a run while it goes, where the watchers of its trainers can read it. */
import { runControlSchema, type RunControl } from '../config/manifests.ts';
import { readRecord, updateRecord } from './json.ts';
import { keyPart } from './keys.ts';
import type { Store } from './store.ts';

function controlKey(run: string): string {
  return `runs/${keyPart('run', run)}/control.json`;
}

/**
 * What was asked of this execution of the run; null when nothing was. A name may be used again: what was asked under
 * it before says nothing now. Without an execution it is whatever was asked last.
 */
export async function readRunControl(
  store: Store,
  run: string,
  execution?: string,
): Promise<RunControl | null> {
  const control = (await readRecord(store, controlKey(run), runControlSchema))?.value ?? null;
  return execution === undefined || control?.execution?.id === execution ? control : null;
}

/** Writes it, unless a newer one is there: a late attempt must not bring back what was taken back. */
export async function putRunControl(
  store: Store,
  run: string,
  control: RunControl,
): Promise<RunControl> {
  return updateRecord(store, controlKey(run), runControlSchema, (current) =>
    current === null || isNewer(control, current) ? control : current,
  );
}

function isNewer(control: RunControl, current: RunControl): boolean {
  const [ours, theirs] = [control.execution, current.execution];
  // One that names no execution comes from an older version, of the same run or of one that is gone.
  if (ours === undefined || ours.id === theirs?.id) return control.revision > current.revision;
  return theirs === undefined || ours.startedAt > theirs.startedAt;
}
