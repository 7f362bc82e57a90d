/**
 * Which documents say what another already says. The answer depends on the documents alone, not on their order or shards.
 * They are compared where they lie, in flat arrays, so that millions take no object each.
 */
import { mostBands, usualNear, type Near } from '../config/deduplication.ts';
import { Clusters } from './clusters.ts';
import { CorpusError } from './errors.ts';
import { areAlike, hashesOf } from './minhash.ts';
import { byCodeUnits } from './order.ts';
import { contentLength } from './prints.ts';
import { Bucket, contentBandOf, edgeLength, scatter } from './shuffle.ts';
import { Words } from './words-and-bytes.ts';

/** What dedup needs to know of one document. */
export interface Fingerprint {
  id: string;
  source: string;
  /** SHA-256 of the clean text, as hex. */
  content: string;
  /** See `signatureOf`. */
  bands: Uint32Array;
  sketch: Uint8Array;
  /** Version of its dataset in which the document first came; left out: the first. */
  since?: number;
}

export interface Duplicate {
  index: number;
  reason: 'duplicate_exact' | 'duplicate_near';
  /** Id of the document that is kept. */
  survivor: string;
  /** Its source: documents of the same text may have the same id. */
  survivorSource: string;
}

/** Documents that may be duplicates, each part one document after the other. */
export interface Candidates {
  /** Version of the dataset in which each first came. */
  since: Uint32Array;
  contents: Uint8Array;
  sketches: Uint8Array;
}

/** Duplicates, ascending, each with the document that is kept for it; by number. */
export interface Found {
  numbers: Uint32Array;
  survivors: Uint32Array;
  /** 1 where the texts are the same. */
  exact: Uint8Array;
}

/**
 * The duplicates, by index into the list. Of each group, the document of the oldest version is kept, then that
 * with the smallest content hash. What later versions brought never changes who is kept of the versions before.
 */
export function findDuplicates(
  documents: readonly Fingerprint[],
  near: Near = usualNear,
): Duplicate[] {
  const bands = new Words();
  for (const { bands: some } of documents) bands.append(some);
  const contents = Buffer.concat(documents.map(({ content }) => Buffer.from(content, 'hex')));
  const sketches = Buffer.concat(documents.map(({ sketch }) => sketch));
  const since = Uint32Array.from(documents, (document) => document.since ?? 1);
  const records = new Words();
  scatter({ contents, bands: bands.all() }, 0, [records]);
  const bucket = new Bucket();
  bucket.add(records.all());
  const indexOf = (_: number, position: number): number => position;
  const places = placesOf({ since, contents }, (index) => documents[index]!);
  const join = new Join({ since, contents }, places);
  join.unite(alikePairs(bucket.edges(), indexOf, { places, sketches, near }));
  const { numbers, survivors, exact } = join.found();
  return Array.from(numbers, (index, at): Duplicate => {
    const { id, source } = documents[survivors[at]!]!;
    const reason = exact[at] === 1 ? 'duplicate_exact' : 'duplicate_near';
    return { index, reason, survivor: id, survivorSource: source };
  });
}

/** Documents of a version are parted by so many first bits of their digests before they are sorted. */
const partBits = 12;
/** Names asked for between two signs that it goes on. */
const namesBetween = 10_000;

/**
 * The place of each in the order in which survivors are chosen: by version and content; of those of the same version and
 * text, the first by id and source comes first, for it alone may be kept. The names are asked of these alone, once each:
 * there may be many. `onPart` hears that it goes on.
 */
