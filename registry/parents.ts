/**
 * The model that another one goes on from: of a registered version, the pretrained weights before any
 * tuning, with the shape and the tokenizer that belong to them.
 */
import type { BlobRef } from '../config/digest.ts';
import { modelManifestSchema, type ModelManifest, type ModelVersion } from '../config/manifests.ts';
import type { ModelShape } from '../config/recipe.ts';
import { InvalidRecord } from './errors.ts';
import { readRecord } from './json.ts';
import { getModel, listModels, listVersions, readAlias } from './models.ts';
import { stageDigest } from './stages.ts';
import type { Store } from './store.ts';

export interface ParentModel {
  name: string;
  version: number;
  /** Digest of the stage record of its pretraining. */
  pretrain: string;
  shape: ModelShape;
  /** Tokens that this pretraining has seen. */
  numTokens: number;
  tokenizer: { file: BlobRef; vocabSize: number };
  dataset: ModelVersion['lineage']['dataset'];
}

/** Why a version cannot be gone on from: a matter of what was asked for, not of the store. */
export class UnknownParent extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UnknownParent';
  }
}

/** What `policy@3` or `policy@champion` stands for; throws UnknownParent with what there is instead. */
export async function findParent(store: Store, reference: string): Promise<ParentModel> {
  const [name = '', which = ''] = reference.split('@');
  const versions = (await listVersions(store, name)).map(({ version }) => version);
  if (versions.length === 0) {
    const known = (await listModels(store)).join(', ') || 'none yet';
    throw new UnknownParent(
      `startFrom: found no model "${name}", expected one that is registered (${known}).`,
    );
  }
  const wanted = which === 'champion' ? await championOf(store, name) : Number(which);
  if (wanted === null) {
    throw new UnknownParent(
      `startFrom: ${name} has no champion yet, expected a version such as ${name}@${versions.at(-1)}.`,
    );
  }
  const version = await getModel(store, name, wanted);
  if (version === null) {
    throw new UnknownParent(
      `startFrom: found no ${name}@${wanted}, expected version ${versions.join(', ')}, or ${name}@champion.`,
    );
  }
  return await parentOf(store, version);
}

/** The champion of a model; null as long as there is none. */
export async function findChampion(store: Store, name: string): Promise<ParentModel | null> {
  const champion = await championOf(store, name);
  return champion === null ? null : await findParent(store, `${name}@${champion}`);
}

/** The version that went on from another one over the same documents; null when none has. */
export async function findSuccessor(
  store: Store,
  { name, version, dataset }: { name: string; version: number; dataset: string },
): Promise<number | null> {
  const successor = (await listVersions(store, name)).findLast(
    ({ lineage }) =>
      lineage.parent?.name === name &&
      lineage.parent.version === version &&
      lineage.dataset.digest === dataset,
  );
  return successor?.version ?? null;
}

async function championOf(store: Store, name: string): Promise<number | null> {
  return (await readAlias(store, name, 'champion'))?.version ?? null;
}

async function parentOf(store: Store, version: ModelVersion): Promise<ParentModel> {
  const { name, version: number, lineage, bundle } = version;
  const base = lineage.phases.find(({ phase }) => phase === 'pretrain');
  const file = bundle.manifest.files['tokenizer.json'];
  if (base === undefined || file === undefined) {
    throw new UnknownParent(
      `startFrom: ${name}@${number} was not pretrained here, so there is no base to go on from. Name another version.`,
    );
  }
  // The lineage names the manifest; a training job names the stage that recorded it.
  for await (const { key } of store.list('stages/pretrain/')) {
    const manifest = await readManifest(store, key);
    if (manifest === null || stageDigest(manifest) !== base.model) continue;
    const { shape, numTokens } = manifest;
    return {
      name,
      version: number,
      pretrain: key.slice('stages/pretrain/'.length, -'.json'.length),
      shape,
      numTokens,
      tokenizer: { file, vocabSize: shape.vocabSize },
      dataset: lineage.dataset,
    };
  }
  throw new UnknownParent(
    `startFrom: the pretraining of ${name}@${number} is gone from ${store.place}. Restore the bucket, or name another version.`,
  );
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
