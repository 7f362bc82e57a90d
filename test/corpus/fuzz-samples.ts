/** A small valid file of every format, to be damaged. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { cjkPdf, docx, epub, scannedPdf, tar, warcRecord, zip } from './make-files.ts';

const fixture = (name: string): Promise<Buffer> =>
  readFile(path.join(import.meta.dirname, 'fixtures', name));

/** Bytes by the name that they are read under. */
export async function samples(): Promise<Record<string, Buffer>> {
  const json = '{"text":"one 一","year":1790,"tags":["a",{"b":[1]}]}';
  const page =
    'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n<p>seen</p>\r\n0\r\n\r\n';
  const warc = Buffer.concat([
    warcRecord('warcinfo', '', 'x'),
    warcRecord('response', 'https://e.org', page),
  ]);
  const letter =
    'Subject: =?big5?B?pKSk5Q==?=\nContent-Type: multipart/mixed; boundary=X\n\n--X\nContent-Type: text/html\n\n<p>a</p>\n--X\nContent-Disposition: attachment; filename="n.txt"\nContent-Transfer-Encoding: base64\n\naGk=\n--X--\n';
  const inner = tar([
    { name: 'a.txt', content: 'one' },
    { name: 'pax', type: 'x', content: '16 path=法.txt\n' },
    { name: 'b', content: 'two' },
  ]);
  return {
    'a.txt': Buffer.from('plain text, 一些文字\n'),
    'a.md': Buffer.from('---\ntitle: x\nn: [1, {a: b}]\n---\n# Text\n'),
    'a.html': Buffer.from(
      '<!doctype html><html><head><title>t</title><meta charset=big5></head><body><nav>m</nav><article><p>one<p>two <b>bold</b><table><tr><td>x</table></article></body></html>',
    ),
    'a.json': Buffer.from(`[${json},${json}]`),
    'a.jsonl': Buffer.from(`${json}\n${json}\n`),
    'a.jsonl.gz': gzipSync(`${json}\n${json}\n`),
    'a.jsonl.zst': zstdCompressSync(Buffer.from(`${json}\n${json}\n`)),
    'a.csv': Buffer.from('text,year\n"a ""b""\nc",1790\nd,\n'),
    'a.tsv': Buffer.from('text\tyear\na\t1\n'),
    'a.parquet': await fixture('table.parquet'),
    'b.parquet': await fixture('snappy.parquet'),
    'a.arrow': await fixture('dataset.arrow'),
    'a.warc': warc,
    'a.warc.gz': gzipSync(warc),
    'a.pdf': cjkPdf('UniCNS-UTF16-V', 'CNS1', ['關於一定之數量', '應以文字為準']),
    'b.pdf': scannedPdf(),
    'a.docx': docx(['one', 'two'], 'T'),
    'a.epub': epub({ 'a.xhtml': '<p>first</p>', 'b c.xhtml': '<p>second</p>' }),
    'a.eml': Buffer.from(letter),
    'a.mbox': Buffer.from(`From a@b Mon\n${letter}\nFrom c@d Tue\n\n>From here\n`),
    'a.tar': inner,
    'a.zip': zip([
      { name: 'in/a.tar', content: inner, deflate: true },
      { name: Buffer.from('aab7.txt', 'hex'), content: 'x' },
      { name: 'b.txt', content: 'text', deflate: true },
    ]),
  };
}

/** Numbers from 0 to 2³² − 1, the same ones for a seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return (value ^ (value >>> 14)) >>> 0;
  };
}

/** The bytes with one to eight damages: bits, bytes, parts cut out, doubled, moved, or the end lost. */
export function damaged(bytes: Buffer, random: () => number): Buffer {
  let out = Buffer.from(bytes);
  const times = 1 + (random() % 8);
  for (let round = 0; round < times && out.length > 0; round += 1) {
    const at = random() % out.length;
    const length = 1 + (random() % Math.max(1, Math.min(64, out.length - at)));
    switch (random() % 7) {
      case 0:
        out[at] = out[at]! ^ (1 << (random() % 8));
        break;
      case 1:
        out[at] = random() & 0xff;
        break;
      case 2:
        out.fill([0, 0xff, 0x7f, 0x20][random() % 4]!, at, at + length);
        break;
      case 3:
        out = Buffer.concat([out.subarray(0, at), out.subarray(at + length)]);
        break;
      case 4:
        out = Buffer.concat([out.subarray(0, at + length), out.subarray(at)]);
        break;
      case 5:
        out = Buffer.concat([out.subarray(at), out.subarray(0, at)]);
        break;
      default:
        out = out.subarray(0, at);
    }
  }
  return out;
}
