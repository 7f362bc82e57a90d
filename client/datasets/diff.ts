/** What changed between two dataset versions: documents by their ids, so that one that only moved has not changed. */
import { documentSchema, type DatasetManifest, type Document } from '../../config/manifests.ts';
import type { BlobRef } from '../../config/digest.ts';
import type { Distributions } from '../../config/statistics.ts';
import { newestCorpus } from '../../registry/corpora.ts';
import { readLines } from '../../registry/lines.ts';
import type { Store } from '../../registry/store.ts';
import { ClientError } from '../errors.ts';
import { findDataset } from '../find-dataset.ts';
import { dropsOf, requireTexts } from './drops.ts';
import { beginning, Sample } from './sample.ts';
import { idOf, trainedIds, trainedTexts } from './texts.ts';

export interface DiffSide {
  name: string;
  version: number;
  digest: string;
  numDocuments: number;
  bytes: number;
  distributions: Distributions | null;
}

export interface ChangedSource {
  name: string;
  /** Null where that version has no such source. */
  before: { license: string; numDocuments: number; bytes: number } | null;
  after: { license: string; numDocuments: number; bytes: number } | null;
}

export interface ChangedSample {
  id: string;
  source: string;
  bytes: number;
  /** What became of it, where a corpus was made: its cleaned beginning, and why it was dropped if it was. */
  text: string | null;
  dropped: string | null;
}

export interface DatasetDiff {
  before: DiffSide;
  after: DiffSide;
  /** Documents of the second version that the first has too. */
  numKept: number;
  added: { numDocuments: number; bytes: number; samples: ChangedSample[] };
  removed: { numDocuments: number; bytes: number; samples: ChangedSample[] };
  sources: ChangedSource[];
  /** Shards that both have: their documents were not compared one by one. */
  numSharedShards: number;
}

export interface DiffRequest {
  /** `policy@1`; a name alone means its version before the newest. */
  before: string;
  /** Left out: the newest version of the same name. */
  after?: string;
  number: number;
  seed: number;
}

/** Compares two versions shard by shard; what is held are ids of documents in shards that differ. */
export async function diffDatasets(store: Store, request: DiffRequest): Promise<DatasetDiff> {
  const { before, after } = await versionsOf(store, request);
  for (const dataset of [before, after]) await requireTexts(store, dataset);
  const shared = sharedShards(before, after);
  const isShared = ({ documents }: { documents: BlobRef }): boolean => shared.has(documents.sha256);
  const [beforeOnly, afterOnly] = [before, after].map(({ shards }) =>
    shards.filter((shard) => !isShared(shard)).map(({ documents }) => documents),
  ) as [BlobRef[], BlobRef[]];
  const removed = await idsIn(store, beforeOnly);
  const added = new Set<string>();
  for await (const id of idsOf(store, afterOnly)) added.add(id);
  for (const id of added) if (removed.delete(id)) added.delete(id);
  // The same text may lie in a shard that differs and in one that does not.
  if (removed.size > 0 || added.size > 0) {
    const others = after.shards.filter(isShared).map(({ documents }) => documents);
    for await (const id of idsOf(store, others)) {
      removed.delete(id);
      added.delete(id);
    }
  }
  const addedDocuments = await changed(store, afterOnly, added, after, request);
  return {
    before: sideOf(before),
    after: sideOf(after),
    numKept: after.numDocuments - addedDocuments.numDocuments,
    added: addedDocuments,
    removed: await changed(store, beforeOnly, removed, before, request),
    sources: changedSources(before, after),
    numSharedShards: after.shards.filter(isShared).length,
  };
}

async function versionsOf(
  store: Store,
  { before, after }: DiffRequest,
): Promise<{ before: DatasetManifest; after: DatasetManifest }> {
  const name = before.replace(/@.*$/, '');
  const newest = await findDataset(store, after ?? name);
  if (before !== name || after !== undefined)
    return { before: await findDataset(store, before), after: newest };
  if (newest.version === 1) {
    throw new ClientError(
      'input',
      `${name}: found version 1 alone, expected two to compare. A later version comes of a run whose sources have changed.`,
    );
  }
  return { before: await findDataset(store, `${name}@${newest.version - 1}`), after: newest };
}

