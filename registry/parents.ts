/**
 * The model that another one goes on from: of a registered version, the pretrained weights before any
 * tuning, or the version as it is, with the shape and the tokenizer that belong to them.
 */
import type { BlobRef } from '../config/digest.ts';
import type { ModelVersion } from '../config/manifests.ts';
import {
  architectureOf,
  embeds,
  phaseNames,
  type ModelShape,
  type Phase,
} from '../config/recipe.ts';
import { getModel, listModels, listVersions, readAlias } from './models.ts';
import type { Store } from './store.ts';
import { findTrained } from './trained.ts';

export interface ParentModel {
  name: string;
  version: number;
  /** Digest of the stage record of its pretraining; null where it began with a tuning. */
  pretrain: string | null;
  /** Of a version that is gone on from as it is: what it went through, with the digests of the stage records. */
  phases?: { phase: Phase; stage: string }[];
  shape: ModelShape;
  /** Tokens that this pretraining has seen. */
  numTokens: number;
  /** By LoRA around a model that existed; left out, all of its weights were trained. */
  adapted?: true;
  tokenizer: { file: BlobRef; vocabSize: number };
  dataset: ModelVersion['lineage']['dataset'];
  /** The model from elsewhere that its line began with. */
  base?: ModelVersion['lineage']['base'];
  /** The best of its line, where it is not this version itself, with the stage record of its pretraining. */
  anchor?: { name: string; version: number; pretrain: string };
}

/** Why a version cannot be gone on from: a matter of what was asked for, not of the store. */
export class UnknownParent extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UnknownParent';
  }
}

/**
 * What `policy@3` or `policy@champion` stands for; throws UnknownParent with what there is instead. `asItIs`:
 * with all that it was taught, not from its pretraining on.
 */
export async function findParent(
  store: Store,
  reference: string,
  { asItIs = false } = {},
): Promise<ParentModel> {
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
  return await parentOf(store, version, asItIs);
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

async function parentOf(
  store: Store,
  version: ModelVersion,
  asItIs: boolean,
): Promise<ParentModel> {
  const { name, version: number, lineage, bundle } = version;
  const file = bundle.manifest.files['tokenizer.json'];
  const pretraining = await pretrainingOf(store, version);
  const all = asItIs ? await allOf(store, version) : undefined;
  const base = pretraining ?? all?.at(-1) ?? null;
  if (base === null || file === undefined) {
    throw new UnknownParent(
      `startFrom: ${name}@${number} was not pretrained here, so there is no base to go on from. Name another version.`,
    );
  }
  const { shape, numTokens } = base.manifest;
  if (embeds(shape)) {
    throw new UnknownParent(
      `startFrom: ${name}@${number} is a ${architectureOf(shape)}, which embeds text and is not gone on from. Name another version, or start from scratch.`,
    );
  }
  const anchor = lineage.anchor && (await anchorOf(store, lineage.anchor));
  return {
    name,
    version: number,
    pretrain: pretraining?.stage ?? null,
    ...(all && { phases: all.map(({ phase, stage }) => ({ phase, stage })) }),
    shape,
    numTokens,
    ...((base.manifest.adapted !== undefined || pretraining === null) && {
      adapted: true as const,
    }),
    tokenizer: { file, vocabSize: shape.vocabSize },
    dataset: lineage.dataset,
    ...(lineage.base && { base: lineage.base }),
    ...(anchor && { anchor }),
  };
}

async function anchorOf(
  store: Store,
  { name, version }: { name: string; version: number },
): Promise<NonNullable<ParentModel['anchor']>> {
  const found = await getModel(store, name, version);
  const base = found && (await pretrainingOf(store, found));
  if (base === null) {
    throw new UnknownParent(
      `startFrom: ${name}@${version}, the best of its line, is gone from ${store.place}. Restore the bucket, or name another version.`,
    );
  }
  return { name, version, pretrain: base.stage };
}

/** The record of each phase of a version, in order. */
async function allOf(store: Store, { name, version, lineage }: ModelVersion) {
  const found = [];
  for (const one of lineage.phases) {
    const phase = phaseNames.find((known) => known === one.phase);
    const trained = phase && (await findTrained(store, one));
    if (phase === undefined || trained == null) {
      throw new UnknownParent(
        `startFrom: ${one.phase} of ${name}@${version} is gone from ${store.place}. Restore the bucket, or name another version.`,
      );
    }
    found.push({ phase, ...trained });
  }
  return found;
}

/** The record of a version's pretraining; null where it was not pretrained here. */
async function pretrainingOf(store: Store, { name, version, lineage }: ModelVersion) {
  const base = lineage.phases.find(({ phase }) => phase === 'pretrain');
  if (base === undefined) return null;
  const found = await findTrained(store, base);
  if (found !== null) return found;
  throw new UnknownParent(
    `startFrom: the pretraining of ${name}@${version} is gone from ${store.place}. Restore the bucket, or name another version.`,
  );
}
