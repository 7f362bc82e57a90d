import { expect, test } from 'vitest';
import type { Document } from '../../config/manifests.ts';
import { cleanShard } from '../../corpus/clean-shard.ts';
import {
  alikePairs,
  findDuplicates,
  maxCandidates,
  placesOf,
  type Fingerprint,
} from '../../corpus/duplicates.ts';
import { CorpusError } from '../../corpus/errors.ts';
import { areAlike, numBands, numHashes } from '../../corpus/minhash.ts';
import { byCodeUnits, digestOf, shuffled } from '../../corpus/order.ts';
import { english, pick, seeded } from './random.ts';

const options = { personalData: 'redact', quality: false } as const;

function document(source: string, text: string): Document {
  return { id: digestOf(source, text).slice(0, 32), source, text, metadata: {} };
}

function fingerprints(documents: readonly Document[]): Fingerprint[] {
  const cleaned = cleanShard(documents, options);
  return cleaned.documents.map(({ id, source }, index) => ({
    id,
    source,
    content: cleaned.contents[index]!,
    bands: cleaned.bands.subarray(index * numBands * 2, (index + 1) * numBands * 2),
    sketch: cleaned.sketches.subarray(index * numHashes, (index + 1) * numHashes),
  }));
}

/** One word in so many is another one; it changes the five five-grams around it. */
function changed(text: string, every: number): string {
  return text
    .split(' ')
    .map((word, index) => (index % every === every - 1 ? `${word}x` : word))
    .join(' ');
}

const random = seeded(3);
const originals = Array.from({ length: 40 }, (_, index) =>
  document(`o${index}`, english(random, 400)),
);
const exact = originals
  .slice(0, 5)
  .map(({ text }, index) => document(`e${index}`, `  ${text}\r\n`));
const near = originals
  .slice(5, 15)
  .map(({ text }, index) => document(`n${index}`, changed(text, 100)));
const all = [...originals, ...exact, ...near];

function keptOf(shards: readonly Document[][]): string[] {
  const prints = shards.flatMap(fingerprints);
  const gone = new Set(findDuplicates(prints).map(({ index }) => index));
  return prints
    .filter((_, index) => !gone.has(index))
    .map(({ source }) => source)
    .toSorted();
}

test('exact and near duplicates go, everything else stays, each with its survivor', () => {
  const prints = fingerprints(all);
  const found = findDuplicates(prints);
  expect(found.filter(({ reason }) => reason === 'duplicate_exact')).toHaveLength(5);
  expect(found.filter(({ reason }) => reason === 'duplicate_near')).toHaveLength(10);
  const gone = new Set(found.map(({ index }) => index));
  const kept = prints.filter((_, index) => !gone.has(index));
  expect(kept).toHaveLength(40);
  for (const { index, survivor } of found) {
    const { content } = kept.find(({ id }) => id === survivor)!;
    expect(content <= prints[index]!.content).toBe(true);
  }
});

test('what is kept depends neither on the order of the documents nor on their shards', () => {
  const expected = keptOf([all]);
  for (let round = 0; round < 20; round += 1) {
    const mixed = shuffled(all, `round ${round}`, ({ source }) => source);
    const shards: Document[][] = [];
    for (const item of mixed) {
      if (shards.length === 0 || random() < 0.3) shards.push([]);
      shards.at(-1)!.push(item);
    }
    expect(keptOf(shards)).toEqual(expected);
  }
});

test('texts that share half of their words are not duplicates', () => {
  const pairs = originals.slice(0, 10).map(({ text }, index) => {
    const words = text.split(' ');
    return document(
      `h${index}`,
      [...words.slice(0, 200), ...english(random, 200).split(' ')].join(' '),
    );
  });
  expect(findDuplicates(fingerprints([...originals, ...pairs]))).toEqual([]);
});

test('Chinese near duplicates are found by their characters', () => {
  const characters = Array.from({ length: 800 }, (_, index) =>
    String.fromCharCode(0x4e00 + index * 7),
  );
  const text = Array.from({ length: 500 }, () => pick(random, characters)).join('');
  const prints = fingerprints([
    document('a', text),
    document('b', `${text.slice(0, 250)}另外${text.slice(252)}`),
    document('c', Array.from({ length: 500 }, () => pick(random, characters)).join('')),
  ]);
  expect(findDuplicates(prints)).toMatchObject([{ reason: 'duplicate_near' }]);
});

test('texts shorter than a shingle are duplicates only when equal', () => {
  const prints = fingerprints(
    ['one two', 'one three', 'One  two'].map((text, i) => document(`${i}`, text)),
  );
  const found = findDuplicates(prints);
  expect(found).toHaveLength(1);
  expect([0, 2]).toContain(found[0]!.index);
});

