/**
 * Makes a folder with one file of every format and encoding that is read, in English, Chinese, Japanese and German, and
 * of every kind of damage that is refused: `node bench/support/every-format.ts FOLDER`. The same bytes every time.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { tableFromArrays, tableToIPC, utf8 } from '@uwdata/flechette';
import iconv from 'iconv-lite';
import { sourceSchema } from '../../config/sources.ts';
import {
  cjkPdf,
  docx,
  epub,
  parquet,
  scannedPdf,
  tar,
  warcRecord,
  zip,
} from '../../test/corpus/make-files.ts';
import { madeUpText, type Language } from './made-up-texts.ts';

type Content = string | Uint8Array;

/** Folders of the folder: a source of files, and a repository. */
export const parts = { files: 'files', repository: 'repository' } as const;

/** The folder's sources, as its pipeline file names them. */
export const formatSources = [
  { path: parts.files, include: '**/*' },
  { git: parts.repository, include: '**/*' },
].map((source) => sourceSchema.parse({ ...source, license: 'CC0-1.0' }));

/** Files that hold documents, by their path. */
function goodFiles(numRecords: number): Record<string, Content> {
  let seed = 0;
  const text = (language: Language, numSentences?: number): string =>
    madeUpText(language, (seed += 1), numSentences);
  const records = (language: Language, count: number): string =>
    Array.from(
      { length: count },
      (_, number) => `${JSON.stringify({ number, text: text(language) })}\n`,
    ).join('');
  const lines = (language: Language): string[] =>
    text(language, 6)
      .split(/(?<=。)/)
      .filter(Boolean);
  const page = (language: Language): string => {
    const said = text(language, 24).match(/.+?[.。]\s?/g)!;
    const paragraphs = [0, 8, 16].map((from) => `<p>${said.slice(from, from + 8).join('')}</p>`);
    return `<!doctype html><html><head><meta charset="utf-8"><title>${language}</title></head><body><nav><a href="/">Home</a> <a href="/a">About</a></nav><main><h1>${language}</h1>${paragraphs.join('')}</main><footer>All rights reserved</footer></body></html>`;
  };
  const response = (language: Language): string =>
    `HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n${page(language)}`;
  const letter = (subject: string, body: string): string =>
    `From a@example.org Mon Jan  1 00:00:00 2024\nSubject: ${subject}\nFrom: A <a@example.org>\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n${body}\n\n`;
  const rows = (...of: Language[]): string => of.map((one) => `"${text(one)}",1999\n`).join('');
  const arrow = tableToIPC(
    tableFromArrays({ text: [text('ja'), text('en')] }, { types: { text: utf8() } }),
    { format: 'stream' },
  )!;
  return {
    'text/en.txt': text('en'),
    'text/zh-Hant.txt': text('zh-Hant'),
    'text/ja.txt.gz': gzipSync(text('ja')),
    'encodings/utf-16le.txt': Buffer.from(`\uFEFF${text('zh-Hant')}`, 'utf16le'),
    'encodings/utf-16be.txt': Buffer.from(`\uFEFF${text('ja')}`, 'utf16le').swap16(),
    'encodings/big5.txt': iconv.encode(text('zh-Hant', 30), 'big5'),
    'encodings/gb18030.txt': iconv.encode(text('zh-Hans', 30), 'gb18030'),
    'encodings/shift-jis.txt': iconv.encode(text('ja', 30), 'shift_jis'),
    'encodings/latin-1.txt': iconv.encode(text('de'), 'latin1'),
    'notes/en.md': `---\ntitle: "Notes"\n---\n\n# Notes\n\n${text('en')}\n`,
    'notes/zh-Hant.md.zst': zstdCompressSync(Buffer.from(`# 紀錄\n\n${text('zh-Hant')}\n`)),
    'records/en.jsonl': records('en', numRecords),
    'records/zh-Hant.jsonl.gz': gzipSync(records('zh-Hant', numRecords)),
    'records/ja.jsonl.zst': zstdCompressSync(Buffer.from(records('ja', numRecords))),
    'records/list.json': JSON.stringify([{ text: text('de') }, { text: text('zh-Hans') }]),
    'tables/mixed.csv': `text,year\n${rows('en', 'zh-Hant', 'ja')}`,
    'tables/big5.csv': iconv.encode(`text,year\n${rows('zh-Hant', 'zh-Hant')}`, 'big5'),
    'tables/de.tsv': `text\tyear\n${text('de')}\t1999\n`,
    'tables/mixed.parquet': parquet('text', [text('zh-Hant'), text('en')]),
    'hugging-face/data-00000-of-00001.arrow': arrow,
    'hugging-face/state.json': '{}',
    'hugging-face/dataset_info.json': '{}',
    'pages/zh-Hant.html': page('zh-Hant'),
    'pages/ja.htm': iconv.encode(page('ja').replace('utf-8', 'shift_jis'), 'shift_jis'),
    'pages/crawl.warc.gz': Buffer.concat([
      gzipSync(warcRecord('warcinfo', '', 'made up')),
      gzipSync(warcRecord('response', 'https://example.org/en', response('en'))),
      gzipSync(warcRecord('response', 'https://example.org/ja', response('ja'))),
    ]),
    'papers/horizontal.pdf': cjkPdf('UniCNS-UTF16-H', 'CNS1', lines('zh-Hant')),
    'papers/vertical.pdf': cjkPdf('UniJIS-UTF16-V', 'Japan1', lines('ja')),
    'papers/zh-Hant.docx': docx([text('zh-Hant'), text('zh-Hant')], '公文'),
    'papers/en.epub': epub({
      'one.xhtml': `<p>${text('en')}</p>`,
      'two.xhtml': `<p>${text('en')}</p>`,
    }),
    'mail/box.mbox': letter('news', text('en')) + letter('=?utf-8?B?5paw6IGe?=', text('zh-Hant')),
    'mail/big5.mbox': iconv.encode(
      letter('預算會議通知', text('zh-Hant')).replace('; charset=utf-8', ''),
      'big5',
    ),
    'mail/one.eml': letter('news', text('de')).slice(letter('', '').indexOf('Subject')),
    'archives/mixed.zip': zip([
      { name: 'en.txt', content: text('en'), deflate: true },
      {
        name: iconv.encode('法規/說明.txt', 'big5'),
        content: iconv.encode(text('zh-Hant', 30), 'big5'),
      },
      { name: 'in/ja.docx', content: docx([text('ja')]) },
    ]),
    'archives/mixed.tgz': gzipSync(
      tar([
        { name: '法律.txt', content: text('zh-Hant') },
        { name: 'en.jsonl', content: records('en', 3) },
      ]),
    ),
    'archives/big5.tar': tar(
      ['人事.txt', '預算表.txt'].map((name) => ({
        name: iconv.encode(name, 'big5'),
        content: text('zh-Hant'),
      })),
    ),
    'archives/escaping.zip': zip([
      { name: '../../etc/en.txt', content: text('en'), deflate: true },
    ]),
  };
}

