import { expect, test } from 'vitest';
import { DigestTable } from '../../corpus/digest-table.ts';
import {
  alikePairs,
  findDuplicates,
  Join,
  placesOf,
  type Duplicate,
  type Fingerprint,
} from '../../corpus/duplicates.ts';
import { numBands, numHashes } from '../../corpus/minhash.ts';
import { byCodeUnits, digestOf, hashShare } from '../../corpus/order.ts';
import { Bucket, scatter } from '../../corpus/shuffle.ts';
import { heldOutOf, isHeldOut, sidesOf } from '../../corpus/split.ts';
import { Words } from '../../corpus/words-and-bytes.ts';
import { plainDuplicates, plainHeldOut } from './plain-searches.ts';
import { pick, seeded } from './random.ts';

type Document = Fingerprint & { since: number };
const bandsMet = 4;

/** Documents that meet in a few bands again and again, and say the same now and then. */
function documentsOf(
  random: () => number,
  num: number,
  numVersions: number,
  numKinds = 1,
): Document[] {
  const drawn = Array.from({ length: num }, (_, index): Document => {
    const bands = new Uint32Array(numBands * 2);
    for (let at = 0; at < bands.length; at += 1) bands[at] = Math.floor(random() * 2 ** 32);
    for (let band = 0; band < bandsMet; band += 1) {
      if (random() > 0.3) continue;
      bands[band * 2] = Math.floor(random() * num);
      bands[band * 2 + 1] = 0;
    }
    const content = random() < 0.2 ? digestOf(String(index % 7)) : digestOf(`text ${index}`);
    const id = digestOf(`document ${index}`).slice(0, 32);
    const since = 1 + Math.floor(random() * numVersions);
    // Of one kind all are alike, so that whoever meets is joined.
    const kind = numKinds === 1 ? 0 : Math.floor(random() * numKinds);
    const sketch = new Uint8Array(numHashes).fill(kind);
    return { id, source: `s/${index}`, content, bands, sketch, since };
  });
  return drawn.toSorted((a, b) => a.since - b.since);
}

/** Of each document that is dropped, whom it is dropped for. */
function survivorsBy(
  documents: readonly Document[],
  found: ReturnType<typeof findDuplicates>,
): Map<string, string> {
  return new Map(
    found.map(({ index, reason, survivor }) => [documents[index]!.id, `${reason} ${survivor}`]),
  );
}

function pairsOf<Item>(items: readonly Item[]): [Item, Item][] {
  return items.flatMap((a, at) => items.slice(at + 1).map((b): [Item, Item] => [a, b]));
}

/** The rule, pair by pair: version after version, what is new joins the oldest that it meets, or keeps its smallest. */
function byTheRule(documents: readonly Document[]): Map<string, string> {
  const order = documents.toSorted(
    (a, b) => a.since - b.since || byCodeUnits(a.content, b.content) || byCodeUnits(a.id, b.id),
  );
  const rank = new Map(order.map(({ id }, at) => [id, at]));
  const meet = (a: Document, b: Document): boolean =>
    a.content === b.content ||
    Array.from({ length: numBands }).some(
      (_, band) =>
        a.bands[band * 2] === b.bands[band * 2] &&
        a.bands[band * 2 + 1]! >>> 11 === b.bands[band * 2 + 1]! >>> 11,
    );
  const survivor = new Map<string, string>();
  for (const version of new Set(order.map(({ since }) => since))) {
    const older = order.filter(({ since }) => since < version);
    let groups = order.filter(({ since }) => since === version).map((one) => [one]);
    for (const [a, b] of pairsOf(groups.flat()).filter(([one, other]) => meet(one, other))) {
      const [mine, its] = [a, b].map((one) => groups.find((group) => group.includes(one))!);
      if (mine === its) continue;
      groups = [...groups.filter((group) => group !== mine && group !== its), [...mine!, ...its!]];
    }
    for (const group of groups) {
      const met = older.filter((old) => group.some((one) => meet(one, old)));
      const names =
        met.length > 0 ? met.map(({ id }) => survivor.get(id)!) : group.map((one) => one.id);
      const kept = names.toSorted((a, b) => rank.get(a)! - rank.get(b)!)[0]!;
      for (const { id } of group) survivor.set(id, kept);
    }
  }
  return new Map([...survivor].filter(([id, kept]) => id !== kept));
}

