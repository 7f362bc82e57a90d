/** The cleaned texts of a corpus by the ids of their documents: which shard holds one, its index says. */
import { z } from 'zod';
import { documentSchema, type CorpusManifest, type Document } from '../../config/manifests.ts';
import { readLines } from '../../registry/lines.ts';
import type { Store } from '../../registry/store.ts';

const indexLineSchema = z.looseObject({ id: z.string() });

/** Every document to train on, with the number of its token shard. */
export async function* trainedIds(
  store: Store,
  { shards, older = [] }: CorpusManifest,
): AsyncGenerator<{ id: string; shard: number }> {
  for (const [shard, { index }] of [...shards, ...older].entries()) {
    for await (const line of readLines(store, index)) {
      const { id } = indexLineSchema.parse(JSON.parse(line.toString('utf8')));
      yield { id, shard };
    }
  }
}

/** The documents of these ids, as training reads them; those that are not to be found are left out. */
export async function trainedTexts(
  store: Store,
  manifest: CorpusManifest,
  wanted: readonly { id: string; shard: number }[],
): Promise<Map<string, Document>> {
  const { documents = [], shards, older, mixture } = manifest;
  const missing = new Set(wanted.map(({ id }) => id));
  // A corpus that was parted by age, or mixed, has other token shards than texts.
  const isParted =
    older !== undefined || mixture !== undefined || shards.length !== documents.length;
  const places = isParted
    ? documents.keys()
    : new Set(wanted.map(({ shard }) => shard).toSorted((a, b) => a - b));
  const found = new Map<string, Document>();
  for (const place of places) {
    if (missing.size === 0) break;
    for await (const line of readLines(store, documents[place]!)) {
      if (!missing.delete(idOf(line))) continue;
      const document = documentSchema.parse(JSON.parse(line.toString('utf8')));
      found.set(document.id, document);
    }
  }
  return found;
}

const before = '{"id":"';

/** The id of a line of documents, without reading its text where it is canonical JSON. */
export function idOf(line: Buffer): string {
  const start = line.toString('latin1', 0, before.length + 33);
  if (start.startsWith(before) && start.endsWith('"')) return start.slice(before.length, -1);
  return indexLineSchema.parse(JSON.parse(line.toString('utf8'))).id;
}
