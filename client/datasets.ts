/** Datasets as an operator sees them: which there are, what is in one, which models were trained on it. */
import { corpusManifestSchema, type DatasetManifest } from '../config/manifests.ts';
import { getDataset, listDatasets } from '../registry/datasets.ts';
import { listModels, listVersions } from '../registry/models.ts';
import { findStage } from '../registry/stages.ts';
import type { Store } from '../registry/store.ts';
import { ClientError } from './errors.ts';
import { nearest } from './nearest.ts';
import { ingestDrops } from './report/data.ts';
import type { DataReport } from './report/run-report.ts';

export interface DatasetSummary {
  name: string;
  versions: number[];
  /** Of the newest version. */
  numDocuments: number;
  bytes: number;
  numDropped: number;
  licenses: string[];
}

export interface DatasetDetails {
  dataset: DatasetManifest;
  versions: number[];
  dropped: DataReport['dropped'];
  /** Documents that each step of data.clean changed or dropped, for the newest of its models; null: no steps. */
  cleaned: Readonly<Record<string, number>> | null;
  /** Model versions that were trained on this version. */
  models: { name: string; version: number; run: string }[];
}

/** Every dataset, with the figures of its newest version. */
export async function summariseDatasets(store: Store): Promise<DatasetSummary[]> {
  const byName = Map.groupBy(await listDatasets(store), ({ name }) => name);
  return [...byName].map(([name, manifests]) => {
    const { numDocuments, bytes, dropped, sources } = manifests.at(-1)!;
    return {
      name,
      versions: manifests.map(({ version }) => version),
      numDocuments,
      bytes,
      numDropped: Object.values(dropped).reduce((sum, count) => sum + count, 0),
      licenses: [...new Set(sources.map(({ license }) => license))],
    };
  });
}

/** `policy` means its newest version, `policy@2` that one. Throws a ClientError for one that there is not. */
export async function describeDataset(store: Store, reference: string): Promise<DatasetDetails> {
  const match = /^([a-z][a-z0-9-]*)(?:@(\d{1,9}))?$/.exec(reference);
  if (match === null) {
    throw new ClientError(
      'input',
      `dataset: found ${JSON.stringify(reference)}, expected a name such as policy, or policy@2 for one version.`,
    );
  }
  const name = match[1]!;
  const known = await summariseDatasets(store);
  const found = known.find((summary) => summary.name === name);
  if (found === undefined) {
    const names = known.map((summary) => summary.name);
    const near = nearest(name, names);
    const hint = near === null ? '' : ` Did you mean ${near}?`;
    throw new ClientError(
      'input',
      `dataset: found "${name}", expected one that is registered (${names.join(', ') || 'none yet'}).${hint}`,
    );
  }
  const { versions } = found;
  const wanted = match[2] === undefined ? versions.at(-1)! : Number(match[2]);
  const dataset = await getDataset(store, name, wanted);
  if (dataset === null) {
    throw new ClientError(
      'input',
      `${name}: found no version ${wanted}, expected ${versions.join(', ')}.`,
    );
  }
  const { models, corpus } = await modelsOf(store, dataset);
  const manifest =
    corpus === null ? null : await findStage(store, 'preprocess', corpus, corpusManifestSchema);
  return {
    dataset,
    versions,
    dropped: await ingestDrops(store, dataset),
    cleaned: manifest?.statistics.cleaned ?? null,
    models,
  };
}

async function modelsOf(
  store: Store,
  { name, digest }: DatasetManifest,
): Promise<{ models: DatasetDetails['models']; corpus: string | null }> {
  const models: DatasetDetails['models'] = [];
  let newest = { createdAt: '', corpus: null as string | null };
  for (const model of await listModels(store)) {
    for (const { version, lineage, createdAt } of await listVersions(store, model)) {
      const { dataset, run } = lineage;
      if (dataset.name !== name || dataset.digest !== digest) continue;
      models.push({ name: model, version, run });
      if (createdAt > newest.createdAt) newest = { createdAt, corpus: lineage.corpus };
    }
  }
  return { models, corpus: newest.corpus };
}
