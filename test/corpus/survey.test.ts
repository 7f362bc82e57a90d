import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { deflateSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lookAtSources } from '../../client/look-at-sources.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import { surveySchema, type SurveyRequest } from '../../config/survey.ts';
import { languageOf } from '../../corpus/languages.ts';
import { readMarkdown } from '../../corpus/markdown.ts';
import { looksScanned } from '../../corpus/pdf.ts';
import { formatOf } from '../../corpus/formats/names-of-formats.ts';
import { isTaken, openSource, readSource, type LocalSource } from '../../corpus/sources.ts';
import { surveyFolder } from '../../corpus/survey.ts';
import { scannedPdf } from './make-files.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'temper-survey-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function put(name: string, content: string | Uint8Array): Promise<void> {
  await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
  await writeFile(path.join(folder, name), content);
}
const survey = async (place: string, include = '**/*') =>
  surveySchema.parse(await surveyFolder({ folder: path.join(folder, place), include }));

const hant = '關於一定之數量，同時以文字及號碼表示者，其文字與號碼有不符合時，應以文字為準。';
const hans = '关于一定之数量，同时以文字及号码表示者，其文字与号码有不符合时，应以文字为准。';
const english =
  'If there is no applicable act for a civil case, the case shall be decided according to customs.';

describe('languageOf', () => {
  test.each([
    ['traditional Chinese', hant, 'zh-Hant'],
    ['simplified Chinese', hans, 'zh-Hans'],
    ['traditional Chinese with a simplified quotation', `${hant.repeat(4)}「号码」`, 'zh-Hant'],
    ['Chinese in characters that both share', '山高月小，水落石出，人之所好也。', 'zh'],
    ['as much of one as of the other', hant + hans, 'zh'],
    ['English', english, 'en'],
    ['English with a Chinese title', `民法\n${english.repeat(3)}`, 'en'],
    ['German', 'Der Mensch ist frei geboren, und überall liegt er in Ketten.', 'de'],
    ['Spanish', 'Todos los seres humanos nacen libres e iguales en dignidad.', 'es'],
    ['Dutch', 'Iedereen is vrij in het land van de koning of de keizer en de graaf.', 'nl'],
    ['Japanese', '人間はみな自由に生まれ、平等である。', 'ja'],
    ['Korean', '모든 인간은 태어날 때부터 자유롭다.', 'ko'],
    ['Russian', 'Все люди рождаются свободными.', 'ru'],
    ['Kazakh', 'Барлық адамдар тумысынан азат және қадір-қасиеті тең.', 'Cyrillic script'],
    ['Latin letters in no language', 'Qxv zzkt wrrp vvnk jjq.', 'Latin script'],
    ['Thai', 'มนุษย์ทั้งปวงเกิดมามีอิสระ', 'th'],
    ['figures alone', '12 345 · 67', 'no letters'],
  ])('knows %s', (_, text, language) => expect(languageOf(text)).toBe(language));

  test('judges a long text by its beginning, middle and end', () => {
    expect(languageOf(`${english}\n${hant.repeat(3000)}`)).toBe('zh-Hant');
  });
});

describe('readMarkdown', () => {
  test('front matter becomes metadata and the text stays as it was', () => {
    const text = '# Civil Code\n\n*Act* 1\n';
    expect(
      readMarkdown(
        `---\ntitle: Civil Code\nyear: 1929\ndate: 2021-01-20\ntags: [a]\n---\n\n${text}`,
      ),
    ).toEqual({ text, metadata: { title: 'Civil Code', year: 1929, date: '2021-01-20' } });
  });
  test('line ends of Windows and an end of three points are front matter too', () => {
    expect(readMarkdown('---\r\ntitle: 民法\r\n...\r\n條文\r\n')).toEqual({
      text: '條文\r\n',
      metadata: { title: '民法' },
    });
  });
  test.each([
    ['a rule at the beginning', '---\nfirst\n\nsecond\n---\n'],
    ['no end', '---\ntitle: x\n'],
    ['YAML that cannot be read', '---\ntitle: [x\n---\ntext\n'],
    ['a list', '---\n- a\n---\ntext\n'],
    ['dashes in the middle', 'text\n---\ntitle: x\n---\n'],
    ['aliases that would grow without end', `---\na: &a [1,1]\n${bomb()}---\ntext\n`],
  ])('what is no front matter is text: %s', (_, text) => {
    expect(readMarkdown(text)).toEqual({ text, metadata: {} });
  });
  test('a document of a Markdown file carries the fields, and its id does not depend on them', async () => {
    await put('md/a.md', '---\ntitle: one\n---\ntext');
    await put('md/b.MARKDOWN', 'text');
    const from = { baseDir: folder, projectDir: folder };
    const source = { path: 'md', include: '**/*', license: 'x', textField: 'text' };
    const found = [];
    for await (const item of readSource(await openSource(source, from)))
      if ('document' in item) found.push(item.document);
    expect(found.map(({ text, metadata }) => [text, metadata])).toEqual([
      ['text', { title: 'one' }],
      ['text', {}],
    ]);
    expect(found[0]!.id).toBe(found[1]!.id);
  });
  test('a Markdown file of nothing but front matter is empty', async () => {
    await put('bare/a.md', '---\ntitle: one\n---\n');
    expect((await survey('bare')).notRead).toMatchObject([{ reason: 'empty', count: 1 }]);
  });
});

