import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Document, DroppedDocument } from '../../config/manifests.ts';
import type { Source } from '../../config/sources.ts';
import { readStable } from '../../corpus/files.ts';
import { htmlToText } from '../../corpus/html.ts';
import { openSource, readSource, type LocalSource } from '../../corpus/sources.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'temper-corpus-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function put(name: string, content: string | Uint8Array): Promise<void> {
  await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
  await writeFile(path.join(folder, name), content);
}

async function read(
  source: Partial<Source> & { path: string },
): Promise<{ documents: Document[]; dropped: DroppedDocument[] }> {
  const whole = { include: '**/*', license: 'x', textField: 'text', ...source } as LocalSource;
  const opened = await openSource(whole, { baseDir: folder, projectDir: folder });
  const documents: Document[] = [];
  const dropped: DroppedDocument[] = [];
  for await (const item of readSource(opened)) {
    if ('document' in item) documents.push(item.document);
    else dropped.push(item.dropped);
  }
  return { documents, dropped };
}

const utf16 = (text: string, big: boolean): Buffer => {
  const bytes = Buffer.from(`\uFEFF${text}`, 'utf16le');
  return big ? bytes.swap16() : bytes;
};

test.each<[string, string, string | Uint8Array, Partial<Document>[]]>([
  ['text', 'a.txt', 'hello', [{ text: 'hello' }]],
  ['text with a byte-order mark', 'a.txt', '\uFEFFhello', [{ text: 'hello' }]],
  ['UTF-16 little-endian', 'a.txt', utf16('法律', false), [{ text: '法律' }]],
  ['UTF-16 big-endian', 'a.md', utf16('法律', true), [{ text: '法律' }]],
  [
    'one JSON record',
    'a.json',
    '{"text":"t","year":1790,"x":[1]}',
    [{ text: 't', metadata: { year: 1790 } }],
  ],
  [
    'a list of JSON records',
    'a.json',
    '[{"text":"t"},{"text":"u"}]',
    [{ text: 't' }, { text: 'u', source: 's/a.json#2' }],
  ],
  [
    'JSON lines',
    'a.jsonl',
    '{"text":"t"}\r\n\n{"text":"u"}',
    [{ text: 't' }, { text: 'u', source: 's/a.jsonl#3' }],
  ],
  [
    'packed JSON lines',
    'a.jsonl.gz',
    gzipSync('{"text":"t","b":true}\n'),
    [{ text: 't', metadata: { b: true } }],
  ],
  ['HTML', 'a.html', '<title>T</title><p>a<p>b', [{ metadata: { title: 'T' } }]],
])('%s is read', async (title, name, content, expected) => {
  const name_ = title.replaceAll(' ', '-');
  await put(`${name_}/s/${name}`, content);
  const { documents, dropped } = await read({ path: `${name_}/s` });
  expect(dropped).toEqual([]);
  expect(
    documents.map((item) => ({ ...item, source: item.source.slice(name_.length + 1) })),
  ).toMatchObject(expected);
});

test.each<[string, string, string | Uint8Array]>([
  ['undecodable', 'a.txt', Uint8Array.of(0x61, 0xff, 0xfe, 0x62)],
  ['undecodable', 'odd.txt', Uint8Array.of(0xff, 0xfe, 0x00, 0xd8, 0x61, 0x00)],
  ['damaged', 'a.jsonl.gz', 'not gzip'],
  ['damaged', 'cut.jsonl.gz', gzipSync('{"text":"t"}'.repeat(99)).subarray(0, 30)],
  ['binary', 'a.txt', Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 0, 1, 2)],
  ['binary', 'a.html', Uint8Array.of(0x3c, 0, 0x3e)],
  ['empty', 'a.txt', ''],
  ['empty', 'blank.txt', ' \n\t\n'],
  ['empty', 'a.jsonl', '\n\n'],
  ['empty', 'a.json', '[]'],
  ['empty', 'a.html', '<script>x</script>'],
  ['invalid_json', 'a.json', '{"text": '],
  ['invalid_json', 'a.jsonl', '{"text": "x"'],
  ['no_text', 'a.json', '{"body":"x"}'],
  ['no_text', 'b.json', '{"text":5}'],
  ['no_text', 'c.json', '"x"'],
  ['too_large', 'a.txt', 'x'.repeat(8 * 1024 * 1024 + 1)],
  ['unknown_type', 'a.exe', 'MZ'],
])('%s: %s is dropped and the rest goes on', async (reason, name, content) => {
  const place = `bad/${reason}-${name.replaceAll('.', '-')}`;
  await put(`${place}/${name}`, content);
  await put(`${place}/zz.txt`, 'fine');
  const { documents, dropped } = await read({ path: place });
  expect(documents.map(({ text }) => text)).toEqual(['fine']);
  expect(dropped).toMatchObject([{ reason }]);
  expect(dropped[0]!.source).toContain(name);
});

test('a bad line of a JSON-lines file is dropped alone', async () => {
  await put(
    'lines/a.jsonl',
    Buffer.concat([
      Buffer.from('{"text":"a"}\n{"text":"'),
      Buffer.of(0xff),
      Buffer.from('"}\n{"text":"c"}\n'),
    ]),
  );
  const { documents, dropped } = await read({ path: 'lines/a.jsonl' });
  expect(documents.map(({ source }) => source)).toEqual(['lines/a.jsonl#1', 'lines/a.jsonl#3']);
  expect(dropped).toMatchObject([{ source: 'lines/a.jsonl#2', reason: 'undecodable' }]);
});

