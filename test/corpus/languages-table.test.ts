import { readFileSync } from 'node:fs';
import { createRequire, findPackageJSON } from 'node:module';
import path from 'node:path';
import { expect, test } from 'vitest';
import { readTable, scoresOf, type Scores } from '../../corpus/languages-table.ts';

const file = path.join(
  path.dirname(findPackageJSON('eld', import.meta.url)!),
  'src/ngrams/small.js',
);
const source = readFileSync(file, 'utf8');

test('the table has every score of the literal that the library loads', () => {
  const { ngramsData } = createRequire(import.meta.url)(file) as {
    ngramsData: {
      type: string;
      languages: Record<string, string>;
      ngrams: Record<string, Scores>;
    };
  };
  const { type, languages, pieces } = readTable(source);
  expect({ type, languages }).toEqual({ type: ngramsData.type, languages: ngramsData.languages });
  expect(pieces.size).toBe(Object.keys(ngramsData.ngrams).length);
  const others = Object.entries(ngramsData.ngrams).filter(
    ([piece, scores]) => JSON.stringify(scoresOf(pieces.get(piece))) !== JSON.stringify(scores),
  );
  expect(others).toEqual([]);
});

test('a table of another form is refused with the place, not read in part', () => {
  expect(() => readTable(source.slice(0, source.length / 2))).toThrow(
    /^the table .*expected the form/,
  );
  expect(() => readTable('export const ngramsData = [];')).toThrow(/ at 0, expected the form/);
});
