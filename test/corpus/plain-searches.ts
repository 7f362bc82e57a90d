/** What the searches of corpus/ must find, as plainly as it can be said: with an object for each document, and sorted lists. */
import type { Duplicate, Fingerprint } from '../../corpus/duplicates.ts';
import { areAlike, numBands } from '../../corpus/minhash.ts';
import { byCodeUnits, hashShare } from '../../corpus/order.ts';

/** The duplicates, by index into the list. */
export function plainDuplicates(documents: readonly Fingerprint[]): Duplicate[] {
  return joinDuplicates(documents, sharingBand(documents));
}

function joinDuplicates(
  documents: readonly Omit<Fingerprint, 'bands'>[],
  groups: Iterable<readonly number[]>,
): Duplicate[] {
  const sinceOf = (index: number): number => documents[index]!.since ?? 1;
  const rank = Array.from(documents.keys()).toSorted((a, b) => {
    const [one, other] = [documents[a]!, documents[b]!];
    return (
      sinceOf(a) - sinceOf(b) ||
      byCodeUnits(one.content, other.content) ||
      byCodeUnits(one.id, other.id) ||
      byCodeUnits(one.source, other.source)
    );
  });
  const place = new Uint32Array(rank.length);
  for (const [at, index] of rank.entries()) place[index] = at;
  const clusters = new Clusters(Uint32Array.from(rank, sinceOf));

  const exact = new Uint8Array(rank.length);
  const byContent = Array.from(rank.keys()).toSorted(
    (a, b) => byCodeUnits(documents[rank[a]!]!.content, documents[rank[b]!]!.content) || a - b,
  );
  let first: number | null = null;
  for (const at of byContent) {
    const { content } = documents[rank[at]!]!;
    if (first !== null && documents[rank[first]!]!.content === content) {
      exact[at] = 1;
      clusters.join(at, first);
    } else {
      first = at;
    }
  }
  for (const [a, b] of alikePairs(documents, groups, place)) clusters.join(place[a]!, place[b]!);
  clusters.settle();
  const duplicates: Duplicate[] = [];
  for (const [at, index] of rank.entries()) {
    const kept = clusters.survivorOf(at);
    if (kept === at) continue;
    const reason = exact[at] === 1 ? 'duplicate_exact' : 'duplicate_near';
    const { id: survivor, source: survivorSource } = documents[rank[kept]!]!;
    duplicates.push({ index, reason, survivor, survivorSource });
  }
  return duplicates.toSorted((a, b) => a.index - b.index);
}

/** Documents by rank, oldest version first: the smallest number of a group is its survivor, so a root is always right. */
class Clusters {
  readonly #since: Uint32Array;
  readonly #parent: Uint32Array;
  /** Pairs of documents of two versions, by the later one. */
  readonly #across = new Map<number, number[]>();

  constructor(since: Uint32Array) {
    this.#since = since;
    this.#parent = Uint32Array.from(since.keys());
  }

  join(a: number, b: number): void {
    const [older, newer] = a < b ? [a, b] : [b, a];
    const since = this.#since[newer]!;
    if (this.#since[older] === since) {
      this.#unite(older, newer);
      return;
    }
    const known = this.#across.get(since);
    if (known === undefined) this.#across.set(since, [older, newer]);
    else known.push(older, newer);
  }

  /** Gives each group of a later version to the oldest document that one of it is paired with; older groups stay apart. */
  settle(): void {
    for (const [, pairs] of [...this.#across].toSorted(([a], [b]) => a - b)) {
      const oldest = new Map<number, number>();
      for (let at = 0; at < pairs.length; at += 2) {
        const older = this.survivorOf(pairs[at]!);
        const group = this.survivorOf(pairs[at + 1]!);
        oldest.set(group, Math.min(oldest.get(group) ?? Infinity, older));
      }
      for (const [group, older] of oldest) this.#parent[group] = older;
    }
  }

  survivorOf(rank: number): number {
    const parent = this.#parent;
    let at = rank;
    while (parent[at] !== at) {
      parent[at] = parent[parent[at]!]!;
      at = parent[at]!;
    }
    return at;
  }

  #unite(a: number, b: number): void {
    const [one, other] = [this.survivorOf(a), this.survivorOf(b)];
    if (one !== other) this.#parent[Math.max(one, other)] = Math.min(one, other);
  }
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

/** A document, and the version of its dataset in which it first came; left out: the first. */
interface Dated {
  id: string;
  since?: number;
}

/**
 * The ids that are held out: those whose hash falls under the share; of two or more documents at least one, never all.
 * What keeps that is one of the version that has need of it, so that no later version moves a document.
 */
export function plainHeldOut(documents: readonly Dated[], share: number): Set<string> {
  const heldOut = new Set<string>();
  let numBefore = 0;
  const versions = Map.groupBy(documents, ({ since = 1 }) => since);
  for (const [, inVersion] of [...versions].toSorted(([a], [b]) => a - b)) {
    const ranked = inVersion
      .map(({ id }) => ({ id, rank: hashShare('held-out', id) }))
      .toSorted((a, b) => a.rank - b.rank || byCodeUnits(a.id, b.id));
    const wanted = ranked.filter(({ rank }) => rank < share).length;
    const least = heldOut.size === 0 && numBefore + ranked.length >= 2 ? 1 : 0;
    const most = ranked.length - (numBefore === 0 ? 1 : 0);
    const count = Math.min(Math.max(wanted, least), most);
    for (const { id } of ranked.slice(0, count)) heldOut.add(id);
    numBefore += ranked.length;
  }
  return heldOut;
}
