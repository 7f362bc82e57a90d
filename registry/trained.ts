/** The trained model of a phase, found from a version's lineage. */
import { modelManifestSchema, type ModelManifest, type ModelVersion } from '../config/manifests.ts';
import { InvalidRecord } from './errors.ts';
import { readRecord } from './json.ts';
import { findStage, stageDigest } from './stages.ts';
import type { Store } from './store.ts';

type PhaseOfLineage = ModelVersion['lineage']['phases'][number];

/** The manifest of a phase with the digest of the stage that recorded it; null when it is gone. */
export async function findTrained(
  store: Store,
  { phase, model, stage }: PhaseOfLineage,
): Promise<{ stage: string; manifest: ModelManifest } | null> {
  if (stage !== undefined) {
    const manifest = await findStage(store, phase, stage, modelManifestSchema);
    return manifest === null ? null : { stage, manifest };
  }
  // Versions that were registered before lineages named the stage name its manifest alone.
  const folder = `stages/${phase}/`;
  for await (const { key } of store.list(folder)) {
    const manifest = await readManifest(store, key);
    if (manifest === null || stageDigest(manifest) !== model) continue;
    return { stage: key.slice(folder.length, -'.json'.length), manifest };
  }
  return null;
}

/** Null for a record that cannot be read: that of another model must not keep this one from being found. */
async function readManifest(store: Store, key: string): Promise<ModelManifest | null> {
  try {
    return (await readRecord(store, key, modelManifestSchema))?.value ?? null;
  } catch (error) {
    if (error instanceof InvalidRecord) return null;
    throw error;
  }
}