function sharedShards(before: DatasetManifest, after: DatasetManifest): Set<string> {
  const first = new Set(before.shards.map(({ documents }) => documents.sha256));
  return new Set(
    after.shards.map(({ documents }) => documents.sha256).filter((sha256) => first.has(sha256)),
  );
}

async function* idsOf(store: Store, shards: readonly BlobRef[]): AsyncGenerator<string> {
  for (const shard of shards) for await (const line of readLines(store, shard)) yield idOf(line);
}

async function idsIn(store: Store, shards: readonly BlobRef[]): Promise<Set<string>> {
  const ids = new Set<string>();
  for await (const id of idsOf(store, shards)) ids.add(id);
  return ids;
}

/** The documents of these ids, counted, and some of them shown. */
async function changed(
  store: Store,
  shards: readonly BlobRef[],
  ids: ReadonlySet<string>,
  dataset: DatasetManifest,
  { number, seed }: DiffRequest,
): Promise<DatasetDiff['added']> {
  let numDocuments = 0;
  let bytes = 0;
  const chosen = new Sample<ChangedSample>(number, seed);
  for (const shard of ids.size === 0 ? [] : shards) {
    for await (const line of readLines(store, shard)) {
      if (!ids.has(idOf(line))) continue;
      const document = documentSchema.parse(JSON.parse(line.toString('utf8')));
      const size = Buffer.byteLength(document.text);
      numDocuments += 1;
      bytes += size;
      chosen.add(document.id, sampleOf(document, size));
    }
  }
  return { numDocuments, bytes, samples: await withTexts(store, dataset, chosen.items()) };
}

function sampleOf({ id, source }: Document, bytes: number): ChangedSample {
  return { id, source, bytes, text: null, dropped: null };
}

/** A raw text is never shown: what a corpus made of it is, where there is one. */
async function withTexts(
  store: Store,
  dataset: DatasetManifest,
  samples: ChangedSample[],
): Promise<ChangedSample[]> {
  const corpus = samples.length === 0 ? null : await newestCorpus(store, dataset);
  if (corpus === null) return samples;
  const byId = new Map(samples.map((sample) => [sample.id, sample]));
  const { manifest } = corpus;
  const lists = { dataset: { droppedDocuments: null }, manifest };
  for await (const { id, reason, sample: text } of dropsOf(store, lists)) {
    const sample = byId.get(id);
    if (sample === undefined) continue;
    sample.dropped = reason;
    sample.text = text ?? null;
  }
  const wanted: { id: string; shard: number }[] = [];
  if (manifest.documents !== undefined) {
    for await (const one of trainedIds(store, manifest)) if (byId.has(one.id)) wanted.push(one);
  }
  for (const [id, { text }] of await trainedTexts(store, manifest, wanted)) {
    const sample = byId.get(id)!;
    sample.dropped = null;
    sample.text = beginning(text);
  }
  return samples;
}

function sideOf(dataset: DatasetManifest): DiffSide {
  const { name, version, digest, numDocuments, bytes, distributions = null } = dataset;
  return { name, version, digest, numDocuments, bytes, distributions };
}

/** Every source of either version, those that differ first. */
function changedSources(before: DatasetManifest, after: DatasetManifest): ChangedSource[] {
  const names = new Set([...before.sources, ...after.sources].map(({ name }) => name));
  const of = ({ sources }: DatasetManifest, wanted: string) => {
    const found = sources.filter(({ name }) => name === wanted);
    if (found.length === 0) return null;
    return {
      license: [...new Set(found.map(({ license }) => license))].join(', '),
      numDocuments: found.reduce((sum, { numDocuments }) => sum + numDocuments, 0),
      bytes: found.reduce((sum, { bytes }) => sum + bytes, 0),
    };
  };
  const all = [...names].map((name) => ({
    name,
    before: of(before, name),
    after: of(after, name),
  }));
  const isSame = (source: ChangedSource): boolean =>
    JSON.stringify(source.before) === JSON.stringify(source.after);
  return all.toSorted(
    (a, b) => Number(isSame(a)) - Number(isSame(b)) || (a.name < b.name ? -1 : 1),
  );
}
