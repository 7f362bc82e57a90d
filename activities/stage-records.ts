/** Looking up what an earlier stage recorded, and the versions of code that stages depend on. */
import { ApplicationFailure } from '@temporalio/activity';
import type { z } from 'zod';
import { FailureType } from '../config/failures.ts';
import {
  importedModelSchema,
  modelManifestSchema,
  type ImportedModel,
  type ModelManifest,
} from '../config/manifests.ts';
import type { Phase } from '../config/recipe.ts';
import { findStage } from '../registry/stages.ts';
import type { Store } from '../registry/store.ts';
import { codeVersion } from './code-version.ts';

/** Throws `ArtifactMismatch` when the record of an earlier stage is gone. */
export async function requireStage<T>(
  store: Store,
  stage: string,
  digest: string,
  schema: z.ZodType<T>,
): Promise<T> {
  const found = await findStage(store, stage, digest, schema);
  if (found !== null) return found;
  throw ApplicationFailure.nonRetryable(
    `stages/${stage}/${digest}.json is gone from ${store.place}, but this run wrote or found it before. ` +
      'Restore the bucket, or start the run again.',
    FailureType.ArtifactMismatch,
  );
}

/** A trained or an imported model, with all of its files. */
export async function requireModel(
  store: Store,
  { phase, stage }: { phase: Phase | 'import'; stage: string },
): Promise<ModelManifest | ImportedModel> {
  return phase === 'import'
    ? await requireStage(store, phase, stage, importedModelSchema)
    : await requireStage(store, phase, stage, modelManifestSchema);
}

/** The code that decides the bits of a trained model and of its export. */
export function trainerCode(projectDir: string): string {
  return codeVersion(projectDir, ['trainer/**/*.py', 'trainer/*.jinja', 'requirements.txt']);
}