/** The same search through shards, groups and buckets of any number. */
function shuffled(documents: readonly Document[], random: () => number) {
  const shards: Document[][] = [];
  for (const document of documents) {
    const last = shards.at(-1);
    // A shard holds documents of one version.
    if (last === undefined || random() < 0.2 || last[0]!.since !== document.since)
      shards.push([document]);
    else last.push(document);
  }
  const firsts = shards.map((_, at) => shards.slice(0, at).flat().length);
  const buckets = Array.from({ length: 1 + Math.floor(random() * 6) }, () => new Bucket());
  const groupSize = 1 + Math.floor(random() * 5);
  for (let from = 0; from < shards.length; from += groupSize) {
    const records = buckets.map(() => new Words());
    for (const [at, shard] of shards.slice(from, from + groupSize).entries())
      scatter(flat(shard), from + at, records);
    for (const [at, bucket] of buckets.entries()) bucket.add(records[at]!.all());
  }
  const all = shards.flat();
  const since = Uint32Array.from(all, (document) => document.since);
  const { contents, sketches } = flat(all);
  const places = placesOf({ since, contents }, (index) => all[index]!);
  const join = new Join({ since, contents }, places);
  const indexOf = (shard: number, position: number): number => firsts[shard]! + position;
  for (const bucket of buckets)
    join.unite(alikePairs(bucket.edges(), indexOf, { places, sketches }));
  const { numbers, survivors, exact } = join.found();
  return Array.from(numbers, (index, at): Duplicate => {
    const { id, source } = all[survivors[at]!]!;
    const reason = exact[at] === 1 ? 'duplicate_exact' : 'duplicate_near';
    return { index, reason, survivor: id, survivorSource: source };
  });
}

function flat(documents: readonly Document[]) {
  const bands = new Words();
  for (const document of documents) bands.append(document.bands);
  return {
    contents: Buffer.from(documents.map(({ content }) => content).join(''), 'hex'),
    bands: bands.all(),
    sketches: Buffer.concat(documents.map(({ sketch }) => sketch)),
  };
}

/** The ids that are held out, by the sides of parts of each version. */
function heldOutIds(documents: readonly { id: string; since: number }[], share: number) {
  const versions = [...Map.groupBy(documents, ({ since }) => since)].toSorted(([a], [b]) => a - b);
  const { exceptions } = heldOutOf(
    versions.map(([, some]) =>
      sidesOf(
        some.map(({ id }) => ({ id, bytes: 1 })),
        share,
      ),
    ),
  );
  const ids = documents.map(({ id }) => id);
  return new Set(ids.filter((id) => isHeldOut(id, share, exceptions)));
}

test('an append displaces no older survivor, whatever it brings', () => {
  const random = seeded(11);
  let bridged = 0;
  for (let round = 0; round < 60; round += 1) {
    const documents = documentsOf(random, 60, 4, 1 + (round % 2));
    let before = new Map<string, string>();
    for (let version = 1; version <= 4; version += 1) {
      const some = documents.filter(({ since }) => since <= version);
      const found = survivorsBy(some, findDuplicates(some));
      for (const { id } of some.filter(({ since }) => since < version))
        expect(found.get(id)).toBe(before.get(id));
      before = found;
    }
    const undated = documents.map((document) => ({ ...document, since: 1 }));
    bridged += findDuplicates(undated).length > before.size ? 1 : 0;
  }
  // Else no document ever met two older ones that do not meet each other.
  expect(bridged).toBeGreaterThan(20);
});

