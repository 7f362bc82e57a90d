/** Model versions, which never change, and their aliases, which move and remember where they were. */
import { canonicalJson } from '../config/digest.ts';
import {
  aliasSchema,
  modelVersionSchema,
  type Alias,
  type ModelVersion,
} from '../config/manifests.ts';
import { AliasMoved } from './errors.ts';
import { readRecord, updateRecord } from './json.ts';
import { keyPart } from './keys.ts';
import type { Store } from './store.ts';
import { readVersions, registerVersion, versionKey } from './versions.ts';

function folderOf(name: string): string {
  return `models/${keyPart('model', name)}`;
}

function aliasKey(name: string, alias: string): string {
  return `${folderOf(name)}/aliases/${keyPart('alias', alias)}.json`;
}

/** What makes two versions the same: what is served, and how it came to be. */
function identity({ bundle, lineage }: Pick<ModelVersion, 'bundle' | 'lineage'>): string {
  const { dataset } = lineage;
  // The digest of a phase's stage names the same model again, and older versions lack it.
  const phases = lineage.phases.map(({ phase, model, weights }) => ({ phase, model, weights }));
  return canonicalJson({ bundle: bundle.digest, phases, dataset: dataset.digest });
}

/** Gives a model the next number; the same bundle of the same lineage keeps the number it has. */
export async function registerModel(
  store: Store,
  model: Omit<ModelVersion, 'version' | 'createdAt'>,
  now: Date,
): Promise<{ version: ModelVersion; reused: boolean }> {
  const wanted = identity(model);
  return registerVersion(
    store,
    folderOf(model.name),
    modelVersionSchema,
    (found) => identity(found) === wanted,
    (number) => ({ ...model, version: number, createdAt: now.toISOString() }),
  );
}

/** Names of the models that have a version. */
export async function listModels(store: Store): Promise<string[]> {
  const names = new Set<string>();
  for await (const { key } of store.list('models/')) {
    const [, name, folder] = key.split('/');
    if (name !== undefined && folder === 'versions') names.add(name);
  }
  return [...names].toSorted();
}

/** Every version of a model, oldest first. */
export async function listVersions(store: Store, name: string): Promise<ModelVersion[]> {
  return readVersions(store, folderOf(name), modelVersionSchema);
}

/** One version, or null. */
export async function getModel(
  store: Store,
  name: string,
  version: number,
): Promise<ModelVersion | null> {
  const key = versionKey(folderOf(name), version);
  return (await readRecord(store, key, modelVersionSchema))?.value ?? null;
}

/** Where an alias points, and its moves; null when it never pointed anywhere. */
export async function readAlias(store: Store, name: string, alias: string): Promise<Alias | null> {
  return (await readRecord(store, aliasKey(name, alias), aliasSchema))?.value ?? null;
}

export interface AliasMove {
  version: number;
  by: string;
  reason: string;
  now: Date;
  /** Where it must point still; null: nowhere yet. Left out, wherever it points. */
  expected?: number | null | undefined;
}

/** Throws AliasMoved unless the alias points to what is expected, or to the wanted version already. */
export function requireAlias(
  name: string,
  alias: string,
  current: Alias | null,
  { version, expected }: Pick<AliasMove, 'version' | 'expected'>,
): void {
  const at = current?.version ?? null;
  if (expected === undefined || at === expected || at === version) return;
  const was = expected === null ? `there was no ${alias}` : `${name}@${expected} was ${alias}`;
  const last = current?.moves.at(-1);
  const is = at === null ? 'there is none' : `${name}@${at} is (${last?.by}: ${last?.reason})`;
  throw new AliasMoved(
    `${name}@${version} stays registered and is not promoted: when its run began ${was}, now ${is}. ` +
      `To promote it all the same: npx temper models promote ${name}@${version}`,
    at,
  );
}

/** Points an alias at a version that exists. Where it points already, nothing is written. */
export async function moveAlias(
  store: Store,
  name: string,
  alias: string,
  { version, by, reason, now, expected }: AliasMove,
): Promise<Alias> {
  if ((await getModel(store, name, version)) === null) {
    const known = (await listVersions(store, name)).map((found) => found.version).join(', ');
    throw new Error(`${name}@${version} does not exist: expected one of ${known || 'none yet'}.`);
  }
  const move = { version, at: now.toISOString(), by, reason };
  let place: number | null = null;
  return updateRecord(store, aliasKey(name, alias), aliasSchema, (current) => {
    const moves = current?.moves ?? [];
    // Our reply was lost, and somebody moved on since: ours stays in the past, where it belongs.
    const made = place !== null && canonicalJson(moves[place] ?? null) === canonicalJson(move);
    if (current !== null && (current.version === version || made)) return current;
    requireAlias(name, alias, current, { version, expected });
    place = moves.length;
    return { schemaVersion: 1, version, moves: [...moves, move] };
  });
}
