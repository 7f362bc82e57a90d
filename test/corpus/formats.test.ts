import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import iconv from 'iconv-lite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { linesOf } from '../../corpus/formats/lines.ts';
import { openSource, readSource, type LocalSource } from '../../corpus/sources.ts';
import { cjkPdf, docx, epub, scannedPdf, tar, warcRecord, zip } from './make-files.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'temper-formats-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let count = 0;
/** What becomes of a file of that name: each document as [place, text, metadata], each refusal as [place, reason]. */
async function read(files: Record<string, string | Uint8Array>, more: object = {}) {
  const place = `s${(count += 1)}`;
  for (const [name, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(folder, place, name)), { recursive: true });
    await writeFile(path.join(folder, place, name), content);
  }
  return readPlace({ path: place, ...more });
}

async function readPlace(source: object) {
  const whole = { include: '**/*', license: 'x', textField: 'text', ...source } as LocalSource;
  const from = { baseDir: folder, projectDir: folder };
  const documents: [string, string, Record<string, unknown>][] = [];
  const dropped: [string, string][] = [];
  for await (const item of readSource(await openSource(whole, from))) {
    const origin = ('document' in item ? item.document : item.dropped).source;
    const name = origin.slice(origin.indexOf('/') + 1);
    if ('document' in item) documents.push([name, item.document.text, item.document.metadata]);
    else dropped.push([name, item.dropped.reason]);
  }
  return { documents, dropped };
}

const law = '關於一定之數量，同時以文字及號碼表示者';
const fixture = (name: string) => readFile(path.join(import.meta.dirname, 'fixtures', name));
const page = (text: string) => `HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>${text}</p>`;
const mail = [
  'From a@b.c Mon Jan  1 00:00:00 2024',
  'Subject: =?big5?B?pKSk5Q==?=',
  'From: A <a@b.c>',
  'Date: Mon, 01 Jan 2024 00:00:00 +0000',
  '',
  'Hello',
  '>From here',
  '',
  'From d@e.f Mon Jan  1 00:00:00 2024',
  'Content-Type: multipart/mixed; boundary=X',
  '',
  '--X',
  'Content-Type: text/html',
  '',
  '<p>html <b>body</b></p>',
  '--X',
  'Content-Disposition: attachment; filename="n.txt"',
  '',
  'attached',
  '--X--',
  '',
].join('\n');

