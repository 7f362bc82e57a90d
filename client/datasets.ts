/** Datasets as an operator sees them: which there are, what is in one, which models were trained on it. */
import { isOfKept } from '../config/dropped.ts';
import { corpusManifestSchema, type DatasetManifest } from '../config/manifests.ts';
import type { Compression } from '../config/compression.ts';
import type { Mixture } from '../config/mixture.ts';
import { runInputsSchema } from '../config/run-records.ts';
import { getExpiry, listDatasets } from '../registry/datasets.ts';
import { listModels, listVersions } from '../registry/models.ts';
import { getRunRecord } from '../registry/runs.ts';
import { findStage } from '../registry/stages.ts';
import type { Store } from '../registry/store.ts';
import { findDataset } from './find-dataset.ts';
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
  /** Documents that each step of cleaning changed or dropped, for the newest of its models; null: not counted. */
  cleaned: Readonly<Record<string, number>> | null;
  /** When its documents are deleted, or were; null: they stay. */
  expiry: { expiresAt: string; expired: boolean } | null;
  /** Id of the data key that its documents are encrypted with; null: they are not. */
  encrypted: string | null;
  /** How much an epoch reads of each source, for the newest of its models; left out: sources are not mixed. */
  mixture?: Mixture;
  /** What the tokens of the newest of its models stand for; left out: none, or an older corpus. */
  compression?: Compression;
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
      numDropped: Object.entries(dropped).reduce(
        (sum, [reason, count]) => (isOfKept(reason) ? sum : sum + count),
        0,
      ),
      licenses: [...new Set(sources.map(({ license }) => license))],
    };
  });
}

/** `policy` means its newest version, `policy@2` that one. Throws a ClientError for one that there is not. */
export async function describeDataset(store: Store, reference: string): Promise<DatasetDetails> {
  const dataset = await findDataset(store, reference);
  const known = await summariseDatasets(store);
  const versions = known.find(({ name }) => name === dataset.name)?.versions ?? [dataset.version];
  const { models, corpus } = await modelsOf(store, dataset);
  const manifest =
    corpus === null ? null : await findStage(store, 'preprocess', corpus, corpusManifestSchema);
  return {
    dataset,
    versions,
    dropped: await ingestDrops(store, dataset),
    cleaned: manifest?.statistics.cleaned ?? null,
    expiry: await expiryOf(store, dataset),
    encrypted: dataset.shards[0]?.documents.sealed ?? null,
    ...(manifest?.mixture && { mixture: manifest.mixture }),
    ...(manifest?.compression && { compression: manifest.compression }),
    models,
  };
}

async function expiryOf(
  store: Store,
  { name, version, expiresAt }: DatasetManifest,
): Promise<DatasetDetails['expiry']> {
  if (expiresAt === undefined) return null;
  return { expiresAt, expired: (await getExpiry(store, name, version)) !== null };
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
      if (createdAt <= newest.createdAt) continue;
      // The run knows its stage; a lineage knows the digest of what stands there.
      const inputs = await getRunRecord(store, run, 'inputs', runInputsSchema).catch(() => null);
      newest = { createdAt, corpus: inputs?.corpus ?? lineage.corpus };
    }
  }
  return { models, corpus: newest.corpus };
}