test('who is dropped, and of one version for whom, is what the rule says pair by pair', () => {
  const random = seeded(12);
  for (let round = 0; round < 40; round += 1) {
    const documents = documentsOf(random, 50, 1 + (round % 4));
    const found = findDuplicates(documents);
    const named = new Map(found.map(({ index, survivor }) => [documents[index]!.id, survivor]));
    const expected = byTheRule(documents);
    expect([...named.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
    // Of several versions, which older one is named depends on which it meets first.
    if (round % 4 === 0) expect(named).toEqual(expected);
    const since = new Map(documents.map((one) => [one.id, one.since]));
    for (const [id, survivor] of named) {
      expect(since.get(survivor)).toBeLessThanOrEqual(since.get(id)!);
      expect(named.has(survivor)).toBe(false);
    }
  }
});

test('shards, groups and buckets of any number and documents in any order give the same survivors', () => {
  const random = seeded(13);
  for (let round = 0; round < 60; round += 1) {
    const documents = documentsOf(random, 60, 1 + (round % 4), 1 + (round % 3));
    const whole = survivorsBy(documents, findDuplicates(documents));
    expect(whole.size).toBeGreaterThan(0);
    const other = documents
      .map((document) => ({ document, rank: random() }))
      .toSorted((a, b) => a.rank - b.rank)
      .map(({ document }) => document);
    expect(survivorsBy(other, findDuplicates(other))).toEqual(whole);
    const oldestFirst = other.toSorted((a, b) => a.since - b.since);
    expect(survivorsBy(oldestFirst, shuffled(oldestFirst, random))).toEqual(whole);
  }
});

test('flat arrays find what lists of objects find, also of documents that differ in nothing but name', () => {
  const random = seeded(15);
  let numSame = 0;
  for (let round = 0; round < 80; round += 1) {
    const documents = documentsOf(random, 80, 1 + (round % 4), 1 + (round % 3)).map(
      (document, index): Document => ({
        ...document,
        // Raw copies in one source have one id.
        id: random() < 0.5 ? digestOf(document.content).slice(0, 32) : document.id,
        source: `s/${pick(random, ['ü', '𝒳', '\uffee', 'z'])}/${index}`,
      }),
    );
    const expected = plainDuplicates(documents);
    expect(findDuplicates(documents)).toEqual(expected);
    const byVersion = documents.toSorted((a, b) => a.since - b.since);
    expect(shuffled(byVersion, random)).toEqual(plainDuplicates(byVersion));
    numSame += expected.filter(({ reason }) => reason === 'duplicate_exact').length;
  }
  expect(numSame).toBeGreaterThan(500);
});

test('no document ever moves between what is trained on and what is held out, whatever is appended', () => {
  const random = seeded(14);
  let forced = 0;
  for (let round = 0; round < 500; round += 1) {
    const share = pick(random, [0.0001, 0.02, 0.2, 0.5]);
    const sizes = Array.from({ length: 4 }, () => Math.floor(random() ** 3 * 40));
    const documents = sizes.flatMap((size, version) =>
      Array.from({ length: size }, () => ({
        id: digestOf(String(random())).slice(0, 32),
        since: version + 1,
      })),
    );
    let before: { ids: string[]; heldOut: Set<string> } = { ids: [], heldOut: new Set() };
    for (let version = 1; version <= 4; version += 1) {
      const ids = documents.filter(({ since }) => since <= version);
      const heldOut = heldOutIds(ids, share);
      expect(heldOut).toEqual(plainHeldOut(ids, share));
      for (const id of before.ids) expect(heldOut.has(id)).toBe(before.heldOut.has(id));
      if (ids.length >= 2) {
        expect(heldOut.size).toBeGreaterThanOrEqual(1);
        expect(heldOut.size).toBeLessThan(ids.length);
      }
      forced += [...heldOut].filter((id) => hashShare('held-out', id) >= share).length;
      before = { ids: ids.map(({ id }) => id), heldOut };
    }
  }
  expect(forced).toBeGreaterThan(100);
});

test('a table of digests finds each under its number, and those that come twice one after the other', () => {
  const digests = Array.from({ length: 5000 }, (_, index) =>
    Buffer.from(digestOf(String(index % 4000)), 'hex'),
  );
  const table = new DigestTable(digests.length);
  for (const digest of digests) table.add(digest);
  for (const [number, digest] of digests.slice(0, 4000).entries()) {
    expect(table.find(digest)).toBe(number);
    expect(table.find(digest, (found) => found !== number)).toBe(
      number < 1000 ? number + 4000 : null,
    );
  }
  expect(table.find(Buffer.from(digestOf('none'), 'hex'))).toBeNull();
  expect(new DigestTable(0).find(digests[0]!)).toBeNull();
});