export function placesOf(
  { since, contents }: Pick<Candidates, 'since' | 'contents'>,
  nameOf: (index: number) => { id: string; source: string },
  onPart: (done: number, total: number) => void = () => {},
): Uint32Array {
  const bytes = Buffer.from(contents.buffer, contents.byteOffset, contents.byteLength);
  const versions = [...new Set(since)].toSorted((a, b) => a - b);
  const turnOf = new Map(versions.map((version, turn) => [version, turn]));
  const partOf = (index: number): number =>
    turnOf.get(since[index]!)! * 2 ** partBits +
    (bytes.readUInt16BE(index * contentLength) >>> (16 - partBits));
  const ends = new Uint32Array(versions.length * 2 ** partBits + 1);
  for (let index = 0; index < since.length; index += 1) ends[partOf(index) + 1]! += 1;
  for (let part = 1; part < ends.length; part += 1) ends[part]! += ends[part - 1]!;
  const order = new Uint32Array(since.length);
  const next = ends.slice();
  for (let index = 0; index < since.length; index += 1) order[next[partOf(index)]!++] = index;
  const byContent = (a: number, b: number): number => {
    const [one, other] = [a * contentLength, b * contentLength];
    return bytes.compare(bytes, other, other + contentLength, one, one + contentLength);
  };
  /** Of the same text: those behind the first stay as they are. */
  const putFirst = (same: Uint32Array): void => {
    let first = { at: 0, ...nameOf(same[0]!) };
    for (let at = 1; at < same.length; at += 1) {
      const { id, source } = nameOf(same[at]!);
      if ((byCodeUnits(id, first.id) || byCodeUnits(source, first.source)) < 0)
        first = { at, id, source };
      if (at % namesBetween === 0) onPart(0, since.length);
    }
    const index = same[first.at]!;
    same.copyWithin(1, 0, first.at);
    same[0] = index;
  };
  for (let part = 0; part + 1 < ends.length; part += 1) {
    const inPart = order.subarray(ends[part]!, ends[part + 1]!);
    if (inPart.length > 1) inPart.sort((a, b) => byContent(a, b) || a - b);
    for (let start = 0, end = 1; end <= inPart.length; end += 1) {
      if (end < inPart.length && byContent(inPart[start]!, inPart[end]!) === 0) continue;
      if (end - start > 1) putFirst(inPart.subarray(start, end));
      start = end;
    }
    if (part % 256 === 0) onPart(ends[part + 1]!, since.length);
  }
  const places = new Uint32Array(order.length);
  for (const [place, index] of order.entries()) places[index] = place;
  return places;
}

/** Of a band, documents like no earlier one of it, with which the others are compared; a bound where they share boilerplate alone. */
const maxCompared = 1000;
/** Of a band, documents between two signs that it goes on. */
const saidEvery = 100;
/** Candidates that an edge can be sorted by, with a band, as one number. */
export const maxCandidates = 2 ** 24;
/** Pairs met last: those that share one band share others. */
const remembered = 2 ** 16;

/** Throws where more documents may be duplicates than are compared. */
export function refuseIfTooMany(numCandidates: number): void {
  if (numCandidates <= maxCandidates) return;
  throw new CorpusError(
    `duplicates: found ${numCandidates} documents that may be duplicates, expected at most ${maxCandidates}. ` +
      'Prepare the dataset in parts.',
  );
}

/**
 * Places of documents that share a band and are alike, two by two, smaller first, in the order of their places within each
 * band: no other order finds others. `indexOf` tells which candidate a document is by its shard and position.
 */
export function alikePairs(
  edges: Uint32Array,
  indexOf: (shard: number, position: number) => number,
  {
    places,
    sketches,
    near = usualNear,
  }: { places: Uint32Array; sketches: Uint8Array; near?: Near },
  onProgress: (done: number, total: number) => void = () => {},
): Uint32Array {
  refuseIfTooMany(places.length);
  const keys = new Float64Array(edges.length / edgeLength);
  const [contentBand, numHashes] = [contentBandOf(near), hashesOf(near)];
  let numKeys = 0;
  for (let at = 0; at < edges.length; at += edgeLength) {
    const band = edges[at + 4]!;
    if (band === contentBand) continue;
    const a = places[indexOf(edges[at]!, edges[at + 1]!)]!;
    const b = places[indexOf(edges[at + 2]!, edges[at + 3]!)]!;
    // Whoever meets the same document in the same band is of the same group, which it may not come first of.
    keys[numKeys++] = (a * mostBands + band) * maxCandidates + b;
  }
  const sorted = keys.subarray(0, numKeys).sort();
  const indexAt = new Uint32Array(places.length);
  for (const [index, place] of places.entries()) indexAt[place] = index;
  const sketchOf = (place: number): Uint8Array => {
    const from = indexAt[place]! * numHashes;
    return sketches.subarray(from, from + numHashes);
  };
  const pairs = new Words();
  const recent = new Float64Array(remembered).fill(-1);
  const say = (a: number, b: number): void => {
    const [one, other] = a < b ? [a, b] : [b, a];
    const key = one * maxCandidates + other;
    const slot = (Math.imul(one, 0x9e3779b1) ^ Math.imul(other, 0x85ebca6b)) & (remembered - 1);
    if (recent[slot] === key) return;
    recent[slot] = key;
    pairs.push(one, other);
  };
  for (let start = 0; start < sorted.length;) {
    const group = Math.floor(sorted[start]! / maxCandidates);
    const members = [Math.floor(group / mostBands)];
    let end = start;
    for (; end < sorted.length; end += 1) {
      if (Math.floor(sorted[end]! / maxCandidates) !== group) break;
      members.push(sorted[end]! % maxCandidates);
    }
    const first: Uint8Array[] = [];
    const firstPlaces: number[] = [];
    for (const [turn, place] of members.toSorted((a, b) => a - b).entries()) {
      // Many that share boilerplate alone take longer than a heartbeat may.
      if (turn % saidEvery === 0) onProgress(start, sorted.length);
      const sketch = sketchOf(place);
      let isAlike = false;
      for (const [at, other] of first.entries()) {
        if (!areAlike(other, sketch, near)) continue;
        isAlike = true;
        say(firstPlaces[at]!, place);
      }
      if (isAlike || first.length >= maxCompared) continue;
      first.push(sketch);
      firstPlaces.push(place);
    }
    start = end;
    onProgress(end, sorted.length);
  }
  return pairs.all().slice();
}