test('files come in the order of code units, and names that start with a dot are left alone', async () => {
  for (const name of ['b.txt', 'B.txt', 'a/z.txt', 'a-b.txt', '.git/x.txt', '中.txt', 'é.txt'])
    await put(`order/${name}`, name);
  const { documents } = await read({ path: 'order' });
  expect(documents.map(({ text }) => text)).toEqual([
    'B.txt',
    'a-b.txt',
    'a/z.txt',
    'b.txt',
    'é.txt',
    '中.txt',
  ]);
});

test('the glob chooses files', async () => {
  for (const name of ['a.txt', 'b.md', 'sub/c.md']) await put(`glob/${name}`, name);
  expect(
    (await read({ path: 'glob', include: '**/*.md' })).documents.map(({ text }) => text),
  ).toEqual(['b.md', 'sub/c.md']);
  expect((await read({ path: 'glob', include: '*.md' })).documents.map(({ text }) => text)).toEqual(
    ['b.md'],
  );
});

test('symbolic links are never followed: not out of the folder, not in circles', async () => {
  await put('outside.txt', 'secret');
  await put('links/a.txt', 'fine');
  await symlink(path.join(folder, 'outside.txt'), path.join(folder, 'links/out.txt'));
  await symlink(path.join(folder, 'links'), path.join(folder, 'links/loop'));
  const { documents, dropped } = await read({ path: 'links' });
  expect(documents.map(({ text }) => text)).toEqual(['fine']);
  expect(dropped.map(({ source, reason }) => [source, reason])).toEqual([
    ['links/loop', 'symbolic_link'],
    ['links/out.txt', 'symbolic_link'],
  ]);
});

test('a file that is written while it is read is refused', async () => {
  await put('moving.txt', 'x'.repeat(4_000_000));
  const file = path.join(folder, 'moving.txt');
  let writing = true;
  const writer = (async () => {
    for (let round = 0; writing; round += 1)
      await writeFile(file, String(round % 10).repeat(4_000_000));
  })();
  const reasons: string[] = [];
  while (reasons.length < 200 && !reasons.includes('changed_while_read')) {
    const result = await readStable(file, []);
    reasons.push('reason' in result ? result.reason : uniform(result.bytes));
  }
  writing = false;
  await writer;
  expect(reasons).toContain('changed_while_read');
  expect(reasons).not.toContain('mixed');
});

test('a file that changes while it is read is read again, and what it settled on is taken', async () => {
  await put('settling.txt', 'x'.repeat(4_000_000));
  const file = path.join(folder, 'settling.txt');
  let rounds = 0;
  const writer = (async () => {
    for (; rounds < 200; rounds += 1)
      await writeFile(file, String(rounds % 10).repeat(4_000_000 + rounds));
  })();
  const reading = readStable(
    file,
    Array.from({ length: 400 }, () => 10),
  );
  await writer;
  const result = await reading;
  expect('bytes' in result && uniform(result.bytes)).toBe('whole');
});

function uniform(bytes: Buffer): string {
  return bytes.every((byte) => byte === bytes[0]) ? 'whole' : 'mixed';
}

test.each([
  ['nothing there', { path: 'absent' }, /found nothing at absent/],
  [
    'no file matches',
    { path: 'glob', include: '*.csv' },
    /no file in glob that matches include "\*\.csv"/,
  ],
  [
    'the package is not installed',
    { package: '@none/such' },
    /@none\/such is not installed.*npm install/,
  ],
  ['the package is a path', { package: '../outside' }, /expected the name of an npm package/],
])('a source is refused in one sentence: %s', async (_, source, message) => {
  await expect(read(source as never)).rejects.toThrow(message);
});

test('ids depend on the source and the text, not on the name of the file', async () => {
  await put('ids/one/a.txt', 'same');
  await put('ids/one/b.txt', 'same');
  await put('ids/one/c.txt', 'other');
  const { documents } = await read({ path: 'ids/one' });
  expect(documents[0]!.id).toBe(documents[1]!.id);
  expect(documents[0]!.id).not.toBe(documents[2]!.id);
  expect(documents[0]!.id).toMatch(/^[0-9a-f]{32}$/);
});

test('HTML loses scripts, styles and navigation, and blocks become lines', () => {
  const page =
    '<!doctype html><head><title> My &amp; page</title><style>p{}</style></head><body><nav>Menu</nav><h1>One</h1>' +
    '<p>two <b>bold</b>\n words<br>three</p><script>if (a < b) {}</script><ul><li>x<li>y</ul><pre>a\n  b</pre></body>';
  const { title, text } = htmlToText(page);
  expect(title).toBe('My & page');
  expect(
    text
      .split('\n')
      .map((line) => line.trimEnd())
      .filter(Boolean),
  ).toEqual(['One', 'two bold words', 'three', 'x', 'y', 'a', '  b']);
});

test('damaged HTML is read as far as it goes', () => {
  expect(htmlToText('<p>a<nav>b</p>c').text).toBe('a');
  expect(htmlToText('text only').text).toBe('text only');
  expect(htmlToText('<head><title>t</title><body><p>shown').text).toBe('shown');
});
