/** What a plan says of a run that would stop, from the figures of a look alone. */
import { expect, test } from 'vitest';
import { foreseeAnswers } from '../../client/foresee-dataset.ts';
import { foresee, leftOutLine, toForesee } from '../../client/foresee.ts';
import { tooFewKept } from '../../config/dropped.ts';
import { fieldsAsked, type Questions } from '../../config/questions.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import type { Survey } from '../../config/survey.ts';
import { encodeJsonLines, putBlob } from '../../registry/blobs.ts';
import { memoryStore } from '../support/memory-store.ts';

const pipeline = (changes: object = {}, data: object = {}) =>
  pipelineSchema.parse({
    version: 1,
    name: 'policy',
    data: { sources: [{ path: './docs', license: 'internal' }], ...data },
    ...changes,
  });
const survey = (changes: Partial<Survey>): Survey => ({
  numFiles: 0,
  bytes: 0,
  formats: [],
  endings: [],
  numDocuments: 0,
  textBytes: 0,
  languages: [],
  notRead: [],
  hidden: 0,
  textField: 'text',
  fields: [],
  ...changes,
});
const notRead = (reason: string, count: number) => ({
  reason,
  kind: null,
  count,
  detail: '',
  examples: [],
});
const foreseen = (
  numDocuments: number,
  numJudged: number,
  dropped: Record<string, number>,
  repeated: Record<string, number> = {},
) => {
  const numRepeated = Object.values(repeated).reduce((sum, count) => sum + count, 0);
  const numDistinct = numDocuments - numRepeated;
  return { foreseen: { numDocuments, numDistinct, numJudged, dropped, repeated } };
};

test('more left out than the bound is refused in the words of the run, at the bound', () => {
  const seen = [
    survey({ ...foreseen(6, 6, { too_short: 3 }), notRead: [notRead('empty', 2)] }),
    survey(foreseen(4, 4, { too_short: 3, duplicate_near: 1 })),
  ];
  expect(foresee(pipeline(), seen)).toMatchObject({
    numDocuments: 10,
    kept: 3,
    fault: {
      keys: ['data', 'maxDropped'],
      message:
        'data.maxDropped: a run would stop: ingest and preprocess dropped 9 of 12 documents, 75 % (too_short 6, empty 2, duplicate_near 1), ' +
        'expected at most 50 %. Correct the sources, set data.quality: false, or raise data.maxDropped.',
    },
  });
  const lenient = pipeline({}, { maxDropped: '80%' });
  const allowed = foresee(lenient, seen)!;
  expect(allowed.fault).toBeNull();
  expect(leftOutLine(allowed, lenient.data.maxDropped)).toBe(
    'left out: 9 of 12 documents, 75 % (too_short 6, empty 2, duplicate_near 1); a run stops above 80 %',
  );
});

test('pages and parts of documents that are kept count as no dropped documents', () => {
  const parts = [notRead('pages_need_ocr', 9), notRead('part_unreadable', 9)];
  const { fault, ...seen } = foresee(pipeline(), [
    survey({ ...foreseen(9, 9, { too_short: 1 }), notRead: parts }),
  ])!;
  expect(fault).toBeNull();
  expect(leftOutLine({ fault, ...seen }, 0.5)).toBe(
    'left out: 1 of 9 documents, 11.1 % (too_short 1); a run stops above 50 %',
  );
  // The run counts by the same rule.
  expect(tooFewKept({ ...seen, unread: { pages_need_ocr: 90 } }, 0.5)).toBeNull();
  expect(tooFewKept({ ...seen, unread: { needs_ocr: 90 } }, 0.5)).not.toBeNull();
});

test('a single document that is kept is too few', () => {
  const { fault } = foresee(pipeline(), [survey(foreseen(1, 1, {}))])!;
  expect(fault).toMatchObject({
    keys: ['data', 'sources'],
    message: expect.stringMatching(/kept 1 of 1 documents, expected at least 2/) as string,
  });
});

test('an estimate warns with its figures and by how much chance may be in them, and never refuses', () => {
  const ofShare = (tooShort: number) =>
    foresee(pipeline(), [survey(foreseen(10_000, 400, { too_short: tooShort }))])!;
  const clear = ofShare(320);
  expect(clear).toMatchObject({ kept: 2000, dropped: { too_short: 8000 }, fault: null });
  expect(leftOutLine(clear, 0.5)).toBe(
    'left out: about 8000 of 10000 documents, 80 % ± 7.5 % (too_short 8000), an estimate from 400 of 10000 texts; a run will most likely stop, for it does above 50 %',
  );
  expect(leftOutLine(ofShare(180), 0.5)).toMatch(/45 % ± .*; a run may stop, for it does above/);
  expect(leftOutLine(ofShare(160), 0.5)).toMatch(/40 % ± .* texts; a run stops above 50 %$/);
  const none = ofShare(400);
  expect(none).toMatchObject({ kept: 0, fault: null });
  expect(leftOutLine(none, 1)).toMatch(
    /; a run may stop, for it does where fewer than 2 are kept$/,
  );
});

