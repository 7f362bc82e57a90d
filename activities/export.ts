/** Turns a trained model into a bundle: the ONNX file that is evaluated and served, and all that goes with it. */
import path from 'node:path';
import { ApplicationFailure } from '@temporalio/activity';
import { FailureType } from '../config/failures.ts';
import {
  bundleManifestSchema,
  corpusManifestSchema,
  modelManifestSchema,
  type BundleManifest,
} from '../config/manifests.ts';
import type { Phase } from '../config/recipe.ts';
import { exportRunSchema } from '../config/trainer.ts';
import { putBlobFolder } from '../registry/blobs.ts';
import { findStage, recordStage, stageDigest } from '../registry/stages.ts';
import { requireStage, trainerCode } from './stage-records.ts';
import type { Deps } from './deps.ts';
import { cached, ensureFile } from './files.ts';
import { withHeartbeats } from './heartbeats.ts';
import { runTrainerModule } from './python.ts';
import { withWorkDir } from './work-dir.ts';

export interface ExportInput {
  model: { phase: Phase; stage: string };
  corpus: string;
  threads: number;
}

export interface ExportedBundle {
  /** Digest of the stage record. */
  stage: string;
  /** Digest of the bundle itself: what is served answers to it. */
  bundle: string;
  onnx: string;
  reused: boolean;
}

export function createExportActivities(deps: Deps) {
  const { store } = deps;
  return {
    async exportOnnx(input: ExportInput): Promise<ExportedBundle> {
      const stage = stageDigest({ ...input, code: trainerCode(deps.projectDir) });
      const found = await findStage(store, 'export', stage, bundleManifestSchema);
      if (found !== null) return summarise(stage, found, true);
      const model = await requireStage(
        store,
        input.model.phase,
        input.model.stage,
        modelManifestSchema,
      );
      const corpus = await requireStage(store, 'preprocess', input.corpus, corpusManifestSchema);
      const manifest = await withHeartbeats({ kind: 'export' }, (say) =>
        withWorkDir(deps, async (folder): Promise<BundleManifest> => {
          for (const [name, ref] of Object.entries(model.files)) {
            await ensureFile(deps, ref, path.join(folder, 'model', name));
          }
          const output = path.join(folder, 'bundle');
          const config = exportRunSchema.parse({
            schemaVersion: 1,
            model: path.join(folder, 'model'),
            tokenizer: await cached(deps, corpus.tokenizer),
            output,
            // A base that was made elsewhere brings its own way to chat.
            chat: input.model.phase !== 'pretrain' || 'chat_template.jinja' in model.files,
            threads: input.threads,
          });
          await runTrainerModule(deps, 'export', config, folder, say);
          const files = await putBlobFolder(store, output);
          return { schemaVersion: 1, files, weights: model.files['model.safetensors']!.sha256 };
        }),
      );
      const recorded = await recordStage(store, 'export', stage, bundleManifestSchema, manifest);
      return summarise(stage, recorded, false);
    },
  };
}
export type ExportActivities = ReturnType<typeof createExportActivities>;

function summarise(stage: string, manifest: BundleManifest, reused: boolean): ExportedBundle {
  const onnx = manifest.files['model.onnx'];
  if (onnx === undefined) {
    throw ApplicationFailure.nonRetryable(
      `stages/export/${stage}: found ${Object.keys(manifest.files).join(', ')}, expected model.onnx among them`,
      FailureType.ArtifactMismatch,
    );
  }
  return { stage, bundle: stageDigest(manifest), onnx: onnx.sha256, reused };
}
