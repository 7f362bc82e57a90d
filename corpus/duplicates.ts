/** Which documents say what another already says. The answer depends on the documents alone, not on their order or shards. */
import { areAlike, numBands } from './minhash.ts';
import { byCodeUnits } from './order.ts';

/** What dedup needs to know of one document. */
export interface Fingerprint {
  id: string;
  source: string;
  /** SHA-256 of the clean text. */
  content: string;
  /** See `signatureOf`. */
  bands: Uint32Array;
  sketch: Uint8Array;
}

export interface Duplicate {
  index: number;
  reason: 'duplicate_exact' | 'duplicate_near';
  /** Id of the document that is kept. */
  survivor: string;
  /** Its source: documents of the same text may have the same id. */
  survivorSource: string;
}

/** The duplicates, by index into the list. Of each group, the document with the smallest content hash is kept. */
export function findDuplicates(documents: readonly Fingerprint[]): Duplicate[] {
  return joinDuplicates(documents, sharingBand(documents));
}

/** As `findDuplicates`, where it is known which documents share a band; each group holds indices into the list. */
export function joinDuplicates(
  documents: readonly Omit<Fingerprint, 'bands'>[],
  groups: Iterable<readonly number[]>,
): Duplicate[] {
  const rank = Array.from(documents.keys()).toSorted((a, b) => {
    const [one, other] = [documents[a]!, documents[b]!];
    return (
      byCodeUnits(one.content, other.content) ||
      byCodeUnits(one.id, other.id) ||
      byCodeUnits(one.source, other.source)
    );
  });
  const place = new Uint32Array(rank.length);
  for (const [at, index] of rank.entries()) place[index] = at;
  // Documents by rank: the smallest number of a group is its survivor, so a root is always right.
  const parent = Uint32Array.from(rank.keys());
  const root = (node: number): number => {
    let at = node;
    while (parent[at] !== at) {
      parent[at] = parent[parent[at]!]!;
      at = parent[at]!;
    }
    return at;
  };
  const join = (a: number, b: number): void => {
    const [one, other] = [root(a), root(b)];
    if (one !== other) parent[Math.max(one, other)] = Math.min(one, other);
  };

  const exact = new Uint8Array(rank.length);
  for (let at = 1; at < rank.length; at += 1) {
    if (documents[rank[at]!]!.content === documents[rank[at - 1]!]!.content) {
      exact[at] = 1;
      join(at, at - 1);
    }
  }
  for (const [a, b] of alikePairs(documents, groups, place)) join(place[a]!, place[b]!);
  const duplicates: Duplicate[] = [];
  for (const [at, index] of rank.entries()) {
    const kept = root(at);
    if (kept === at) continue;
    const reason = exact[at] === 1 ? 'duplicate_exact' : 'duplicate_near';
    const { id: survivor, source: survivorSource } = documents[rank[kept]!]!;
    duplicates.push({ index, reason, survivor, survivorSource });
  }
  return duplicates.toSorted((a, b) => a.index - b.index);
}

/** Of a band, documents like no earlier one of it, with which the others are compared; a bound where they share boilerplate alone. */
const maxCompared = 1000;

/** Documents that share a band and are alike, in the order of their places: no other order finds others. */
function* alikePairs(
  documents: readonly Pick<Fingerprint, 'sketch'>[],
  groups: Iterable<readonly number[]>,
  place: Uint32Array,
): Generator<[number, number]> {
  for (const group of groups) {
    const first: number[] = [];
    for (const index of group.toSorted((a, b) => place[a]! - place[b]!)) {
      const { sketch } = documents[index]!;
      let isAlike = false;
      for (const other of first) {
        if (!areAlike(documents[other]!.sketch, sketch)) continue;
        isAlike = true;
        yield [other, index];
      }
      if (!isAlike && first.length < maxCompared) first.push(index);
    }
  }
}

function* sharingBand(documents: readonly Fingerprint[]): Generator<number[]> {
  for (let band = 0; band < numBands; band += 1) {
    const groups = new Map<number, number[]>();
    for (const [index, { bands }] of documents.entries()) {
      // 53 of the 64 bits: what a number holds exactly.
      const key = bands[band * 2]! * 2 ** 21 + (bands[band * 2 + 1]! >>> 11);
      const met = groups.get(key);
      if (met === undefined) groups.set(key, [index]);
      else met.push(index);
    }
    for (const group of groups.values()) if (group.length > 1) yield group;
  }
}
