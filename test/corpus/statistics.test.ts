import { expect, test } from 'vitest';
import type { Document } from '../../config/manifests.ts';
import { mostNames } from '../../config/statistics.ts';
import { describeShard } from '../../corpus/describe-shard.ts';
import { Tally, traitsOf, type Traits } from '../../corpus/statistics.ts';
import { english, seeded } from './random.ts';

function documentOf(change: Partial<Document>): Document {
  return { id: 'a'.repeat(32), source: 'docs/a.txt', text: 'text', metadata: {}, ...change };
}

const traits = (change: Partial<Document>): Traits => {
  const document = documentOf(change);
  return traitsOf(document, document.text);
};
const nothingAgain = () => async () => {};

test('a domain is the host of an address on the web, and never that of somebody’s mail', () => {
  const domainOf = (source: string, metadata: Document['metadata'] = {}) =>
    traits({ source, metadata }).domain;
  expect(domainOf('https://www.Example.org/a.html#2')).toBe('example.org');
  expect(domainOf('crawl.warc#3', { url: 'http://news.example.tw/1' })).toBe('news.example.tw');
  expect(domainOf('a.jsonl#1', { source: 'https://example.com:8443/x' })).toBe('example.com');
  expect(domainOf('a.mbox#1', { from: 'ann@example.net', url: 'mailto:ann@example.net' })).toBe(
    undefined,
  );
  expect(domainOf('a.jsonl#1', { source: 'wikipedia', url: 'https://' })).toBe(undefined);
});

test.each([
  [{ date: '2024-05-02T08:00:00.000Z' }, '2024-05-02'],
  [{ published: '2024/05' }, '2024-05'],
  [{ year: 1790 }, '1790'],
  [{ updated: '20210120' }, '2021-01-20'],
  [{ date: '2024-99' }, '2024'],
  [{ date: 'unknown', year: '1865' }, '1865'],
  [{ timestamp: 1_714_636_800 }, undefined],
  [{ date: '12:30' }, undefined],
  [{ time: '20245' }, undefined],
  [{ version: '2024-05-02' }, undefined],
])('the date of %j is %s', (metadata, date) => {
  expect(traits({ metadata: metadata as Document['metadata'] }).date).toBe(date);
});

test('a licence is counted where the document states one; others have that of their source', () => {
  expect(traits({ metadata: { license: 'MIT' } }).license).toBe('MIT');
  expect(traits({ metadata: { license: 3 } })).not.toHaveProperty('license');
});

test('lengths fall between powers of two, by characters and not by code units', async () => {
  const tally = new Tally();
  tally.addPart(describeShard(['a', 'abc', 'abcd', '𠀀𠀁𠀂'].map((text) => documentOf({ text }))));
  const { lengths } = await tally.summary(nothingAgain);
  expect(lengths).toEqual([
    { from: 1, numDocuments: 1 },
    { from: 2, numDocuments: 2 },
    { from: 4, numDocuments: 1 },
  ]);
});

const random = seeded(5);
const some = Array.from({ length: 400 }, (_, index) =>
  documentOf({
    text:
      index % 3 === 0 ? '法院應依職權調查證據。'.repeat(index % 40) : english(random, index * 9),
    source: index % 2 === 0 ? `https://h${index % 150}.example.org/p` : 'docs/a.txt',
    metadata: {
      ...(index % 5 === 0 && { license: `L-${index % 7}` }),
      ...(index % 4 === 0 && { year: 1900 + (index % 90) }),
    },
  }),
);

async function countedIn(parts: Document[][], held?: number) {
  const tally = new Tally(held);
  for (const part of parts) tally.addPart(describeShard(part));
  return tally.summary((kind) => async (add) => {
    for (const part of parts)
      for (const [name, count] of Object.entries(describeShard(part)[kind])) add(name, count);
  });
}

test('counts of parts add up to those of the whole, however it is cut and in any order', async () => {
  const whole = await countedIn([some]);
  expect(whole.domains.top).toHaveLength(75);
  for (const size of [1, 7, 100]) {
    const parts: Document[][] = [];
    for (let from = 0; from < some.length; from += size) parts.push(some.slice(from, from + size));
    expect(await countedIn(parts.toReversed())).toEqual(whole);
  }
});

test('the most frequent names are exact where there are more than are held at once', async () => {
  const parts = [some.slice(0, 90), some.slice(90, 200), some.slice(200)];
  const whole = await countedIn(parts);
  expect(await countedIn(parts, 10)).toEqual(whole);
});

test('beyond the hundred most frequent names the others are counted', async () => {
  const tally = new Tally();
  for (let index = 0; index < 250; index += 1)
    for (let times = 0; times <= index % 3; times += 1)
      tally.add({ language: 'en', domain: `h${index}.org` }, 1);
  const { domains } = await tally.summary(nothingAgain);
  expect(domains.top).toHaveLength(mostNames);
  expect(domains.top.at(0)!.numDocuments).toBe(3);
  expect(domains.numOthers).toBe(150);
  const sum = domains.top.reduce((total, { numDocuments }) => total + numDocuments, 0);
  expect(sum + domains.numDocumentsOfOthers).toBe(84 + 83 * 2 + 83 * 3);
});

test('names that objects have anyway are names like others', async () => {
  const tally = new Tally();
  for (const license of ['constructor', 'toString', 'constructor'])
    tally.add({ language: 'en', license }, 4);
  const { licenses } = await tally.summary(nothingAgain);
  expect(licenses.top).toEqual([
    { name: 'constructor', numDocuments: 2 },
    { name: 'toString', numDocuments: 1 },
  ]);
});