test.each<[string, Record<string, string | Uint8Array>, unknown[]]>([
  [
    'packed text',
    { 'a.txt.gz': gzipSync('one'), 'b.md.zst': zstdCompressSync(Buffer.from('two')) },
    [
      ['a.txt.gz', 'one', {}],
      ['b.md.zst', 'two', {}],
    ],
  ],
  [
    'JSON lines, zstd',
    { 'a.jsonl.zst': zstdCompressSync(Buffer.from('{"text":"t","y":1}\n{"text":"u"}')) },
    [
      ['a.jsonl.zst#1', 't', { y: 1 }],
      ['a.jsonl.zst#2', 'u', {}],
    ],
  ],
  [
    'CSV with quotes and a line end in a field',
    { 'a.csv': 'text,year,name\r\n"a ""b""\nc",1790,x\r\nd,,"007"\r\n' },
    [
      ['a.csv#1', 'a "b"\nc', { year: 1790, name: 'x' }],
      ['a.csv#2', 'd', { year: null, name: '007' }],
    ],
  ],
  [
    'CSV of semicolons with a mark',
    { 'a.csv': '\uFEFFid;text\n1;a, b\n' },
    [['a.csv#1', 'a, b', { id: 1 }]],
  ],
  ['TSV', { 'a.tsv': 'text\tn\nsay "hi"\t2\n' }, [['a.tsv#1', 'say "hi"', { n: 2 }]]],
  [
    'DOCX',
    {
      'a.docx': docx(
        [
          'one',
          '<w:r><w:t>two </w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:r><w:t>three &amp; 四</w:t></w:r>',
          '<w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>b</w:t></w:r></w:p></w:tc></w:tr></w:tbl>',
        ],
        'T',
      ),
    },
    [['a.docx', 'one\ntwo three & 四\na\tb', { title: 'T' }]],
  ],
  [
    'EPUB, by its spine',
    { 'a.epub': epub({ 'z 1.xhtml': '<p>first</p>', 'a.xhtml': '<p>second</p>' }) },
    [['a.epub', 'first\n\nsecond', { title: 'Book', author: 'Me' }]],
  ],
  [
    'mbox with an attachment',
    { 'a.mbox': mail },
    [
      [
        'a.mbox#1',
        'Hello\nFrom here',
        { subject: '中文', from: 'a@b.c', date: '2024-01-01T00:00:00.000Z' },
      ],
      ['a.mbox#2', 'html body', {}],
      ['a.mbox#2!/n.txt', 'attached\n', {}],
    ],
  ],
  ['one letter', { 'a.eml': 'Subject: s\n\nbody\n' }, [['a.eml', 'body', { subject: 's' }]]],
  [
    'WARC, packed record by record',
    {
      'a.warc.gz': Buffer.concat([
        gzipSync(warcRecord('warcinfo', '', 'x')),
        gzipSync(warcRecord('response', 'https://e.org/a', page('seen'))),
        gzipSync(warcRecord('conversion', 'https://e.org/b', 'plain')),
      ]),
    },
    [
      ['a.warc.gz#2', 'seen', { url: 'https://e.org/a' }],
      ['a.warc.gz#3', 'plain', { url: 'https://e.org/b' }],
    ],
  ],
  [
    'PDF by a CMap, whose full lines go on in the next',
    { 'a.pdf': cjkPdf('UniCNS-UTF16-H', 'CNS1', [law, '應以文字為準']) },
    [['a.pdf', `${law}應以文字為準`, {}]],
  ],
  [
    'PDF in columns, from the right',
    { 'a.pdf': cjkPdf('UniJIS-UTF16-V', 'Japan1', ['吾輩は猫である。', '名前はまだ無い。']) },
    [['a.pdf', '吾輩は猫である。\n名前はまだ無い。', {}]],
  ],
  [
    'an archive in an archive',
    {
      'a.zip': zip([
        { name: 'in/b.tar', content: tar([{ name: 'c.jsonl', content: '{"text":"deep"}' }]) },
        { name: '.x.txt', content: 'hidden' },
        { name: '__MACOSX/d.txt', content: 'copy' },
      ]),
    },
    [['a.zip!/in/b.tar!/c.jsonl#1', 'deep', {}]],
  ],
  [
    'members that would escape are only names',
    {
      'a.zip': zip([
        { name: '../../etc/a.txt', content: 'x', deflate: true },
        { name: '/b.txt', content: 'y' },
        { name: 'C:\\c.txt', content: 'z' },
      ]),
    },
    [
      ['a.zip!/../../etc/a.txt', 'x', {}],
      ['a.zip!//b.txt', 'y', {}],
      ['a.zip!/C:/c.txt', 'z', {}],
    ],
  ],
  [
    'names in Big5, in the code page of DOS, and in UTF-8',
    {
      'a.zip': zip([{ name: iconv.encode('附則/說明.txt', 'big5'), content: 'b' }]),
      'b.zip': zip([{ name: Buffer.from('caf\x82.txt', 'latin1'), content: 'c' }]),
      'c.tgz': gzipSync(tar([{ name: '法律.txt', content: 'u' }])),
    },
    [
      ['a.zip!/附則/說明.txt', 'b', {}],
      ['b.zip!/café.txt', 'c', {}],
      ['c.tgz!/法律.txt', 'u', {}],
    ],
  ],
  [
    'long names of tar',
    {
      'a.tar': tar([
        { name: '././@LongLink', type: 'L', content: `${'x'.repeat(120)}.txt\0` },
        { name: 'x', content: 'gnu' },
        { name: 'pax', type: 'x', content: '16 path=法.txt\n' },
        { name: 'y', content: 'pax' },
      ]),
    },
    [
      [`a.tar!/${'x'.repeat(120)}.txt`, 'gnu', {}],
      ['a.tar!/法.txt', 'pax', {}],
    ],
  ],
])('%s is read', async (_, files, expected) => {
  const { documents, dropped } = await read(files);
  expect(dropped).toEqual([]);
  expect(documents).toEqual(expected);
});

test('tables of Parquet and Arrow, each with its columns of single values', async () => {
  const rows = [
    ['文一', { year: 1790 }],
    ['two', { year: 1791 }],
    ['three', { year: null }],
  ];
  const [zstd, snappy, arrow] = await Promise.all(
    ['table.parquet', 'snappy.parquet', 'dataset.arrow'].map(fixture),
  );
  const { documents, dropped } = await read({
    'a.parquet': zstd!,
    'b.parquet': snappy!,
    'c/data-00000-of-00001.arrow': arrow!,
    'c/state.json': '{}',
    'c/dataset_info.json': '{}',
    'd.zip': zip([{ name: 'e.parquet', content: zstd! }]),
  });
  expect(dropped).toEqual([]);
  expect(documents.map(([, ...rest]) => rest)).toEqual([...rows, ...rows, ...rows, ...rows]);
  expect(documents.at(-1)![0]).toBe('d.zip!/e.parquet#3');
});

