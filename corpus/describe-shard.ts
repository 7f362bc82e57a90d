/** What the documents of one raw shard are like, in counts. */
import type { Document } from '../config/manifests.ts';
import { numCharacters } from './clean-shard.ts';
import { Tally, traitsOf, type PartCounts } from './statistics.ts';

export function describeShard(documents: Iterable<Document>): PartCounts {
  const tally = new Tally(Infinity);
  for (const document of documents)
    tally.add(traitsOf(document, document.text), numCharacters(document.text));
  return tally.part();
}