test('texts that are there often count as often, and do not make an estimate of what was judged whole', () => {
  const repeated = { duplicate_exact: 600 };
  const whole = foresee(pipeline(), [survey(foreseen(1000, 400, { too_short: 100 }, repeated))])!;
  expect(whole).toMatchObject({ chance: 0, kept: 300, fault: { keys: ['data', 'maxDropped'] } });
  const share = foresee(pipeline(), [survey(foreseen(1000, 200, { too_short: 10 }, repeated))])!;
  expect(share).toMatchObject({ kept: 380, dropped: { too_short: 20, duplicate_exact: 600 } });
  expect(share.chance).toBeCloseTo((3 * 400 * Math.sqrt(0.25 / 200)) / 1000, 10);
});

test('chance is of each source by itself: much that was judged of a small one tells nothing of a large one', () => {
  const small = survey(foreseen(10_000, 10_000, { too_short: 10 }));
  const large = survey(foreseen(1_000_000, 400, { too_short: 210 }));
  const { chance } = foresee(pipeline(), [small, large])!;
  expect(chance).toBeCloseTo(((3 * 0.5) / 20) * (1_000_000 / 1_010_000), 10);
});

test('a sample that takes nothing is refused in the words of the run', () => {
  const seen = [{ ...survey(foreseen(0, 0, {})), numDocuments: 30 }];
  expect(foresee(pipeline({}, { sample: '1%' }), seen)!.fault).toEqual({
    keys: ['data', 'sample'],
    message: 'data.sample: 1% of 30 documents takes none. Raise it, or leave it out to take all.',
  });
  expect(foresee(pipeline({}, { sample: '1%' }), [survey(foreseen(0, 0, {}))])).toBeNull();
});

test('what nobody would miss is no line, and what was not looked at is not foreseen', () => {
  expect(leftOutLine(foresee(pipeline(), [survey(foreseen(9, 9, {}))])!, 0.5)).toBeNull();
  expect(foresee(pipeline(), [])).toBeNull();
});

test('duplicates are foreseen as the pipeline file finds them', () => {
  const { near } = toForesee(pipeline({}, { deduplicate: { near: { rows: 6 } } })).judge!
    .deduplicate!;
  expect(near).toEqual({ bands: 14, rows: 6, similarity: 0.75 });
  expect(toForesee(pipeline()).judge).not.toHaveProperty('deduplicate');
});

const questions = [
  { name: 'year', ask: ['When was {title}?'], askHeldOut: ['{title}, when?'], answer: '{year}' },
  { name: 'writer', ask: ['Who wrote {titel}?'], askHeldOut: ['{titel}?'], answer: '{author}' },
];

test('questions on fields that no document has are refused, with those that there are', () => {
  const asked = pipeline({ questions });
  expect(toForesee(asked).fields).toEqual([
    ['title', 'year'],
    ['titel', 'author'],
  ]);
  const field = (name: string) => ({
    field: name,
    numDocuments: 9,
    numValues: 9,
    meanLength: 5,
    words: true,
    example: 'x',
  });
  const seen = (numAnswering: number[]) =>
    survey({ ...foreseen(9, 9, {}), fields: [field('title'), field('author')], numAnswering });
  expect(foresee(asked, [seen([0, 0]), seen([9, 0])])!.fault).toEqual({
    keys: ['questions', 1],
    message:
      'questions "writer": found no document with the fields titel, author; the documents have author, title. ' +
      'Correct the fields in the pipeline file. Did you mean {title}?',
  });
  expect(foresee(asked, [seen([9, 0]), seen([0, 1])])!.fault).toBeNull();
  expect(fieldsAsked(questions[0]!)).toEqual(['title', 'year']);
});

test('a registered version is read until its documents answer, and refused where none does', async () => {
  const store = memoryStore();
  const documents = Array.from({ length: 3 }, (_, at) => ({
    id: String(at).padStart(32, '0'),
    source: `docs/${at}.md`,
    text: 'text',
    metadata: { title: `t${at}`, author: at === 0 ? '' : 'a' },
  }));
  const shard = {
    documents: await putBlob(store, await encodeJsonLines(documents)),
    numDocuments: 3,
  };
  const [year, writer] = pipeline({ questions }).questions as [Questions, Questions];
  const known = { ...writer, ask: ['{title}?'], askHeldOut: ['Who: {title}?'] };
  expect(await foreseeAnswers(store, { shards: [shard] }, [known])).toBeNull();
  expect(await foreseeAnswers(store, { shards: [shard] }, [known, year])).toEqual({
    keys: ['questions', 1],
    message:
      'questions "year": found no document with the fields title, year; the documents have author, title. Correct the fields in the pipeline file.',
  });
  // Of a version that is too large to be read here, nothing is known.
  const many = { shards: [shard, shard] };
  expect(await foreseeAnswers(store, many, [year], { enough: 1 })).toBeNull();
});
