/**
 * Brings a base model into the registry, in the layout of the models that are made here. Where it comes
 * from is looked at by content: the same files are imported once, whoever asks for them.
 */
import { copyFile, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
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
import { digestOfFile } from './files.ts';
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
  /** It brings a chat template; left out, it brings none. */
  chat?: true;
}

/** Python's own settings for where packages come from, and for reaching it. */
const installerSettings = /^(PIP_|SSL_CERT_|REQUESTS_CA_|https?_proxy$|no_proxy$|all_proxy$)/i;
const installWheel = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--only-binary=:all:'];
const installTimeoutMs = 10 * 60_000;

export function createBaseModelActivities(deps: Deps) {
  const { store } = deps;
  return {
    /** `startFrom` is a known base, or the path of one from the pipeline file's folder on. */
    async importBaseModel(input: { startFrom: string; baseDir: string }): Promise<BaseModel> {
      const { startFrom, baseDir } = input;
      return await withHeartbeats({ kind: 'import' }, async (say) => {
        const known = knownBases[startFrom];
        // Its digest is known before its file is here: what was imported once needs neither disk nor network.
        const files = known && { [path.basename(known.file)]: known.sha256 };
        const earlier = files && (await findImport(files));
        if (files && earlier)
          return summarise(earlier.stage, earlier.model, sourceOf(startFrom, files));
        return await withWorkDir(deps, async (folder) => {
          const taken =
            known === undefined
              ? await take(path.resolve(baseDir, startFrom), startFrom, folder)
              : await takeKnown(deps, known, folder, say);
          const source = sourceOf(startFrom, taken.files);
          const found = await findImport(taken.files);
          if (found !== null) return summarise(found.stage, found.model, source);
          const made = await importFrom(deps, taken.place, { folder, source, say });
          const stage = stageOf(taken.files);
          const model = await recordStage(store, 'import', stage, importedModelSchema, made);
          return summarise(stage, model, source);
        });
      });
    },
  };

  function stageOf(files: Record<string, string>): string {
    return stageDigest({ files, code: trainerCode(deps.projectDir) });
  }

  async function findImport(files: Record<string, string>) {
    const stage = stageOf(files);
    const model = await findStage(store, 'import', stage, importedModelSchema);
    return model && { stage, model };
  }
}
export type BaseModelActivities = ReturnType<typeof createBaseModelActivities>;

function summarise(
  stage: string,
  { files, shape, chat }: ImportedModel,
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
  return {
    name,
    title,
    license,
    stage,
    weights: weights.sha256,
    shape,
    tokenizer,
    ...(chat && { chat }),
  };
}

function sourceOf(startFrom: string, files: Record<string, string>): ImportedModel['source'] {
  const known = knownBases[startFrom];
  const title = known?.title ?? path.basename(startFrom);
  return { name: startFrom, title, license: known?.license ?? null, files };
}

async function importFrom(
  deps: Deps,
  place: string,
  { folder, source, say }: { folder: string; source: ImportedModel['source']; say: Say },
): Promise<ImportedModel> {
  const output = path.join(folder, 'model');
  const config = importRunSchema.parse({ schemaVersion: 1, source: place, output });
  const outcome = await runTrainerModule(deps, 'import_base', config, folder, say).catch(
    (error: unknown) => {
      if (!(error instanceof ApplicationFailure)) throw error;
      // In the words of the pipeline file: the copy is gone by the time that somebody reads this.
      const message = error.message.replaceAll(place, source.name).replaceAll(folder, '…');
      const { type, nonRetryable } = error;
      throw ApplicationFailure.create({
        message,
        type: type ?? FailureType.InvalidConfig,
        nonRetryable: nonRetryable ?? false,
      });
    },
  );
  const { shape, chat } = importOutcomeSchema.parse(outcome);
  say({ kind: 'import', line: 'storing the weights' });
  return { schemaVersion: 1, source, files: await putBlobFolder(deps.store, output), shape, chat };
}

/** A known base, installed anew where its file is gone or damaged. */
async function takeKnown(deps: Deps, known: KnownBase, folder: string, say: Say): Promise<Taken> {
  const name = path.basename(known.file);
  const taken = await take(await installed(deps, known, say), known.title, folder);
  if (taken.files[name] === known.sha256) return taken;
  await rm(packageFolder(deps, known), { recursive: true, force: true });
  const again = await take(await installed(deps, known, say), known.title, folder);
  if (again.files[name] === known.sha256) return again;
  throw ApplicationFailure.nonRetryable(
    `${known.package} ${known.version} holds a ${known.title} with SHA-256 ${again.files[name]}, expected ${known.sha256}. ` +
      'It was installed anew, and is another file than it was: look at where Python packages come from.',
    FailureType.ArtifactMismatch,
  );
}

function packageFolder(deps: Deps, known: KnownBase): string {
  return path.join(deps.home, 'cache', 'bases', `${known.package}-${known.version}`);
}

/** The file of a known base on this host, whose package is installed if it is not there. */
async function installed(deps: Deps, known: KnownBase, say: Say): Promise<string> {
  const folder = packageFolder(deps, known);
  const file = path.join(folder, known.file);
  if ((await stat(file).catch(() => null)) !== null) return file;
  // A package without its file would stand in the way of the new one.
  await rm(folder, { recursive: true, force: true });
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
    // And only what is built already: a source would be run.
    [...installWheel, '--target', target, wanted],
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

interface Taken {
  /** The copy, in the work folder. */
  place: string;
  /** SHA-256 of every file, by name. */
  files: Record<string, string>;
}

/** Of a folder, what makes a model; nothing else in it is read. */
const modelFile =
  /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map)\.json$|^chat_template\.jinja$|^model(-\d+-of-\d+)?\.safetensors$|^model\.safetensors\.index\.json$/;

/** Copies a base, and looks at the copy: what is imported is what the digests name. */
async function take(place: string, named: string, folder: string): Promise<Taken> {
  const refuse = (found: string) =>
    ApplicationFailure.nonRetryable(
      `startFrom ${named}: found ${found}, expected a .gguf file or a folder in transformers layout.`,
      FailureType.InvalidConfig,
    );
  const state = await stat(place).catch(() => null);
  if (state === null) throw refuse('nothing there');
  const copy = path.join(folder, 'base');
  await mkdir(copy, { recursive: true });
  const names = state.isDirectory() ? (await readdir(place)).toSorted() : [path.basename(place)];
  if (state.isDirectory() && names.includes('adapter_config.json')) {
    throw refuse('an adapter_config.json, so adapters of another model');
  }
  const from = state.isDirectory() ? place : path.dirname(place);
  const files: Record<string, string> = {};
  for (const name of names) {
    if (state.isDirectory() && !modelFile.test(name)) continue;
    const file = path.join(from, name);
    const kind = await stat(file).catch(() => null);
    if (kind?.isFile() !== true) throw refuse(`${name}, which is no file that can be read`);
    await copyFile(file, path.join(copy, name));
    files[name] = await digestOfFile(path.join(copy, name));
  }
  if (Object.keys(files).length === 0) throw refuse('a folder without a model');
  return { place: state.isDirectory() ? copy : path.join(copy, path.basename(place)), files };
}
