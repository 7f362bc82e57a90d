/** What a run would leave out, foreseen: the same reasons and counts as cleaning and comparing give. */
import { expect, test } from 'vitest';
import { foreseenDropsSchema } from '../../config/survey.ts';
import { cleanShard } from '../../corpus/clean-shard.ts';
import { findDuplicates } from '../../corpus/duplicates.ts';
import { Judge } from '../../corpus/foresee.ts';
import { IdSet } from '../../corpus/id-set.ts';
import { digestOf, hashShare } from '../../corpus/order.ts';
import { variousText } from '../support/texts.ts';

const options = { sample: 1, personalData: 'redact', quality: true, clean: undefined } as const;
const document = (text: string, source: string) => ({
  id: digestOf(text).slice(0, 32),
  source,
  text,
  metadata: {},
});

test('short, empty and repeated documents are foreseen as a run leaves them out', () => {
  const long = Array.from({ length: 90 }, (_, at) => variousText(at, 120));
  const near = long.slice(0, 5).map((text) => `${text} indeed`);
  const texts = [
    ...long,
    long[0]!,
    long[1]!,
    ...near,
    'Too short.',
    '…',
    'Also short.',
    'Too short.',
    'Too short.',
  ];
  const documents = texts.map((text, at) => document(text, `d/${at}`));
  const judge = new Judge(options);
  for (const each of documents) judge.add(each);
  const foreseen = foreseenDropsSchema.parse(judge.result());

  const { contents, bands, sketches, dropped, documents: kept } = cleanShard(documents, options);
  const [numBands, numHashes] = [bands.length / kept.length, sketches.length / kept.length];
  const prints = kept.map(({ id, source }, at) => ({
    id,
    source,
    content: contents[at]!,
    bands: bands.slice(at * numBands, (at + 1) * numBands),
    sketch: sketches.slice(at * numHashes, (at + 1) * numHashes),
  }));
  const reasons = [...dropped, ...findDuplicates(prints)].map(({ reason }) => reason);
  expect(foreseen.numJudged).toBe(new Set(texts).size);
  expect(foreseen.repeated).toEqual({ duplicate_exact: 2, too_short: 2 });
  const counted: Record<string, number> = { ...foreseen.dropped };
  for (const [reason, count] of Object.entries(foreseen.repeated))
    counted[reason] = (counted[reason] ?? 0) + count;
  expect(Object.entries(counted).toSorted()).toEqual(
    [...new Set(reasons)]
      .toSorted()
      .map((reason) => [reason, reasons.filter((other) => other === reason).length]),
  );
  expect(Object.keys(counted)).toEqual(
    expect.arrayContaining(['too_short', 'empty', 'duplicate_exact', 'duplicate_near']),
  );
});

test('of much text a share is judged, the same one in any order', () => {
  const documents = Array.from({ length: 1500 }, (_, at) =>
    document(at % 3 === 0 ? `Short ${at}.` : variousText(at, 60), `d/${at}`),
  );
  const judged = (list: typeof documents) => {
    const judge = new Judge({ ...options }, { enough: 100_000 });
    for (const each of list) judge.add(each);
    return judge.result();
  };
  const some = judged(documents);
  expect(some.numDocuments).toBe(1500);
  expect(some.numJudged).toBeGreaterThan(200);
  expect(some.numJudged).toBeLessThan(800);
  expect(some.dropped['too_short']! / some.numJudged).toBeCloseTo(1 / 3, 1);
  expect(judged(documents.toReversed())).toEqual(some);
});

test('nothing judged is nothing foreseen', () => {
  expect(new Judge(options).result()).toEqual({
    numDocuments: 0,
    numDistinct: 0,
    numJudged: 0,
    dropped: {},
    repeated: {},
  });
});

test('a text that is in a large corpus often counts as often, whether it is drawn or not', () => {
  const various = Array.from({ length: 1400 }, (_, at) => variousText(at, 60));
  const pages = Array.from({ length: 40 }, (_, at) => variousText(5000 + at, 60));
  const draw = (text: string) => hashShare('foresee', document(text, '').id);
  const [first, last] = [0, -1].map((at) => pages.toSorted((a, b) => draw(a) - draw(b)).at(at)!);
  const judged = (often: string) => {
    const judge = new Judge(options, { enough: 100_000 });
    const texts = [...various, ...Array.from({ length: 600 }, () => often)];
    for (const [at, text] of texts.entries()) judge.add(document(text, `d/${at}`));
    return judge.result();
  };
  for (const often of [first!, last!]) {
    const { numJudged, ...result } = judged(often);
    expect(numJudged).toBeLessThan(800);
    expect(result).toMatchObject({
      numDocuments: 2000,
      numDistinct: 1401,
      repeated: { duplicate_exact: 599 },
    });
  }
});

test('ids are told apart by their first 16 digits, however many they are', () => {
  const ids = new IdSet();
  const names = Array.from({ length: 5000 }, (_, at) => digestOf(String(at)).slice(0, 32));
  const whether = (id: string) => ids.add(id);
  expect(names.every(whether)).toBe(true);
  expect(names.some(whether)).toBe(false);
  expect(ids.size).toBe(5000);
  expect(ids.add('0'.repeat(32))).toBe(true);
  expect(ids.add('0'.repeat(32))).toBe(false);
});
