/** What the comparison with datatrove rests on: the corpus that it makes, and how agreement is counted. */
import { expect, test } from 'vitest';
import { compareDecisions } from '../../bench/support/agreement.ts';
import { documentKinds, englishDocuments } from '../../bench/support/english-corpus.ts';
import { english, seeded } from '../corpus/random.ts';

const random = seeded(5);
const passages = Array.from({ length: 400 }, (_, index) => ({
  source: `text ${Math.floor(index / 20)}`,
  text: english(random, 400),
}));

test('the same seed makes the same corpus, of every kind of document, and another seed another', () => {
  const made = [...englishDocuments(passages, 2_000_000, 1)];
  expect([...englishDocuments(passages, 2_000_000, 1)]).toEqual(made);
  expect([...englishDocuments(passages, 2_000_000, 2)]).not.toEqual(made);
  expect(new Set(made.map(({ kind }) => kind))).toEqual(new Set(documentKinds));
  const bytes = made.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  expect(bytes).toBeGreaterThanOrEqual(2_000_000);
  const copies = made.filter(({ kind }) => kind === 'copy');
  for (const { family, text } of copies) {
    const original = made[family]!;
    expect(original.family).toBe(family);
    if (original.kind !== 'near duplicate') expect(text).toBe(original.text);
  }
});

test('another survivor of the same duplicates is agreement; a document that one side alone drops is not', () => {
  const documents = [
    { key: 0, kind: 'passage', family: 0 },
    { key: 1, kind: 'copy', family: 0 },
    { key: 2, kind: 'passage', family: 2 },
    { key: 3, kind: 'short', family: 3 },
    { key: 4, kind: 'passage', family: 4 },
  ];
  const side = (...reasons: string[]) =>
    new Map(reasons.map((reason, key) => [key, { reason, cluster: -1 }]));
  const ours = side('kept', 'duplicate_exact', 'kept', 'too_short', 'kept');
  const theirs = side('duplicates', 'kept', 'kept', 'gopher_short_doc', 'top_2_gram');
  expect(compareDecisions(documents, ours, theirs)).toEqual({
    alike: 0.8,
    same: 0.4,
    keptByBoth: 1,
    differences: [
      { what: 'another survivor of the same duplicates', count: 2 },
      { what: 'passage: temper kept, datatrove top_2_gram', count: 1 },
    ],
  });
});
