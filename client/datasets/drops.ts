/** Every document that was left out of a dataset version or of the corpus made of it, and the reasons with their counts. */
import {
  droppedDocumentSchema,
  type CorpusManifest,
  type DatasetManifest,
  type DroppedDocument,
} from '../../config/manifests.ts';
import { readRecords } from '../../registry/lines.ts';
import type { Store } from '../../registry/store.ts';

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
  samples: DroppedDocument[];
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

/** Every dropped document, those of ingest first; nothing is held. */
export async function* dropsOf(
  store: Store,
  dataset: Pick<DatasetManifest, 'droppedDocuments'>,
  manifest: Pick<CorpusManifest, 'droppedDocuments'> | null,
): AsyncGenerator<ListedDrop> {
  if (dataset.droppedDocuments !== null) {
    for await (const record of readRecords(store, dataset.droppedDocuments))
      yield { ...droppedDocumentSchema.parse(record), stage: 'ingest' };
  }
  if (manifest === null) return;
  for await (const record of readRecords(store, manifest.droppedDocuments))
    yield { ...droppedDocumentSchema.parse(record), stage: 'preprocess' };
}
