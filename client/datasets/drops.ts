/** Every document that was left out of a dataset version or of the corpus made of it, and the reasons with their counts. */
import type { BlobRef } from '../../config/digest.ts';
import {
  droppedDocumentSchema,
  type CorpusManifest,
  type DatasetManifest,
  type DroppedDocument,
} from '../../config/manifests.ts';
import { hasBlob } from '../../registry/blobs.ts';
import { readRecords } from '../../registry/lines.ts';
import type { Store } from '../../registry/store.ts';
import { ClientError } from '../errors.ts';

type Stage = 'ingest' | 'preprocess';

/** A document that was left out, and by which stage. */
export interface ListedDrop extends DroppedDocument {
  stage: Stage;
}

/** The documents of one reason. */
export interface DropGroup {
  reason: string;
  stage: Stage;
  count: number;
  samples: ListedDrop[];
}

/** The reasons of ingest and of the corpus, most frequent first. */
export function groupsOf(
  dataset: Pick<DatasetManifest, 'dropped'>,
  manifest: Pick<CorpusManifest, 'statistics'> | null,
): Omit<DropGroup, 'samples'>[] {
  const inOrder = (counts: Readonly<Record<string, number>>, stage: Stage) =>
    Object.entries(counts)
      .map(([reason, count]) => ({ reason, stage, count }))
      .toSorted((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1));
  return [
    ...inOrder(dataset.dropped, 'ingest'),
    ...inOrder(manifest?.statistics.dropped ?? {}, 'preprocess'),
  ];
}

/** Where the lists of what was dropped lie. */
interface Lists {
  dataset: Pick<DatasetManifest, 'droppedDocuments'>;
  manifest: Pick<CorpusManifest, 'droppedDocuments'> | null;
}

function listsOf({ dataset, manifest }: Lists): { stage: Stage; list: BlobRef }[] {
  const { droppedDocuments } = dataset;
  return [
    ...(droppedDocuments === null ? [] : [{ stage: 'ingest' as const, list: droppedDocuments }]),
    ...(manifest === null
      ? []
      : [{ stage: 'preprocess' as const, list: manifest.droppedDocuments }]),
  ];
}

/** Every dropped document, those of ingest first; nothing is held, and a list that is gone is passed over. */
export async function* dropsOf(store: Store, lists: Lists): AsyncGenerator<ListedDrop> {
  for (const { stage, list } of listsOf(lists)) {
    if (!(await hasBlob(store, list))) continue;
    for await (const record of readRecords(store, list))
      yield { ...droppedDocumentSchema.parse(record), stage };
  }
}

/** What to say of lists that are gone, for what is dropped may expire as the documents do. */
export async function goneLists(store: Store, lists: Lists): Promise<string[]> {
  const notes: string[] = [];
  for (const { stage, list } of listsOf(lists)) {
    if (await hasBlob(store, list)) continue;
    notes.push(
      `The list of what ${stage} dropped is gone: it was deleted with the documents, and the counts alone are left.`,
    );
  }
  return notes;
}

/** Throws a ClientError where the documents of a version are deleted. */
export async function requireTexts(
  store: Store,
  { name, version, shards }: DatasetManifest,
): Promise<void> {
  for (const { documents } of shards) {
    if (await hasBlob(store, documents)) continue;
    throw new ClientError(
      'input',
      `${name}@${version}: its documents are gone, as they were to be kept for a time only. Ingest the sources again, or name another version.`,
    );
  }
}