const bomb = Buffer.alloc(30_000_000);
test.each<[string, string, () => string | Uint8Array | Promise<Uint8Array>]>([
  ['bomb', 'a.txt.gz', () => gzipSync(bomb)],
  ['bomb', 'a.jsonl.zst', () => zstdCompressSync(bomb)],
  ['bomb', 'a.zip', () => zip([{ name: 'a.txt', content: bomb, deflate: true }])],
  [
    'too_deep',
    'a.zip',
    () =>
      [1, 2, 3, 4, 5].reduce(
        (inner) => zip([{ name: 'a.zip', content: inner }]),
        zip([{ name: 'a.txt', content: 'x' }]),
      ),
  ],
  ['damaged', 'cut.csv.gz', () => gzipSync('text\nx\n'.repeat(99)).subarray(0, 30)],
  [
    'damaged',
    'cut.jsonl.zst',
    () => zstdCompressSync(Buffer.from('{"text":"t"}\n'.repeat(99))).subarray(0, 20),
  ],
  ['damaged', 'cut.zip', () => zip([{ name: 'a.txt', content: 'x' }]).subarray(0, 40)],
  ['damaged', 'cut.tar', () => tar([{ name: '.a', content: 'x'.repeat(600) }]).subarray(0, 700)],
  ['damaged', 'cut.parquet', async () => (await fixture('table.parquet')).subarray(0, 200)],
  ['damaged', 'cut.arrow', async () => (await fixture('dataset.arrow')).subarray(0, 400)],
  ['damaged', 'cut.docx', () => docx(['x']).subarray(0, 90)],
  ['damaged', 'none.docx', () => zip([{ name: 'x.xml', content: '<x/>' }])],
  [
    'damaged',
    'cut.warc',
    () => warcRecord('response', 'https://e.org', page('x')).subarray(0, 120),
  ],
  ['damaged', 'no.pdf', () => 'plain text'],
  ['damaged', 'no.mbox', () => 'plain text'],
  ['needs_ocr', 'scan.pdf', scannedPdf],
  [
    'encrypted',
    'locked.pdf',
    () =>
      cjkPdf(
        'UniCNS-UTF16-H',
        'CNS1',
        ['x'],
        `/ID[<00><00>]/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<${'11'.repeat(32)}>/U<${'22'.repeat(32)}>>>`,
      ),
  ],
  [
    'encrypted',
    'locked.docx',
    () => Buffer.concat([Buffer.from('d0cf11e0a1b11ae1', 'hex'), Buffer.alloc(600)]),
  ],
  [
    'encrypted',
    'locked.zip',
    () => zip([{ name: 'a.txt', content: 'x', flags: 1, deflate: true }]),
  ],
  [
    'encrypted',
    'locked.epub',
    () =>
      epub({ 'a.xhtml': '<p>x</p>' }, [
        {
          name: 'META-INF/encryption.xml',
          content: '<e><enc:CipherReference URI="OEBPS/a.xhtml"/></e>',
        },
      ]),
  ],
  ['encrypted', 'locked.parquet', () => Buffer.from('PARE\x01\x00\x00\x00PARE', 'latin1')],
  [
    'symbolic_link',
    'link.zip',
    () => zip([{ name: 'a.txt', content: '/etc/passwd', mode: 0o120777 }]),
  ],
  ['symbolic_link', 'link.tar', () => tar([{ name: 'a.txt', type: '2' }])],
  ['not_a_file', 'pipe.tar', () => tar([{ name: 'a.txt', type: '6' }])],
  ['empty', 'none.pdf', () => ''],
  ['empty', 'a.zip', () => zip([{ name: 'a.txt', content: '' }])],
  ['empty', 'a.csv', () => 'text,year\n'],
  ['unknown_type', 'a.zip', () => zip([{ name: 'a.exe', content: 'x' }])],
  ['no_text', 'a.csv', () => 'title,year\nx,1\n'],
  [
    'not_a_page',
    'a.warc',
    () => warcRecord('response', 'https://e.org', 'HTTP/1.1 404 No\r\n\r\nx'),
  ],
  [
    'unknown_type',
    'a.warc',
    () =>
      warcRecord(
        'response',
        'https://e.org',
        'HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\nx',
      ),
  ],
])('%s: %s is dropped and the rest goes on', async (reason, name, content) => {
  const { documents, dropped } = await read({ [name]: await content(), 'zz.txt': 'fine' });
  expect(documents.map(([, text]) => text)).toEqual(['fine']);
  expect(dropped).toEqual([[expect.stringContaining(name), reason]]);
});

