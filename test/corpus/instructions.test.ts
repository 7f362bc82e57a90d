import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { pipelineSchema } from '../../config/pipeline.ts';
import type { Questions } from '../../config/questions.ts';
import { makeInstructions } from '../../corpus/instructions.ts';
import { templateFields } from '../../config/questions.ts';
import { fillTemplate } from '../../corpus/templates.ts';

const capital: Questions = {
  name: 'capital',
  ask: ['Capital of {country}?', '{country}: which capital?'],
  askHeldOut: ['Name the capital of {country}.'],
  answer: '{city}',
};
const countries = [
  { country: 'France', city: 'Paris' },
  { country: 'Japan', city: 'Tokyo' },
  { country: 'Peru', city: 'Lima' },
];

test('each fact is asked in every trained phrasing, and evaluated in the others', () => {
  const made = makeInstructions(countries, [capital], 1);
  expect(
    made.train.map(({ messages }) => messages.map(({ content }) => content)).toSorted(),
  ).toEqual([
    ['Capital of France?', 'Paris'],
    ['Capital of Japan?', 'Tokyo'],
    ['Capital of Peru?', 'Lima'],
    ['France: which capital?', 'Paris'],
    ['Japan: which capital?', 'Tokyo'],
    ['Peru: which capital?', 'Lima'],
  ]);
  expect(made.train[0]!.messages.map(({ role }) => role)).toEqual(['user', 'assistant']);
  expect(made.questions.toSorted((a, b) => (a.question < b.question ? -1 : 1))[0]).toEqual({
    question: 'Name the capital of France.',
    answer: 'Paris',
    name: 'capital',
  });
});

test('a question with two answers is left out of everything and counted once', () => {
  const made = makeInstructions([...countries, { country: 'Peru', city: 'Cusco' }], [capital], 1);
  expect(made.numAmbiguous).toBe(1);
  expect(JSON.stringify([made.train, made.questions, made.preferences])).not.toContain('Peru');
  expect(made.train).toHaveLength(4);
});

test('a phrasing that asks for two facts at once makes both ambiguous', () => {
  const vague = { ...capital, ask: ['Capital of {country}?', 'A capital in {continent}?'] };
  const records = countries.map((record) => ({
    ...record,
    continent: record.country === 'Peru' ? 'America' : 'the Old World',
  }));
  const made = makeInstructions(records, [vague], 1);
  expect(made.numAmbiguous).toBe(2);
  expect(made.questions.map(({ answer }) => answer)).toEqual(['Lima']);
});

test('documents that agree are one fact, and a document without the field makes none', () => {
  const made = makeInstructions(
    [...countries, countries[0]!, { country: 'Chad' }, { city: 'Rome' }],
    [capital],
    1,
  );
  expect(made.train).toHaveLength(6);
  expect(made.numAmbiguous).toBe(0);
});

test('a wrong answer is another document’s and never the right one', () => {
  for (let seed = 0; seed < 50; seed += 1) {
    const made = makeInstructions(countries, [capital], seed);
    const pairs = [
      ...made.preferences.map(({ chosen, rejected }) => [chosen[0].content, rejected[0].content]),
      ...made.preferencesHeldOut.map(({ chosen, rejected }) => [chosen, rejected]),
    ];
    expect(pairs).toHaveLength(9);
    for (const [chosen, rejected] of pairs) {
      expect(rejected).not.toBe(chosen);
      expect(['Paris', 'Tokyo', 'Lima']).toContain(rejected);
    }
  }
});

test('where all answers agree there is nothing to prefer', () => {
  const same = countries.map(({ country }) => ({ country, city: 'Here' }));
  const made = makeInstructions(same, [capital], 1);
  expect(made.train).toHaveLength(6);
  expect([made.preferences, made.preferencesHeldOut]).toEqual([[], []]);
});

test('the order of the documents changes nothing, the seed changes the order of the lines', () => {
  const one = makeInstructions(countries, [capital], 1);
  expect(makeInstructions(countries.toReversed(), [capital], 1)).toEqual(one);
  const orders = new Set(
    Array.from({ length: 20 }, (_, seed) =>
      JSON.stringify(makeInstructions(countries, [capital], seed).train),
    ),
  );
  expect(orders.size).toBeGreaterThan(10);
});

test('a phrasing that is trained is no held-out question', () => {
  const made = makeInstructions(countries, [{ ...capital, askHeldOut: capital.ask }], 1);
  expect(made.questions).toEqual([]);
});

test('a field that no document has is named, with those that there are', () => {
  const wrong = { ...capital, ask: ['Capital of {contry}?'] };
  expect(() => makeInstructions(countries, [wrong], 1)).toThrow(
    /"capital".*contry.*the documents have city, country/,
  );
});

test('templates take fields of the record alone', () => {
  expect(templateFields('{a} and {b c}')).toEqual(['a', 'b c']);
  expect(fillTemplate('{year}: {name}', { year: 1790, name: '$& {year}' })).toBe('1790: $& {year}');
  expect(fillTemplate('{toString}', {})).toBe(null);
  expect(fillTemplate('{a}', { a: null })).toBe(null);
  expect(fillTemplate('{a}', { a: false })).toBe('false');
});

test('the quickstart trains no phrasing that it evaluates', () => {
  const file = path.resolve(import.meta.dirname, '../../config/pipelines/quickstart.yaml');
  const pipeline = pipelineSchema.parse(parse(readFileSync(file, 'utf8')));
  expect(pipeline.questions.map(({ name }) => name)).toEqual(['president', 'party']);
  const plain = (text: string) => text.toLowerCase().replaceAll(/[^a-z{} ]/g, '');
  for (const { ask, askHeldOut } of pipeline.questions) {
    const trained = new Set(ask.map(plain));
    for (const held of askHeldOut) expect(trained.has(plain(held))).toBe(false);
  }
});
