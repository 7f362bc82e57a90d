/** What every format gives is the text that was put into it: that nothing is lost or refused does not say so. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import iconv from 'iconv-lite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { formatSources, parts, writeEveryFormat } from '../../bench/support/every-format.ts';
import { languages, madeUpText } from '../../bench/support/made-up-texts.ts';
import type { Document } from '../../config/manifests.ts';
import { openSource, readSource, type LocalSource } from '../../corpus/sources.ts';

let folder: string;
const documents: Document[] = [];
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'temper-every-text-'));
  writeEveryFormat(folder, 2);
  for (const source of formatSources) {
    const from = { baseDir: folder, projectDir: folder };
    for await (const item of readSource(await openSource(source as LocalSource, from)))
      if ('document' in item) documents.push(item.document);
  }
}, 60_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

const of = (file: string): Document[] =>
  documents.filter(({ source }) => source.split(/[#!]/)[0] === `${parts.files}/${file}`);

test('no document holds a character that was not put into it', () => {
  const said = languages.flatMap((language) =>
    Array.from({ length: 60 }, (_, seed) => madeUpText(language, seed)),
  );
  // Besides titles and what stands around the texts.
  const known = new Set([...said, '紀錄渡し舟公文新聞預算會議通知 zh-Hant'].join(''));
  const others = documents.flatMap(({ source, text, metadata }) => {
    const all = `${text}${Object.values(metadata).join('')}`;
    const found = all.replaceAll(/[\0-\u007f]/g, '').matchAll(/./gu);
    return Array.from(found, ([character]) => character).some((one) => !known.has(one))
      ? [source]
      : [];
  });
  expect(documents.length).toBeGreaterThan(40);
  expect(others).toEqual([]);
});

test.each([
  ['encodings/utf-16le.txt', 'utf-16'],
  ['encodings/utf-16be.txt', 'utf-16'],
  ['encodings/big5.txt', 'big5'],
  ['encodings/gb18030.txt', 'gb18030'],
  ['encodings/shift-jis.txt', 'shift_jis'],
  ['encodings/latin-1.txt', 'latin1'],
])('%s is read as what it is', async (file, encoding) => {
  const bytes = await readFile(path.join(folder, parts.files, file));
  expect(of(file).map(({ text }) => text)).toEqual([iconv.decode(bytes, encoding)]);
});

test('a table and a letter in Big5, and names of an archive, are read as what they are', async () => {
  const plain = async (file: string) =>
    iconv.decode(await readFile(path.join(folder, parts.files, file)), 'big5');
  const rows = (await plain('tables/big5.csv')).matchAll(/^"(.+)",1999$/gm);
  expect(of('tables/big5.csv').map(({ text }) => text)).toEqual(
    Array.from(rows, ([, text]) => text),
  );
  const [letter] = of('mail/big5.mbox');
  expect(letter).toMatchObject({ metadata: { subject: '預算會議通知' } });
  expect((await plain('mail/big5.mbox')).endsWith(`\n\n${letter!.text}\n\n`)).toBe(true);
  const names = [...of('archives/big5.tar'), ...of('archives/mixed.zip')].map(({ source }) =>
    source.slice(source.indexOf('!/') + 2),
  );
  expect(names).toEqual(expect.arrayContaining(['人事.txt', '預算表.txt', '法規/說明.txt']));
});

test('each file of a repository has the licence that holds for it', () => {
  const found = documents
    .filter(({ source }) => source.startsWith(`${parts.repository}/`))
    .map(({ source, metadata }) => [
      source.slice(parts.repository.length + 1),
      metadata['license'],
    ]);
  expect(found).toEqual([
    ['LICENSE', 'MIT'],
    ['README.md', 'MIT'],
    ['docs/ja.md', 'MIT'],
    ['either/LICENSE-APACHE', 'Apache-2.0 OR MIT'],
    ['either/LICENSE-MIT', 'Apache-2.0 OR MIT'],
    ['either/ferry.md', 'Apache-2.0 OR MIT'],
    ['src/bells.py', 'MIT'],
    ['vendor/LICENSE', 'LicenseRef-vendor-LICENSE'],
    ['vendor/bells.md', 'LicenseRef-vendor-LICENSE'],
  ]);
});
