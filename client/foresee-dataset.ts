/** Whether the documents of a registered version can answer the questions of a pipeline file, before a run asks them. */
import { documentSchema, type DatasetManifest } from '../config/manifests.ts';
import { fieldsAsked, type Questions } from '../config/questions.ts';
import { readRecords } from '../registry/lines.ts';
import type { Store } from '../registry/store.ts';
import { unansweredFault, type Foreseen } from './foresee.ts';

/** Packed documents that are read at most; of more, what was not met may come later. */
const enoughBytes = 64 * 1024 * 1024;

/** Reads until each of the questions has a document that answers it; null: they have, or it is not known. */
export async function foreseeAnswers(
  store: Store,
  { shards }: Pick<DatasetManifest, 'shards'>,
  questions: readonly Questions[],
  { enough = enoughBytes } = {},
): Promise<Foreseen['fault']> {
  const open = new Set(questions);
  const present = new Set<string>();
  let bytes = 0;
  for (const { documents } of shards) {
    // What is sealed is for the workers to open.
    if (documents.sealed !== undefined || bytes > enough) return null;
    bytes += documents.bytes;
    for await (const record of readRecords(store, documents)) {
      if (open.size === 0) return null;
      const { metadata } = documentSchema.parse(record);
      const names = Object.keys(metadata).filter((name) => (metadata[name] ?? '') !== '');
      for (const name of names) present.add(name);
      for (const asked of open)
        if (fieldsAsked(asked).every((field) => names.includes(field))) open.delete(asked);
    }
  }
  const [first] = open;
  return first === undefined ? null : unansweredFault(questions.indexOf(first), first, present);
}
