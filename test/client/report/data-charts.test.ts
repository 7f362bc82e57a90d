/** Charts of what was read: each tells in words what it draws. */
import { expect, test } from 'vitest';
import { distributionLines } from '../../../client/cli/datasets-statistics.ts';
import { dataCharts, fateChart, languageName } from '../../../client/report/data-charts.ts';
import { renderReport } from '../../../client/report/render.ts';
import type { Distributions } from '../../../config/statistics.ts';
import { sampleDistributions, sampleReport } from './sample-report.ts';

const said = (page: string): string[] =>
  Array.from(page.matchAll(/<desc[^>]*>([^<]*)<\/desc>/g), ([, text]) => text!.trim());

test('every chart has a title and says its figures to who cannot see it', () => {
  const { text } = dataCharts({ read: sampleDistributions, kept: null })!;
  expect(said(text)).toEqual([
    'Traditional Chinese: 2; Latin script: 1.',
    '64 to 127 characters: 1; 128 to 255 characters: 0; 256 to 511 characters: 2.',
    '&quot;&gt;&lt;script&gt;alert(2)&lt;/script&gt;.example: 2; 3 others: 4.',
    '1990 to 1999: 1; 2000 to 2009: 0; 2010 to 2019: 0; 2020 to 2029: 2.',
  ]);
  expect(text.match(/<title/g)).toHaveLength(4);
});

test('a length that no document has is a line too, for a gap is part of the shape', () => {
  const lines = distributionLines(sampleDistributions);
  const at = lines.indexOf('characters of a document');
  expect(lines.slice(at + 1, at + 4)).toEqual([
    expect.stringMatching(/^ +64 to 127 +1 +█+$/),
    expect.stringMatching(/^ +128 to 255 +0 +$/),
    expect.stringMatching(/^ +256 to 511 +2 +█+$/),
  ]);
});

test('what was kept is drawn over what was read, as far as it is known', () => {
  const domains = (names: string[], numOthers: number): Distributions['domains'] => ({
    top: names.map((name, index) => ({ name, numDocuments: 50 - index })),
    numOthers,
    numDocumentsOfOthers: numOthers * 2,
  });
  const names = Array.from({ length: 12 }, (_, index) => `h${index}.org`);
  const read = { ...sampleDistributions, domains: domains(names, 5) };
  const kept = { ...sampleDistributions, domains: domains(names.slice(1), 2) };
  const [languages, , places] = said(dataCharts({ read, kept })!.text);
  expect(languages).toContain('Traditional Chinese: 2, 2 kept');
  // It may be among the others that were kept.
  expect(places).toContain('h0.org: 50; h1.org: 49, 50 kept');
  const rest = [8, 9, 10, 11].reduce((sum, index) => sum + 50 - index, 10);
  expect(places).toContain(`9 others: ${rest}`);
});

test('where nothing was counted there is no chart', () => {
  expect(dataCharts({ read: null, kept: null })).toBeNull();
  expect(fateChart([{ name: 'kept', number: 0, kind: 'kept' }])).toBeNull();
});

test('the bar of where documents went leaves out what did not happen', () => {
  const { text } = fateChart([
    { name: 'kept', number: 3, kind: 'kept' },
    { name: 'duplicates', number: 0, kind: 'duplicates' },
    { name: 'could not be read', number: 1, kind: 'unread' },
  ])!;
  expect(said(text)).toEqual(['kept: 3 documents, 75.0 %; could not be read: 1 document, 25.0 %.']);
  expect(text.match(/<rect/g)).toHaveLength(2);
});

test('languages have names, and what is no language keeps its own', () => {
  expect(['zh-Hant', 'en', 'Cyrillic script', 'no letters', 'x'].map(languageName)).toEqual([
    'Traditional Chinese',
    'English',
    'Cyrillic script',
    'no letters',
    'x',
  ]);
});

test('the page says how to see every dropped document, and shows the card as text', () => {
  const page = renderReport(sampleReport());
  expect(page).toContain('npx temper datasets inspect policy@1 --dropped --number all');
  expect(page).toContain('&lt;/pre&gt;&lt;script&gt;alert(1)');
});