/** Files that cannot be read, each with the reason that is wanted. */
const badFiles: Record<string, { reason: string; content: () => Content }> = {
  'empty.txt': { reason: 'empty', content: () => '' },
  'cut.jsonl.gz': {
    reason: 'damaged',
    content: () => gzipSync(`${JSON.stringify({ text: madeUpText('en', 1) })}\n`).subarray(0, 60),
  },
  'cut.jsonl.zst': {
    reason: 'damaged',
    content: () => zstdCompressSync(Buffer.from('{"text":"t"}\n'.repeat(99))).subarray(0, 20),
  },
  'cut.parquet': { reason: 'damaged', content: () => parquet('text', ['a text']).subarray(0, 40) },
  'cut.docx': { reason: 'damaged', content: () => docx(['x']).subarray(0, 90) },
  'locked.pdf': {
    reason: 'encrypted',
    content: () =>
      cjkPdf(
        'UniCNS-UTF16-H',
        'CNS1',
        ['x'],
        `/ID[<00><00>]/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<${'11'.repeat(32)}>/U<${'22'.repeat(32)}>>>`,
      ),
  },
  'locked.zip': {
    reason: 'encrypted',
    content: () => zip([{ name: 'a.txt', content: 'x', flags: 1, deflate: true }]),
  },
  'scan.pdf': { reason: 'needs_ocr', content: scannedPdf },
  'bomb.txt.gz': { reason: 'bomb', content: () => gzipSync(Buffer.alloc(20_000_000)) },
  'bomb.zip': {
    reason: 'bomb',
    content: () => zip([{ name: 'a.txt', content: Buffer.alloc(20_000_000), deflate: true }]),
  },
  'deep.zip': {
    reason: 'too_deep',
    content: () =>
      [1, 2, 3, 4, 5].reduce(
        (inner) => zip([{ name: 'a.zip', content: inner }]),
        zip([{ name: 'a.txt', content: 'x' }]),
      ),
  },
  'nul.txt': { reason: 'binary', content: () => Buffer.from('a\0b\0c') },
  'noise.txt': { reason: 'undecodable', content: () => Uint8Array.of(0x61, 0xff, 0xfe, 0x62) },
  'broken.jsonl': { reason: 'invalid_json', content: () => '{broken\n' },
  'columns.csv': { reason: 'no_text', content: () => 'title,year\nx,1\n' },
  'film.mp4': { reason: 'unknown_type', content: () => Buffer.from('ftypisom') },
  'pipe.tar': { reason: 'not_a_file', content: () => tar([{ name: 'a.txt', type: '6' }]) },
};