test('what is attached without a name or of no known type is dropped with its place', async () => {
  const part = (header: string) => `--X\nContent-Disposition: attachment${header}\n\nx\n`;
  const letter = `Content-Type: multipart/mixed; boundary=X\n\n--X\n\nbody\n${part('')}${part('; filename="a.exe"')}--X--\n`;
  const { documents, dropped } = await read({ 'a.eml': letter });
  expect(documents.map(([, text]) => text)).toEqual(['body']);
  expect(dropped).toEqual([
    ['a.eml!/attachment 1', 'unknown_type'],
    ['a.eml!/a.exe', 'unknown_type'],
  ]);
});

test('files that a crawler kept are read by their types; its own notes are passed over', async () => {
  const resource = (url: string, type: string) => warcRecord('resource', url, '<p>seen</p>', type);
  const { documents, dropped } = await read({
    'a.warc': Buffer.concat([
      resource('https://e.org/a', 'text/html; charset=utf-8'),
      resource('https://e.org/b', 'image/png'),
      resource('metadata://gnu.org/software/wget/warc/wget.log', 'text/plain'),
    ]),
  });
  expect(documents).toEqual([['a.warc#1', 'seen', { url: 'https://e.org/a' }]]);
  expect(dropped).toEqual([['a.warc#2', 'unknown_type']]);
});

test('the time that a format says is the date of a document', async () => {
  const modified =
    '<dcterms:modified xsi:type="dcterms:W3CDTF">2024-05-06T07:08:09Z</dcterms:modified>';
  const created = modified.replaceAll('modified', 'created').replace('2024', '2001');
  const said = {
    'a.docx': docx(['text'], 'T', created + modified),
    'b.docx': docx(['text'], 'T', created),
    'c.epub': epub(
      { 'a.xhtml': '<p>text</p>' },
      [],
      '<dc:date opf:event="publication">1999-07</dc:date>',
    ),
    'd.warc': warcRecord(
      'conversion',
      'https://e.org/b',
      'text',
      undefined,
      '2024-01-02T03:04:05Z',
    ),
    'e.docx': docx(['text'], 'T', '<dcterms:modified>soon</dcterms:modified>'),
  };
  const { documents } = await read(said);
  expect(documents.map(([name, , metadata]) => [name, metadata['date']])).toEqual([
    ['a.docx', '2024-05-06T07:08:09.000Z'],
    ['b.docx', '2001-05-06T07:08:09.000Z'],
    ['c.epub', '1999-07'],
    ['d.warc#1', '2024-01-02T03:04:05.000Z'],
    ['e.docx', undefined],
  ]);
});

test('one over-long line of UTF-16 is passed over, and the lines behind it are read', async () => {
  const found: [number, string][] = [];
  const pieces = function* () {
    yield Buffer.from('\ufefffirst\n', 'utf16le');
    const piece = Buffer.from('x'.repeat(1024 * 1024), 'utf16le');
    for (let count = 0; count < 33; count += 1) yield piece;
    yield Buffer.from('\nlast', 'utf16le');
  };
  const chunks = async function* () {
    yield* pieces();
  };
  for await (const { position, line } of linesOf({ size: null, chunks }))
    found.push([position, typeof line === 'string' ? line : line.reason]);
  expect(found).toEqual([
    [1, 'first'],
    [2, 'too_large'],
    [3, 'last'],
  ]);
});

test('a line of 500 MB is passed over in bounded memory, whatever holds it', async () => {
  const pieceBytes = 256 * 1024;
  const numPieces = Math.ceil(500e6 / pieceBytes);
  let peak = 0;
  const before = process.memoryUsage().arrayBuffers;
  const chunks = async function* () {
    yield Buffer.from('{"text":"one"}\n{"text":"');
    for (let count = 0; count < numPieces; count += 1) {
      yield Buffer.alloc(pieceBytes, 0x78);
      peak = Math.max(peak, process.memoryUsage().arrayBuffers - before);
    }
    yield Buffer.from('"}\n{"text":"three"}');
  };
  const found: string[] = [];
  for await (const { line } of linesOf({ size: null, chunks }))
    found.push(typeof line === 'string' ? line : `${line.reason}: ${line.detail}`);
  const bytes = numPieces * pieceBytes + '{"text":""}'.length;
  expect(found).toEqual([
    '{"text":"one"}',
    `too_large: found a record of ${bytes} bytes, expected at most 33554432; split it`,
    '{"text":"three"}',
  ]);
  expect(peak).toBeLessThan(256e6);
});

