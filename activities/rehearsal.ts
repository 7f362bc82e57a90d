/** Lets a model that will be adapted write text of its own, which it rehearses while it learns the documents. */
import path from 'node:path';
import type { BlobRef } from '../config/digest.ts';
import { rehearsalManifestSchema } from '../config/manifests.ts';
import type { Machine, Phase, PretrainRecipe } from '../config/recipe.ts';
import { rehearseRunSchema } from '../config/trainer.ts';
import { putBlobFile } from '../registry/blobs.ts';
import { findStage, recordStage, stageDigest } from '../registry/stages.ts';
import type { Deps } from './deps.ts';
import { cached, ensureFile } from './files.ts';
import { withHeartbeats } from './heartbeats.ts';
import { runTrainerModule } from './python.ts';
import { requireModel, trainerCode } from './stage-records.ts';
import { withWorkDir } from './work-dir.ts';

export interface RehearsalInput {
  model: { phase: Phase | 'import'; stage: string };
  /** What kind of device writes it: that decides the bits. */
  device: Pick<Machine, 'device' | 'instructionSet'>;
  recipe: Pick<PretrainRecipe, 'seed' | 'precision' | 'threads' | 'rehearsal'>;
  /** tokenizer.json of the model. */
  tokenizer: BlobRef;
  /** Width of a token, as in the shards of the corpus. */
  tokenBytes: 2 | 4;
}

export function createRehearsalActivities(deps: Deps) {
  const { store } = deps;
  return {
    /** Resolves with the digest of the stage; written once for a model, whatever documents it learns. */
    async writeRehearsal(input: RehearsalInput): Promise<string> {
      const { model: source, device, recipe, tokenizer, tokenBytes } = input;
      const { seed, precision, threads, rehearsal } = recipe;
      if (rehearsal === undefined) throw new Error('found a recipe without rehearsal');
      const { numRows, rowLength } = rehearsal;
      const options = { numRows, rowLength, tokenBytes, seed, precision, threads };
      const stage = stageDigest({
        model: source,
        device,
        tokenizer,
        ...options,
        code: trainerCode(deps.projectDir),
      });
      const found = await findStage(store, 'rehearse', stage, rehearsalManifestSchema);
      if (found !== null) return stage;
      const model = await requireModel(store, source);
      const tokens = await withHeartbeats({ kind: 'rehearse' }, (say) =>
        withWorkDir(deps, async (folder) => {
          for (const [name, ref] of Object.entries(model.files)) {
            await ensureFile(deps, ref, path.join(folder, 'model', name));
          }
          const output = path.join(folder, 'rows');
          const config = rehearseRunSchema.parse({
            schemaVersion: 1,
            model: path.join(folder, 'model'),
            tokenizer: await cached(deps, tokenizer),
            output,
            ...options,
          });
          await runTrainerModule(deps, 'rehearse', config, folder, say);
          return await putBlobFile(store, output);
        }),
      );
      const manifest = { schemaVersion: 1 as const, tokens, numRows, rowLength };
      await recordStage(store, 'rehearse', stage, rehearsalManifestSchema, manifest);
      return stage;
    },
  };
}
export type RehearsalActivities = ReturnType<typeof createRehearsalActivities>;
