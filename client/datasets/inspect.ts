/**
 * What became of the documents of a dataset version: samples of what was kept and of what was dropped, by reason,
 * or every dropped document. Texts are shown as they were stored with the reason, cleaned and redacted first.
 */
import {
  documentSchema,
  type CorpusManifest,
  type DatasetManifest,
} from '../../config/manifests.ts';
import { newestCorpus } from '../../registry/corpora.ts';
import { readRecords } from '../../registry/lines.ts';
import type { Store } from '../../registry/store.ts';
import { ClientError } from '../errors.ts';
import { findDataset } from '../find-dataset.ts';
import { nearest } from '../nearest.ts';
import { dropsOf, goneLists, groupsOf, type DropGroup, type ListedDrop } from './drops.ts';
import { beginning, Sample } from './sample.ts';
import { trainedIds, trainedTexts } from './texts.ts';

export interface KeptSample {
  id: string;
  source: string;
  text: string;
}

export interface Inspection {
  dataset: Pick<DatasetManifest, 'name' | 'version' | 'digest' | 'numDocuments' | 'bytes'>;
  corpus: { stage: string; at: string; kept: number } | null;
  notes: string[];
  kept: KeptSample[];
  dropped: DropGroup[];
}

export interface InspectRequest {
  /** `policy` or `policy@2`. */
  reference: string;
  /** Left out: both. */
  only?: 'kept' | 'dropped';
  /** Of what was dropped, only this. */
  reason?: string;
  /** Samples of each kind. */
  number: number;
  seed: number;
}

/** Samples by reason; throws a ClientError for a dataset or a reason that there is not. */
export async function inspectDataset(store: Store, request: InspectRequest): Promise<Inspection> {
  const { only, number, seed } = request;
  const { dataset, corpus, groups, notes } = await inspectable(store, request);
  const samples = new Map(groups.map((group) => [group, new Sample<ListedDrop>(number, seed)]));
  if (only !== 'kept') {
    for await (const drop of dropsOf(store, { dataset, manifest: corpus?.manifest ?? null })) {
      const group = groups.find(
        ({ reason, stage }) => drop.reason === reason && drop.stage === stage,
      );
      if (group !== undefined) samples.get(group)!.add(`${drop.id} ${drop.source}`, drop);
    }
  }
  const wantsKept = only !== 'dropped' && request.reason === undefined && corpus !== null;
  return {
    ...inspectedOf(dataset, corpus),
    notes: wantsKept && corpus.manifest.documents === undefined ? [...notes, oldCorpus] : notes,
    kept: wantsKept ? await keptSamples(store, corpus.manifest, request) : [],
    dropped:
      only === 'kept'
        ? []
        : groups.map((group) => ({
            ...group,
            samples: samples.get(group)!.items(),
          })),
  };
}

const oldCorpus =
  'The corpus was made by an older version, which did not note where its texts lie: samples of what was kept are of the held-out part.';

/** Every dropped document, or every one of a reason, with the same checks. */
export async function listDropped(
  store: Store,
  request: Pick<InspectRequest, 'reference' | 'reason'>,
): Promise<Omit<Inspection, 'kept' | 'dropped'> & { drops: AsyncIterable<ListedDrop> }> {
  const { dataset, corpus, notes } = await inspectable(store, request);
  const all = dropsOf(store, { dataset, manifest: corpus?.manifest ?? null });
  return {
    ...inspectedOf(dataset, corpus),
    notes,
    drops: request.reason === undefined ? all : only(all, request.reason),
  };
}

async function* only(drops: AsyncIterable<ListedDrop>, reason: string): AsyncGenerator<ListedDrop> {
  for await (const drop of drops) if (drop.reason === reason) yield drop;
}

/** What was looked at, as it is told. */
function inspectedOf(
  { name, version, digest, numDocuments, bytes }: DatasetManifest,
  corpus: Awaited<ReturnType<typeof newestCorpus>>,
): Pick<Inspection, 'dataset' | 'corpus'> {
  return {
    dataset: { name, version, digest, numDocuments, bytes },
    corpus: corpus && {
      stage: corpus.stage,
      at: corpus.at.toISOString(),
      kept: corpus.manifest.statistics.kept,
    },
  };
}

/** What there is to look at: the version, the newest corpus made of it, and the reasons with their counts. */
async function inspectable(
  store: Store,
  { reference, reason }: Pick<InspectRequest, 'reference' | 'reason'>,
) {
  const dataset = await findDataset(store, reference);
  const corpus = await newestCorpus(store, dataset);
  const all = groupsOf(dataset, corpus?.manifest ?? null);
  const groups = reason === undefined ? all : all.filter((group) => group.reason === reason);
  if (reason !== undefined && groups.length === 0) throw unknownReason(dataset, reason, all);
  const notes = await goneLists(store, { dataset, manifest: corpus?.manifest ?? null });
  if (corpus === null) notes.push(noCorpus(dataset));
  return { dataset, corpus, groups, notes };
}

function noCorpus({ name, version }: DatasetManifest): string {
  return `No corpus was made of ${name}@${version} yet: this is what ingest could not read. A run cleans the rest and says what it drops.`;
}

async function keptSamples(
  store: Store,
  manifest: CorpusManifest,
  { number, seed }: InspectRequest,
): Promise<KeptSample[]> {
  if (manifest.documents === undefined) {
    const chosen = new Sample<KeptSample>(number, seed);
    for await (const record of readRecords(store, manifest.heldOut.documents)) {
      const { id, source, text } = documentSchema.parse(record);
      chosen.add(id, { id, source, text: beginning(text) });
    }
    return chosen.items();
  }
  const chosen = new Sample<{ id: string; shard: number }>(number, seed);
  for await (const one of trainedIds(store, manifest)) chosen.add(one.id, one);
  const found = await trainedTexts(store, manifest, chosen.items());
  return chosen.items().flatMap(({ id }) => {
    const document = found.get(id);
    if (document === undefined) return [];
    return [{ id, source: document.source, text: beginning(document.text) }];
  });
}

function unknownReason(
  { name, version }: DatasetManifest,
  reason: string,
  groups: readonly { reason: string }[],
): ClientError {
  const known = [...new Set(groups.map((group) => group.reason))];
  const near = nearest(reason, known);
  const hint = near === null ? '' : ` Did you mean ${near}?`;
  return new ClientError(
    'input',
    `--reason: found ${JSON.stringify(reason)}, expected one for which documents of ${name}@${version} were dropped (${known.join(', ') || 'none was'}).${hint}`,
  );
}