test('rows before and behind a damaged or an over-long one are kept, all of them', async () => {
  const rows = Array.from({ length: 60 }, (_, number) => `row ${number}`);
  const table = (last: string) => `text\n${rows.join('\n')}\n${last}\nlast\n`;
  const { documents, dropped } = await read({
    'a.csv': table('open "quote'),
    'b.csv': table('x'.repeat(33 * 1024 * 1024)),
  });
  expect(documents.map(([, text]) => text)).toEqual([...rows, 'last', ...rows, 'last']);
  expect(dropped).toEqual([
    ['a.csv#61', 'damaged'],
    ['b.csv#61', 'too_large'],
  ]);
});

test('what was read before an archive breaks off is kept', async () => {
  const members = ['a', 'b', 'c'].map((name) => ({
    name: `${name}.txt`,
    content: name.repeat(2000),
  }));
  const { documents, dropped } = await read({ 'a.tar': tar(members).subarray(0, 6000) });
  expect(documents.map(([name]) => name)).toEqual(['a.tar!/a.txt', 'a.tar!/b.txt']);
  expect(dropped).toEqual([
    ['a.tar!/c.txt', 'damaged'],
    ['a.tar', 'damaged'],
  ]);
});

test('a line longer than a record may be is passed over, and a long list of JSON is read in items', async () => {
  const long = 'x'.repeat(33 * 1024 * 1024);
  const item = JSON.stringify({ text: 'a [list], {of} "things" \\', n: [1, { m: 2 }] });
  const list = `[${Array.from({ length: 300_000 }, () => item).join(',\n')}]`;
  const { documents, dropped } = await read({
    'a.jsonl': `{"text":"one"}\n{"text":"${long}"}\n{"text":"three"}\n`,
    'b.json': list,
  });
  expect(dropped).toEqual([['a.jsonl#2', 'too_large']]);
  expect(documents.length).toBe(300_002);
  expect(documents.at(-1)).toEqual(['b.json#300000', 'a [list], {of} "things" \\', {}]);
});

test('a repository gives its tracked files, each with its licence', async () => {
  const repository = path.join(folder, 'repository');
  const files: Record<string, string | Uint8Array> = {
    LICENSE: 'Permission is hereby granted, free of charge, to any person obtaining a copy',
    'a.py': '# SPDX-License-Identifier: GPL-3.0-or-later WITH GCC-exception-3.1\nprint(1)\n',
    'b.ts': 'export const one = 1;\n',
    'data/c.json': '{"any": "thing"}',
    'data/c.json.license': 'SPDX-License-Identifier: CC0-1.0',
    'docs/d.md': '# Text\n',
    'vendor/COPYING': 'Apache License\n  Version 2.0, January 2004',
    'vendor/e.c': 'int e;\n',
    'logo.png': Uint8Array.of(0x89, 0x50, 0, 0),
    'untracked.txt': 'x',
    'REUSE.toml': '[[annotations]]\npath = ["docs/**"]\nSPDX-License-Identifier = "CC-BY-4.0"\n',
  };
  for (const [name, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(repository, name)), { recursive: true });
    await writeFile(path.join(repository, name), content);
  }
  const git = (...args: string[]) => execFileSync('git', ['-C', repository, ...args]);
  git('init', '-q');
  git('add', ...Object.keys(files).filter((name) => name !== 'untracked.txt'));
  const { documents, dropped } = await readPlace({ git: 'repository' });
  expect(dropped).toEqual([['logo.png', 'binary']]);
  expect(documents.map(([name, , metadata]) => [name, metadata['license']])).toEqual([
    ['LICENSE', 'MIT'],
    ['REUSE.toml', 'MIT'],
    ['a.py', 'GPL-3.0-or-later WITH GCC-exception-3.1'],
    ['b.ts', 'MIT'],
    ['data/c.json', 'CC0-1.0'],
    ['docs/d.md', 'CC-BY-4.0'],
    ['vendor/COPYING', 'Apache-2.0'],
    ['vendor/e.c', 'Apache-2.0'],
  ]);
  await expect(readPlace({ git: '.' })).rejects.toThrow(/git cannot list .*expected a work tree/);
});
