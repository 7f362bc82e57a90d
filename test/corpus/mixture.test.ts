import { expect, test } from 'vitest';
import { mixtureFaults, timesRead } from '../../config/mixing.ts';
import { rankOf, readingsOf, refuseEmpty, sourceFinder } from '../../corpus/mixture.ts';
import { byCodeUnits, digestOf } from '../../corpus/order.ts';
import { seeded } from './random.ts';

/** As it is found of millions, whose names are not held. */
function readings(
  documents: readonly { id: string; numTokens: number }[],
  times: number,
  salt: string,
): Uint32Array {
  const ranks = documents.map(({ id }) => rankOf(salt, id));
  return readingsOf(
    {
      numTokens: Uint32Array.from(documents, ({ numTokens }) => numTokens),
      high: Uint32Array.from(ranks, ([high]) => high),
      low: Uint32Array.from(ranks, ([, low]) => low),
    },
    times,
  );
}

/** Documents by their whole hashes, as many as the tokens allow. */
function plainReadings(
  documents: readonly { id: string; numTokens: number }[],
  times: number,
  salt: string,
): number[] {
  const always = Math.floor(times);
  const counts = documents.map(() => always);
  const wanted = documents.reduce((sum, { numTokens }) => sum + numTokens, 0) * (times - always);
  if (wanted === 0) return counts;
  let read = 0;
  const ranked = documents.map(({ id, numTokens }, at) => ({
    at,
    numTokens,
    rank: digestOf(salt, id),
  }));
  for (const { at, numTokens } of ranked.toSorted((a, b) => byCodeUnits(a.rank, b.rank))) {
    if (read + numTokens / 2 > wanted && (always > 0 || read > 0)) break;
    counts[at]! += 1;
    read += numTokens;
  }
  return counts;
}

test('without weights each source is read as often as it is repeated', () => {
  const sources = [
    { name: 'a', numTokens: 100, repeat: 2 },
    { name: 'b', numTokens: 900 },
    { name: 'c', numTokens: 50, repeat: 0.5 },
  ];
  expect(timesRead(sources)).toEqual([2, 1, 0.5]);
});

test('weights are shares of the tokens, in the largest epoch that the repeats allow', () => {
  const random = seeded(4);
  for (let round = 0; round < 200; round += 1) {
    const sources = Array.from({ length: 1 + Math.floor(random() * 5) }, (_, at) => ({
      name: `source ${at}`,
      weight: 0.01 + random() * 10,
      ...(random() < 0.5 && { repeat: 0.1 + random() * 6 }),
      numTokens: 1 + Math.floor(random() * 1e6),
    }));
    const times = timesRead(sources);
    const tokens = sources.map(({ numTokens }, at) => numTokens * times[at]!);
    const all = tokens.reduce((sum, one) => sum + one, 0);
    const weights = sources.reduce((sum, { weight }) => sum + weight, 0);
    for (const [at, { weight }] of sources.entries()) {
      expect(tokens[at]! / all).toBeCloseTo(weight / weights, 10);
    }
    const room = sources.map(({ repeat = 1 }, at) => repeat - times[at]!);
    expect(Math.min(...room)).toBeCloseTo(0, 10);
  }
});

test('a share is exact to half a document, and every document is read as often as another or once more', () => {
  const random = seeded(5);
  for (let round = 0; round < 100; round += 1) {
    const documents = Array.from({ length: 1 + Math.floor(random() * 60) }, (_, at) => ({
      id: `${round} ${at}`,
      numTokens: 1 + Math.floor(random() * 500),
    }));
    const times = 0.02 + random() * 4;
    const counts = [...readings(documents, times, 'mix 1')];
    expect(counts).toEqual(plainReadings(documents, times, 'mix 1'));
    const all = documents.reduce((sum, { numTokens }) => sum + numTokens, 0);
    const read = documents.reduce((sum, { numTokens }, at) => sum + numTokens * counts[at]!, 0);
    const longest = Math.max(...documents.map(({ numTokens }) => numTokens));
    expect(read).toBeGreaterThan(0);
    expect(Math.abs(read - all * times)).toBeLessThanOrEqual(longest);
    expect(new Set(counts).difference(new Set([Math.floor(times), Math.ceil(times)])).size).toBe(0);
  }
});

test('which documents are read once more does not depend on their order', () => {
  const documents = Array.from({ length: 40 }, (_, at) => ({ id: `d${at}`, numTokens: 10 + at }));
  const chosen = (some: typeof documents) => {
    const counts = readings(some, 1.3, 'mix 7');
    return some.filter((_, at) => counts[at] === 2).map(({ id }) => id);
  };
  const whole = chosen(documents);
  expect(whole.toSorted()).toEqual(chosen(documents.toReversed()).toSorted());
  expect(new Set(whole)).not.toEqual(new Set(documents.slice(0, 12).map(({ id }) => id)));
});

test('a document is of the source with the longest name that it begins with, or of the same host', () => {
  const find = sourceFinder([
    './docs',
    './docs/laws',
    'https://example.org/sitemap.xml',
    './a.txt',
  ]);
  expect(find('./docs/x.txt')).toBe(0);
  expect(find('./docs/laws/x.jsonl#3')).toBe(1);
  expect(find('https://example.org/news/1')).toBe(2);
  expect(find('./a.txt')).toBe(3);
  expect(find('https://elsewhere.org/1')).toBe(-1);
  expect(find('./other')).toBe(-1);
});

test('a name of a source that begins that of a file or a host is not where it lies', () => {
  const find = sourceFinder(['./docs', './docs/en', 'https://a.org', 'https://a.org.tw/map.xml']);
  expect(find('./docs/english.txt')).toBe(0);
  expect(find('./docs/en/1.zip!2.txt')).toBe(1);
  expect(find('./docs-of-others/1.txt')).toBe(-1);
  expect(find('https://a.org.tw/1')).toBe(3);
  expect(find('https://a.org?page=2')).toBe(2);
});

test('a source that something is wished of must have a document', () => {
  expect(() => refuseEmpty([{ name: 'a', numTokens: 0 }])).not.toThrow();
  expect(() => refuseEmpty([{ name: 'a', weight: 2, numTokens: 0 }])).toThrow(
    'data.sources: a has weight 2, and no document of it is left to train on, expected at least one.',
  );
});

test('a weight stands at every source or at none, and sources must be told apart', () => {
  expect(mixtureFaults([{ name: 'a' }, { name: 'a' }])).toEqual([]);
  expect(mixtureFaults([{ name: 'a', weight: 1 }, { name: 'b' }])).toMatchObject([
    { source: 1, field: 'weight' },
  ]);
  expect(
    mixtureFaults([{ name: 'a', repeat: 2 }, { name: 'a' }]).map(({ source }) => source),
  ).toEqual([1]);
  const url = (name: string) => ({ name, url: name });
  expect(
    mixtureFaults([
      { ...url('https://a.org/one.xml'), repeat: 2 },
      url('https://a.org/two.xml'),
      url('https://b.org/'),
    ]).map(({ source }) => source),
  ).toEqual([1]);
});
