/** What a pipeline file says of the documents as they are read: whether they are sealed, and when they expire. */
import type { DatasetManifest } from '../config/manifests.ts';
import type { Pipeline } from '../config/pipeline.ts';
import { DataKeys } from '../registry/data-keys.ts';
import type { Store } from '../registry/store.ts';

export type Originals = Pipeline['data']['originals'];

/** Id of the data key to seal with; undefined where nothing is sealed. Throws where there is no key. */
export function sealingOf(
  originals: Originals,
  { dataKeys = new DataKeys() }: Store,
): string | undefined {
  return originals?.encrypt === true ? dataKeys.sealing : undefined;
}

/** Decided once, when a version is registered: one that is registered already keeps its own time. */
export function expiryOf(originals: Originals, now: Date): Pick<DatasetManifest, 'expiresAt'> {
  if (originals === undefined || originals.keep === 'forever') return {};
  return { expiresAt: new Date(now.getTime() + originals.keep).toISOString() };
}