test('a pair of similarity 0.8 is found nine times in ten', () => {
  let found = 0;
  for (let round = 0; round < 60; round += 1) {
    const text = english(random, 450);
    // Each changed word changes five of 446 five-grams: ten of them leave 396 of 496 in common.
    const words = text.split(' ');
    for (let index = 20; index < 450; index += 43) words[index] = `${words[index]}q`;
    found += findDuplicates(
      fingerprints([document('a', text), document('b', words.join(' '))]),
    ).length;
  }
  expect(found).toBeGreaterThan(48);
});

test('the survivor is named by its own source, also where its copy has the same id', () => {
  const copy = {
    id: 'same',
    content: 'c'.repeat(64),
    bands: new Uint32Array(numBands * 2),
    sketch: new Uint8Array(numHashes),
  };
  const documents = [
    { ...copy, source: 'a.jsonl#1' },
    { ...copy, source: 'a.jsonl#2' },
  ];
  expect(findDuplicates(documents)).toMatchObject([{ index: 1, survivorSource: 'a.jsonl#1' }]);
  expect(findDuplicates(documents.toReversed())).toMatchObject([
    { index: 0, survivorSource: 'a.jsonl#1' },
  ]);
});

test('texts that share a band by chance are no duplicates, in whatever order they come', () => {
  const sketchOf = (numEqual: number, other: number): Uint8Array =>
    Uint8Array.from({ length: numHashes }, (_, index) => (index < numEqual ? 7 : other));
  const bands = new Uint32Array(numBands * 2);
  const made = (name: string, sketch: Uint8Array): Fingerprint => ({
    id: name,
    source: name,
    content: name.repeat(64),
    bands,
    sketch,
  });
  // All share every band; `b` is like `a`, `c` is not, and `e` is like `c`.
  const documents = [
    made('a', sketchOf(numHashes, 0)),
    made('b', sketchOf(90, 1)),
    made('c', sketchOf(50, 2)),
    made('d', sketchOf(50, 3)),
    made('e', sketchOf(50, 2)),
  ];
  for (const order of [documents, documents.toReversed()]) {
    const found = findDuplicates(order).map(({ index, survivor }) => [order[index]!.id, survivor]);
    expect(found.toSorted()).toEqual([
      ['b', 'a'],
      ['e', 'c'],
    ]);
  }
});

test('a sketch estimates the share of five-grams that two texts have in common', () => {
  const words = english(random, 600).split(' ');
  for (const [numChanged, alike] of [
    [10, true],
    [60, false],
  ] as const) {
    // Each changed word changes five of 596 five-grams.
    const other = words.map((word, at) =>
      at % 10 === 0 && at < numChanged * 10 ? `${word}x` : word,
    );
    const [one, two] = fingerprints([
      document('a', words.join(' ')),
      document('b', other.join(' ')),
    ]);
    expect(areAlike(one!.sketch, two!.sketch)).toBe(alike);
  }
});

test('more documents that may be duplicates than can be compared are refused for good', () => {
  const known = { places: new Uint32Array(maxCandidates + 1), sketches: new Uint8Array() };
  expect(() => alikePairs(new Uint32Array(), () => 0, known)).toThrow(CorpusError);
});

test('the comparison of many documents that share a band, and nothing else, is heard of all the while', () => {
  const count = 1500;
  const places = Uint32Array.from({ length: count }, (_, index) => index);
  const random = seeded(7);
  const sketches = Uint8Array.from({ length: count * numHashes }, () => random() * 256);
  const edges = Uint32Array.from([...places.subarray(1)].flatMap((at) => [0, 0, 0, at, 3]));
  const said: number[] = [];
  const known = { places, sketches };
  const pairs = alikePairs(
    edges,
    (_, at) => at,
    known,
    (done) => said.push(done),
  );
  expect(pairs).toHaveLength(0);
  expect(said.filter((done) => done < count - 1).length).toBeGreaterThan(10);
});

test('of many documents of one text the first by id and source comes first, and each name is asked for once', () => {
  const count = 3000;
  const names = shuffled([...Array(count).keys()], 'names', String).map((number) => ({
    id: `${Math.floor(number / 2)}`.padStart(8, '0'),
    source: `./${number % 2}.txt`,
  }));
  const asked = new Uint32Array(count);
  const since = Uint32Array.from({ length: count }, (_, index) => 1 + (index % 2));
  const places = placesOf({ since, contents: new Uint8Array(count * 32) }, (index) => {
    asked[index]! += 1;
    return names[index]!;
  });
  expect(asked).toEqual(new Uint32Array(count).fill(1));
  expect(places.toSorted()).toEqual(Uint32Array.from({ length: count }, (_, place) => place));
  for (const version of [1, 2]) {
    const mine = [...names.keys()].filter((index) => since[index] === version);
    const [kept] = mine.toSorted(
      (a, b) =>
        byCodeUnits(names[a]!.id, names[b]!.id) || byCodeUnits(names[a]!.source, names[b]!.source),
    );
    expect(places[kept!]).toBe((version - 1) * (count / 2));
  }
});
