/** Near duplicates by bands and a similarity of one's own, and by none. */
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { shuffleFor } from '../../activities/preprocess-shuffle.ts';
import {
  deduplicationSchema,
  mostBands,
  nearOf,
  usualNear,
  type Deduplication,
} from '../../config/deduplication.ts';
import type { Document } from '../../config/manifests.ts';
import { cleanShard } from '../../corpus/clean-shard.ts';
import { findDuplicates, type Fingerprint } from '../../corpus/duplicates.ts';
import { Judge } from '../../corpus/foresee.ts';
import { hashesOf } from '../../corpus/minhash.ts';
import { packPrints, readPrints } from '../../corpus/prints.ts';
import { english, seeded } from './random.ts';

const document = (id: string, text: string): Document => ({ id, source: 's', text, metadata: {} });

function cleaned(documents: readonly Document[], deduplicate?: Deduplication) {
  return cleanShard(documents, { personalData: 'keep', quality: false, deduplicate });
}

function packed(documents: readonly Document[], deduplicate?: Deduplication): Uint8Array {
  const { contents, bands, sketches } = cleaned(documents, deduplicate);
  return packPrints({
    numDocuments: contents.length,
    contents: Buffer.from(contents.join(''), 'hex'),
    bands,
    sketches,
    lines: new Uint8Array(4),
    shape: nearOf(deduplicate),
  });
}

function duplicatesOf(documents: readonly Document[], deduplicate?: Deduplication): string[] {
  const near = nearOf(deduplicate);
  const { bands, sketches, contents } = cleaned(documents, deduplicate);
  const [numWords, numHashes] = [near.bands * 2, hashesOf(near)];
  const prints = documents.map(({ id, source }, at): Fingerprint => ({
    id,
    source,
    content: contents[at]!,
    bands: bands.subarray(at * numWords, (at + 1) * numWords),
    sketch: sketches.subarray(at * numHashes, (at + 1) * numHashes),
  }));
  return findDuplicates(prints, near).map(({ reason }) => reason);
}

const random = seeded(21);
const some = Array.from({ length: 20 }, (_, index) =>
  document(`d${index}`, english(random, 50 + 40 * index)),
);
/** One word in so many is another one: with 20, about six in ten five-grams of both are the same. */
const changed = (text: string, every: number): string =>
  text
    .split(' ')
    .map((word, index) => (index % every === every - 1 ? `${word}x` : word))
    .join(' ');
const alike = some.map(({ text }, index) => document(`a${index}`, changed(text, 20)));
const copies = some.slice(0, 3).map(({ text }, index) => document(`c${index}`, text));
const loose = { near: { bands: 32, rows: 4, similarity: 0.4 } };

test('the prints of the usual bands are the bytes that they always were, said or left out', () => {
  const digest = createHash('sha256').update(packed(some)).digest('hex');
  expect(digest).toBe('bd49cb593b531798427cd3f81b53fe53bba89056c0d94e1ca0320e8cbcd71c9a');
  // In between, the permutations of another shape lie in the memory that all share.
  expect(readPrints(packed(some, loose)).shape).toMatchObject({ bands: 32, rows: 4 });
  expect(packed(some, { near: { ...usualNear, similarity: 0.9 } })).toEqual(packed(some));
});

test('prints of other bands, or of none, are read as they were packed', () => {
  for (const near of [loose.near, { bands: 1, rows: 1, similarity: 1 }, false as const]) {
    const { bands, sketches } = cleaned(some, { near });
    const read = readPrints(packed(some, { near }));
    expect(read.numDocuments).toBe(20);
    expect(read.bands).toEqual(bands);
    expect(Buffer.compare(read.sketches, sketches)).toBe(0);
    expect(read.bands.length).toBe(20 * 2 * nearOf({ near }).bands);
  }
});

test('more bands and a lower similarity find what the usual ones leave, and fewer find less', () => {
  const all = [...some, ...alike, ...copies];
  const count = (reasons: string[], wanted: string): number =>
    reasons.filter((reason) => reason === wanted).length;
  const [usual, wide] = [duplicatesOf(all), duplicatesOf(all, loose)];
  expect(count(usual, 'duplicate_near')).toBeLessThan(8);
  expect(count(wide, 'duplicate_near')).toBe(20);
  expect([count(usual, 'duplicate_exact'), count(wide, 'duplicate_exact')]).toEqual([3, 3]);
  // They meet in a band as before, and are not alike enough.
  const strict = { near: { ...loose.near, similarity: 0.95 } };
  expect(count(duplicatesOf(all, strict), 'duplicate_near')).toBe(0);
  expect(duplicatesOf(all, { near: false })).toEqual(Array(3).fill('duplicate_exact'));
});

test('what is foreseen of a corpus is compared as a run would', () => {
  const dropped = (deduplicate?: Deduplication) => {
    const judge = new Judge({ sample: 1, personalData: 'keep', quality: false, deduplicate });
    for (const each of [...some, ...alike]) judge.add(each);
    return judge.result().dropped;
  };
  expect(dropped(loose)).toEqual({ duplicate_near: 20 });
  expect(dropped({ near: false })).toEqual({});
});

test('more bands part a corpus into more buckets, fewer into no fewer than usual', () => {
  const shards = Array.from({ length: 256 }, () => ({ numDocuments: 190 }));
  const wide = { bands: mostBands, rows: 8, similarity: 0.75 };
  expect(shuffleFor(shards, 256, wide)).toEqual({ groupSize: 118, numBuckets: 3 });
  expect(shuffleFor(shards, 256, nearOf({ near: false }))).toBeNull();
});

test.each([
  [{}, {}],
  [{ near: false }, { near: false }],
  [{ near: {} }, { near: usualNear }],
  [{ near: { similarity: '80%' } }, { near: { ...usualNear, similarity: 0.8 } }],
  [{ near: { bands: 32, rows: 8 } }, { near: { ...usualNear, bands: 32 } }],
])('%j is read as %j', (said, read) => {
  expect(deduplicationSchema.parse(said)).toEqual(read);
});
