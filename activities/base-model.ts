/**
 * Brings a base model into the registry, in the layout of the models that are made here. Where it comes
 * from is looked at by content: the same files are imported once, whoever asks for them.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, rename, stat } from 'node:fs/promises';
import path from 'node:path';
import { pipeline as streaming } from 'node:stream/promises';
import { ApplicationFailure, Context } from '@temporalio/activity';
import { execa } from 'execa';
import { knownBases, type KnownBase } from '../config/base-models.ts';
import type { BlobRef } from '../config/digest.ts';
import { FailureType } from '../config/failures.ts';
import { importedModelSchema, type ImportedModel } from '../config/manifests.ts';
import type { ModelShape } from '../config/recipe.ts';
import { importOutcomeSchema, importRunSchema } from '../config/trainer.ts';
import { putBlobFolder } from '../registry/blobs.ts';
import { findStage, recordStage, stageDigest } from '../registry/stages.ts';
import { childEnvironment } from './child-environment.ts';
import type { Deps } from './deps.ts';
import { withHeartbeats, type Say } from './heartbeats.ts';
import { runTrainerModule } from './python.ts';
import { trainerCode } from './stage-records.ts';
import { withWorkDir } from './work-dir.ts';

/** What a run says of the base that it adapts; the files stay in the registry. */
export interface BaseModel {
  name: string;
  title: string;
  license: string | null;
  /** Digest of the import's stage record. */
  stage: string;
  /** SHA-256 of model.safetensors. */
  weights: string;
  shape: ModelShape;
  tokenizer: { file: BlobRef; vocabSize: number };
}

/** Python's own settings for where packages come from, and for reaching it. */
const installerSettings = /^(PIP_|SSL_CERT_|REQUESTS_CA_|https?_proxy$|no_proxy$|all_proxy$)/i;
const installTimeoutMs = 10 * 60_000;

export function createBaseModelActivities(deps: Deps) {
  const { store } = deps;
  return {
    /** `startFrom` is a known base, or the path of one from the pipeline file's folder on. */
    async importBaseModel(input: { startFrom: string; baseDir: string }): Promise<BaseModel> {
      const { startFrom, baseDir } = input;
      return await withHeartbeats({ kind: 'import' }, async (say) => {
        const known = knownBases[startFrom];
        const place =
          known === undefined
            ? path.resolve(baseDir, startFrom)
            : await installed(deps, known, say);
        const files = await digests(place, known);
        const stage = stageDigest({ files, code: trainerCode(deps.projectDir) });
        const found = await findStage(store, 'import', stage, importedModelSchema);
        const source = {
          name: startFrom,
          title: known?.title ?? path.basename(place),
          license: known?.license ?? null,
          files,
        };
        const model =
          found ??
          (await recordStage(
            store,
            'import',
            stage,
            importedModelSchema,
            await importFrom(deps, place, source, say),
          ));
        return summarise(stage, model, source);
      });
    },
  };
}
export type BaseModelActivities = ReturnType<typeof createBaseModelActivities>;

function summarise(
  stage: string,
  { files, shape }: ImportedModel,
  { name, title, license }: ImportedModel['source'],
): BaseModel {
  const weights = files['model.safetensors'];
  const file = files['tokenizer.json'];
  if (weights === undefined || file === undefined) {
    throw ApplicationFailure.nonRetryable(
      `stages/import/${stage}: found ${Object.keys(files).join(', ')}, expected model.safetensors and tokenizer.json`,
      FailureType.ArtifactMismatch,
    );
  }
  const tokenizer = { file, vocabSize: shape.vocabSize };
  return { name, title, license, stage, weights: weights.sha256, shape, tokenizer };
}

async function importFrom(
  deps: Deps,
  place: string,
  source: ImportedModel['source'],
  say: Say,
): Promise<ImportedModel> {
  return await withWorkDir(deps, async (folder) => {
    const output = path.join(folder, 'model');
    const config = importRunSchema.parse({ schemaVersion: 1, source: place, output });
    const { shape, chat } = importOutcomeSchema.parse(
      await runTrainerModule(deps, 'import_base', config, folder, say),
    );
    say({ kind: 'import', line: 'storing the weights' });
    return {
      schemaVersion: 1,
      source,
      files: await putBlobFolder(deps.store, output),
      shape,
      chat,
    };
  });
}

/** The file of a known base on this host, whose package is installed if it is not there. */
async function installed(deps: Deps, known: KnownBase, say: Say): Promise<string> {
  const folder = path.join(deps.home, 'cache', 'bases', `${known.package}-${known.version}`);
  const file = path.join(folder, known.file);
  if ((await stat(file).catch(() => null)) !== null) return file;
  const wanted = `${known.package}==${known.version}`;
  say({ kind: 'import', line: `installing ${wanted}` });
  await mkdir(path.dirname(folder), { recursive: true });
  // Aside, then by rename: a folder that is there is whole.
  await withWorkDir(deps, async (work) => {
    const aside = path.join(work, 'package');
    await install(deps, wanted, aside);
    await rename(aside, folder).catch((error: NodeJS.ErrnoException) => {
      // Another attempt was sooner, with the same files.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  });
  return file;
}

async function install(deps: Deps, wanted: string, target: string): Promise<void> {
  const settings = Object.entries(process.env).filter(([name]) => installerSettings.test(name));
  const { exitCode, stderr } = await execa(
    deps.python,
    // What the package needs to run is not needed to read its file.
    ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', target, wanted],
    {
      stdin: 'ignore',
      reject: false,
      timeout: installTimeoutMs,
      cancelSignal: Context.current().cancellationSignal,
      extendEnv: false,
      env: childEnvironment(Object.fromEntries(settings) as Record<string, string>),
    },
  );
  if (exitCode === 0) return;
  const said = stderr.trim().split('\n').slice(-2).join(' | ').slice(-500);
  throw new Error(
    `the Python package ${wanted} could not be installed: ${said}. Look at the network, or give a model that is on disk: startFrom: ./model.gguf`,
  );
}

/** SHA-256 of every file that is imported, by name. */
async function digests(
  place: string,
  known: KnownBase | undefined,
): Promise<Record<string, string>> {
  const state = await stat(place).catch(() => null);
  if (state === null) {
    throw ApplicationFailure.nonRetryable(
      `startFrom: found nothing at ${place}, expected a .gguf file or a folder in transformers layout.`,
      FailureType.InvalidConfig,
    );
  }
  const names = state.isDirectory()
    ? (await readdir(place, { withFileTypes: true }))
        .filter((entry) => !entry.isDirectory())
        .map(({ name }) => name)
        .toSorted()
    : [path.basename(place)];
  const folder = state.isDirectory() ? place : path.dirname(place);
  const found: Record<string, string> = {};
  for (const name of names) found[name] = await digestOf(path.join(folder, name));
  const only = found[names[0] ?? ''];
  if (known !== undefined && only !== known.sha256) {
    throw ApplicationFailure.nonRetryable(
      `${place} has SHA-256 ${only}, expected ${known.sha256} of ${known.title}. Remove it, and it is installed again.`,
      FailureType.ArtifactMismatch,
    );
  }
  return found;
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  await streaming(createReadStream(file), hash);
  return hash.digest('hex');
}