function bomb(): string {
  const names = 'bcdefghij';
  let last = 'a';
  let lines = '';
  for (const name of names) {
    lines += `${name}: &${name} [*${last},*${last},*${last},*${last}]\n`;
    last = name;
  }
  return lines;
}

describe('looksScanned', () => {
  const image = '1 0 obj<</Subtype /Image/Width 9>>endobj';
  const packed = (objects: string) =>
    Buffer.concat([
      Buffer.from(`%PDF-1.7\n${image}\n5 0 obj<</Type /ObjStm /N 1>>stream\n`),
      deflateSync(Buffer.from(objects)),
      Buffer.from('\nendstream endobj'),
    ]);
  test.each([
    ['pages of pictures without a font', true, Buffer.from(`%PDF-1.4\n${image}`)],
    ['pictures and a font', false, Buffer.from(`%PDF-1.4\n${image}<</Font 3 0 R>>`)],
    ['a font in packed objects', false, packed('<</Type/Page/Resources<</Font 3 0 R>>>>')],
    ['packed objects without a font', true, packed('<</Type/Page>>')],
    ['an encrypted file', false, Buffer.from(`%PDF-1.4\n${image}/Encrypt 9 0 R`)],
    ['no PDF', false, Buffer.from(image)],
  ])('%s: %s', (_, scanned, bytes) => expect(looksScanned(bytes)).toBe(scanned));
});

test('the format is told by the name, whatever its case', () => {
  const names = [
    'a.txt',
    'B.MD',
    'c.markdown',
    'd.HTM',
    'e.jsonl.gz',
    'f.JSONL',
    'g.json',
    'h.gz',
    'i',
    'j.Tgz',
    'k.csv.zst',
    'l.parquet.gz',
    'm.PDF',
  ];
  const formats = ['txt', 'md', 'md', 'html', 'jsonl.gz', 'jsonl', 'json', null, null].concat([
    'tar.gz',
    'csv.zst',
    null,
    'pdf',
  ]);
  expect(names.map(formatOf)).toEqual(formats);
});

test('a survey counts what ingest reads, by format, language and field', async () => {
  await put('mixed/a.txt', hant);
  await put('mixed/sub/b.md', `---\ntitle: Civil Code\n---\n${english}`);
  await put('mixed/c.HTML', `<title>Law</title><p>${english}</p>`);
  await put('mixed/d.jsonl', `{"text":"${hant}","title":"民法","year":1929}\n{"text":"${hans}"}\n`);
  await put('mixed/e.jsonl.gz', gzipSync(`{"text":"${hant}"}`));
  await put('mixed/.git/config', 'x');
  await put('mixed/.DS_Store', 'x');
  const found = await survey('mixed');
  expect(found).toMatchObject({ numFiles: 5, numDocuments: 6, notRead: [], hidden: 2 });
  const counts = found.formats.map(({ format, numFiles, numDocuments }) => [
    format,
    numFiles,
    numDocuments,
  ]);
  expect(counts.toSorted()).toEqual([
    ['html', 1, 1],
    ['jsonl', 1, 2],
    ['jsonl.gz', 1, 1],
    ['md', 1, 1],
    ['txt', 1, 1],
  ]);
  expect(found.endings).toEqual(['HTML', 'jsonl', 'jsonl.gz', 'md', 'txt']);
  expect(found.languages.map(({ language, numDocuments }) => [language, numDocuments])).toEqual([
    ['zh-Hant', 3],
    ['en', 2],
    ['zh-Hans', 1],
  ]);
  expect(found.textBytes).toBe(
    Buffer.byteLength(hant) * 3 + Buffer.byteLength(hans) + Buffer.byteLength(english) * 2,
  );
  expect(found.fields).toEqual([
    { field: 'title', numDocuments: 3, numValues: 3, meanLength: 5, words: true, example: 'Law' },
    { field: 'year', numDocuments: 1, numValues: 1, meanLength: 4, words: false, example: '1929' },
  ]);
});

