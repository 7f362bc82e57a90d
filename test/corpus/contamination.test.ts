import { expect, test } from 'vitest';
import { cleanShard } from '../../corpus/clean-shard.ts';
import { evaluationTexts, packGrams, readGrams } from '../../corpus/contamination.ts';
import { wordsOf } from '../../corpus/words.ts';
import { english, seeded } from './random.ts';

const question =
  'Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May.';
const law = '公司章程所記載之公司所在地應以其本公司之登記為準';
const { packed: grams } = packGrams([
  ...evaluationTexts('math.jsonl', JSON.stringify({ question, nested: [{ answer: 'no' }] })),
  ...evaluationTexts('law.csv', `id,text\n1,${law}`),
]);
const { refusal } = readGrams(grams);
const look = (text: string) => refusal(text, wordsOf(text));
const prose = english(seeded(4), 400);

test('thirteen words in a row are found wherever they stand, in any case and punctuation', () => {
  const part = question.split(' ').slice(3, 16).join(' ').toUpperCase().replaceAll(',', ' --');
  expect(look(`${prose} ${part} ${prose}`)).toEqual({
    reason: 'contaminated',
    detail: 'says 13 words of math.jsonl, record 1, in a row',
  });
  expect(look(`${part} ${prose}`)?.reason).toBe('contaminated');
  expect(look(`${prose} ${part.split(' ').slice(0, 12).join(' ')} ${prose}`)).toBeNull();
  expect(look(prose)).toBeNull();
});

test('of Chinese thirteen characters', () => {
  expect(look(`依據規定，${law.slice(2, 15)}，其餘從之`)?.detail).toBe(
    'says 13 characters of law.csv, record 2, in a row',
  );
  expect(look(`依據規定，${law.slice(2, 14)}。其餘從之`)).toBeNull();
});

test('the same sets give the same bytes, and a list of records is read like lines', () => {
  const { packed: again } = packGrams([
    ...evaluationTexts('math.jsonl', JSON.stringify({ question, nested: [{ answer: 'no' }] })),
    ...evaluationTexts('law.csv', `id,text\n1,${law}`),
  ]);
  expect(again).toEqual(grams);
  const records = [{ a: 'x' }, { a: 'y', b: { c: ['z'] } }];
  const asLines = records.map((record) => JSON.stringify(record)).join('\n');
  expect(evaluationTexts('s.json', JSON.stringify(records))).toEqual(
    evaluationTexts('s.json', asLines),
  );
});

test('a contaminated document is dropped with what it repeats', () => {
  const texts = [prose, `${prose} ${question}`];
  const documents = texts.map((text, index) => ({
    id: String(index),
    source: 'a',
    text,
    metadata: {},
  }));
  const cleaned = cleanShard(documents, {
    personalData: 'keep',
    quality: false,
    contamination: readGrams(grams),
  });
  expect(cleaned.documents.map(({ id }) => id)).toEqual(['0']);
  expect(cleaned.dropped).toMatchObject([{ id: '1', reason: 'contaminated' }]);
});

test('a question in another script than most of the page is found', () => {
  expect(look(`${prose} ${law}`)?.detail).toBe('says 13 characters of law.csv, record 2, in a row');
  const page = '依據規定辦理，其餘從之。'.repeat(40);
  expect(look(`${page}${question}`)?.detail).toBe(
    'says 13 words of math.jsonl, record 1, in a row',
  );
});

test('a long word or an address in a Chinese question is no part of it', () => {
  const text = '請問 internationalization 與 https://www.example.com/questions 是何意義？';
  const { packed } = packGrams([{ set: 'zh.jsonl', record: 1, text }]);
  const page = `${prose} internationalization https://www.example.com/questions`;
  expect(readGrams(packed).refusal(page, wordsOf(page))).toBeNull();
});

test('records that are too short to look for are counted', () => {
  const long = 'one two three four five six seven eight nine ten eleven twelve thirteen';
  const records = [{ q: 'short', a: 'no' }, { q: 'short', a: long }, '公司', law];
  const made = packGrams(evaluationTexts('s.json', JSON.stringify(records)));
  expect([made.numRecords, made.numTooShort]).toEqual([4, 2]);
});