/** Of a repository, whose files are text by their names. */
const mit = 'Permission is hereby granted, free of charge, to any person obtaining a copy';
const repositoryFiles: Record<string, Content> = {
  LICENSE: mit,
  'either/LICENSE-APACHE': 'Apache License\nVersion 2.0, January 2004\n',
  'either/LICENSE-MIT': mit,
  'either/ferry.md': `# Either\n\n${madeUpText('en', 5004)}\n`,
  'vendor/LICENSE': 'All of this is owned by the harbour office, which permits nothing of it.\n',
  'vendor/bells.md': `# Bells\n\n${madeUpText('de', 5005)}\n`,
  'README.md': `# Ferry\n\n${madeUpText('en', 5001)}\n`,
  'docs/ja.md': `# 渡し舟\n\n${madeUpText('ja', 5002)}\n`,
  'src/bells.py': `"""${madeUpText('en', 5003)}"""\n\n\ndef ring(times):\n    return "ding" * times\n`,
};

export interface EveryFormat {
  /** Every file, by its path below the folder; of a bad one the reason that is wanted, else null. */
  files: Map<string, string | null>;
  bytes: number;
}

/** Writes the folder; `numRecords` in each of the three files of JSON lines decide how many shards there are. */
export function writeEveryFormat(folder: string, numRecords = 40): EveryFormat {
  const files: EveryFormat['files'] = new Map();
  let bytes = 0;
  const write = (name: string, content: Content, reason: string | null): void => {
    const file = path.join(folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, content);
    bytes += Buffer.byteLength(content as string);
    files.set(name, reason);
  };
  for (const [name, content] of Object.entries(goodFiles(numRecords)))
    write(`${parts.files}/${name}`, content, null);
  // What describes a table is no document.
  for (const name of ['state', 'dataset_info'])
    files.delete(`${parts.files}/hugging-face/${name}.json`);
  for (const [name, { reason, content }] of Object.entries(badFiles))
    write(`${parts.files}/bad/${name}`, content(), reason);
  symlinkSync('.', path.join(folder, parts.files, 'bad/loop.txt'));
  files.set(`${parts.files}/bad/loop.txt`, 'symbolic_link');
  for (const [name, content] of Object.entries(repositoryFiles))
    write(`${parts.repository}/${name}`, content, null);
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', path.join(folder, parts.repository), ...args], { stdio: 'ignore' });
  git('init', '-q');
  git('add', '.');
  writeFileSync(path.join(folder, 'pipeline.yaml'), pipelineFile);
  return { files, bytes };
}

/** What `npx temper run` needs to make a corpus and a small model of the folder. */
const pipelineFile = readFileSync(path.join(import.meta.dirname, 'every-format.yaml'), 'utf8');

if (import.meta.main) {
  const [folder] = process.argv.slice(2);
  if (folder === undefined) {
    process.stderr.write('node bench/support/every-format.ts FOLDER\n');
    process.exitCode = 2;
  } else {
    const { files, bytes } = writeEveryFormat(path.resolve(folder));
    process.stdout.write(`${JSON.stringify({ numFiles: files.size, bytes })}\n`);
  }
}