test('what will not be read stands there with reason, kind and names', async () => {
  await put('odd/good.txt', english);
  await put('odd/report.pdf', '%PDF-1.4 /Font');
  await put('odd/scan.pdf', scannedPdf());
  await put('odd/photo.JPG', Uint8Array.of(0xff, 0xd8));
  await put('odd/letter.docx', 'PK');
  await put('odd/old.doc', 'x');
  await put('odd/program', Uint8Array.of(0x7f, 0x45));
  await put('odd/binary.txt', Uint8Array.of(1, 0, 2));
  await put('odd/noise.txt', Uint8Array.of(0x61, 0xff, 0xfe, 0x62));
  await put('odd/nothing.pdf', '');
  await symlink('good.txt', path.join(folder, 'odd/link.txt'));
  const { notRead, numFiles } = await survey('odd');
  expect(numFiles).toBe(11);
  expect(
    notRead.map(({ reason, kind, count, examples }) => [reason, kind, count, ...examples]),
  ).toEqual(
    expect.arrayContaining([
      ['damaged', null, 2, 'letter.docx', 'report.pdf'],
      ['needs_ocr', null, 1, 'scan.pdf'],
      ['unknown_type', 'image', 1, 'photo.JPG'],
      ['unknown_type', 'office', 1, 'old.doc'],
      ['unknown_type', 'other', 1, 'program'],
      ['binary', null, 1, 'binary.txt'],
      ['undecodable', null, 1, 'noise.txt'],
      ['empty', null, 1, 'nothing.pdf'],
      ['symbolic_link', null, 1, 'link.txt'],
    ]),
  );
  expect(notRead).toHaveLength(9);
});

test('records whose text has another name are read by that name', async () => {
  await put('other/a.jsonl', `{"title":"t","body":"${english}"}\n`);
  expect(await survey('other')).toMatchObject({ textField: 'body', numDocuments: 1, notRead: [] });
});

test('an empty folder is no error of the survey', async () => {
  await mkdir(path.join(folder, 'empty/sub'), { recursive: true });
  expect(await survey('empty')).toMatchObject({ numFiles: 0, numDocuments: 0, hidden: 0 });
});

test('of a git source a plan looks at what a run reads: the files that are tracked, each as it is read there', async () => {
  const tracked = { 'a.py': 'x = 1\n', 'data/b.json': '{"any": "thing"}', 'logo.png': 'a\0b' };
  const untracked = { 'build/c.o': Uint8Array.of(0x7f, 0x45), 'node_modules/d/e.txt': english };
  for (const [name, content] of Object.entries({ ...tracked, ...untracked }))
    await put(`tree/${name}`, content);
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', path.join(folder, 'tree'), ...args]);
  git('init', '-q');
  git('add', ...Object.keys(tracked));
  const pipeline = pipelineSchema.parse({
    version: 1,
    name: 'code',
    data: { sources: [{ git: 'tree', license: 'internal' }] },
  });
  const from = { baseDir: folder, projectDir: folder };
  const [looked] = await lookAtSources({ pipeline, ...from, look: surveyFolder });
  const read: string[] = [];
  const [source] = pipeline.data.sources as [{ git: string } & LocalSource];
  for await (const item of readSource(await openSource(source, from)))
    read.push('document' in item ? 'document' : item.dropped.reason);
  expect(read.toSorted()).toEqual(['binary', 'document', 'document']);
  expect(surveySchema.parse(looked)).toMatchObject({
    numFiles: 3,
    formats: [{ format: 'txt', numFiles: 2, numDocuments: 2 }],
    notRead: [{ reason: 'binary', count: 1, examples: ['logo.png'] }],
  });
});

test('of a sample a plan takes the very documents that a run takes', async () => {
  for (let at = 0; at < 60; at += 1) await put(`sampled/${at}.txt`, `${english} ${at}`);
  const sample = 0.3;
  const pipeline = pipelineSchema.parse({
    version: 1,
    name: 'part',
    data: { sources: [{ path: './sampled', license: 'internal' }], sample: '30%' },
  });
  const from = { baseDir: folder, projectDir: folder };
  const judge = { sample, personalData: 'keep', quality: false, clean: undefined } as const;
  const look = (asked: SurveyRequest) => surveyFolder({ ...asked, judge });
  const [looked] = await lookAtSources({ pipeline, ...from, look });
  let numTaken = 0;
  const [source] = pipeline.data.sources as [{ path: string } & LocalSource];
  for await (const item of readSource(await openSource(source, from)))
    numTaken += isTaken(item, sample) ? 1 : 0;
  expect(looked!.foreseen!.numDocuments).toBe(numTaken);
  const place = path.join(folder, 'sampled');
  const elsewhere = { folder: place, name: './else', include: source.include, judge };
  expect((await surveyFolder(elsewhere)).foreseen!.numDocuments).not.toBe(numTaken);
});