/** Brings pairs together to clusters, and says who is kept of each. */
export class Join {
  readonly #places: Uint32Array;
  readonly #indexAt: Uint32Array;
  readonly #clusters: Clusters;
  /** By place: 1 where an earlier place has the same text. */
  readonly #exact: Uint8Array;

  constructor({ since, contents }: Pick<Candidates, 'since' | 'contents'>, places: Uint32Array) {
    this.#places = places;
    this.#indexAt = new Uint32Array(places.length);
    for (const [index, place] of places.entries()) this.#indexAt[place] = index;
    this.#exact = new Uint8Array(places.length);
    this.#clusters = new Clusters(Uint32Array.from(this.#indexAt, (index) => since[index]!));
    this.#joinSameTexts(contents);
  }

  /** Takes pairs of `alikePairs`, in any order. */
  unite(pairs: Uint32Array): void {
    for (let at = 0; at < pairs.length; at += 2) this.#clusters.join(pairs[at]!, pairs[at + 1]!);
  }

  /** The duplicates, when all pairs were taken; by index. */
  found(): Found {
    this.#clusters.settle();
    let count = 0;
    const survivorOf = (place: number): number => this.#clusters.survivorOf(place);
    for (let place = 0; place < this.#places.length; place += 1)
      if (survivorOf(place) !== place) count += 1;
    const found: Found = {
      numbers: new Uint32Array(count),
      survivors: new Uint32Array(count),
      exact: new Uint8Array(count),
    };
    let at = 0;
    for (const [index, place] of this.#places.entries()) {
      const survivor = survivorOf(place);
      if (survivor === place) continue;
      found.numbers[at] = index;
      found.survivors[at] = this.#indexAt[survivor]!;
      found.exact[at] = this.#exact[place]!;
      at += 1;
    }
    return found;
  }

  #joinSameTexts(contents: Uint8Array): void {
    const bytes = Buffer.from(contents.buffer, contents.byteOffset, contents.byteLength);
    // Place of a text's first document and 1, where the text's digest points; 0: nobody.
    const slots = new Uint32Array(2 ** Math.ceil(Math.log2(2 * this.#places.length + 2)));
    for (const [place, index] of this.#indexAt.entries()) {
      const from = index * contentLength;
      let slot = bytes.readUInt32LE(from) & (slots.length - 1);
      for (; slots[slot] !== 0; slot = (slot + 1) & (slots.length - 1)) {
        const other = this.#indexAt[slots[slot]! - 1]! * contentLength;
        const end = from + contentLength;
        if (bytes.compare(bytes, other, other + contentLength, from, end) === 0) break;
      }
      if (slots[slot] === 0) {
        slots[slot] = place + 1;
        continue;
      }
      this.#exact[place] = 1;
      this.#clusters.join(place, slots[slot]! - 1);
    }
  }
}
