import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { readText } from '../../corpus/read-text.ts';
import { CorpusError } from '../../corpus/errors.ts';

const folder = await mkdtemp(path.join(tmpdir(), 'temper-read-'));
afterAll(async () => rm(folder, { recursive: true }));

async function read(name: string, bytes: Uint8Array, onPiece = (): void => {}): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, bytes);
  return readText(file, { field: 'data.conversations', maxBytes: 2 * 1024 * 1024, onPiece });
}

test('a file is read in pieces, each of them told', async () => {
  const said = '一二三'.repeat(200_000);
  let told = 0;
  expect(await read('a.jsonl', Buffer.from(`\uFEFF${said}`), () => (told += 1))).toBe(said);
  expect(told).toBeGreaterThan(1);
  expect(await read('a.jsonl.gz', gzipSync(said))).toBe(said);
});

const large = Buffer.alloc(2 * 1024 * 1024 + 1, 'a');
test.each([
  ['too.jsonl', large, /found \S+too\.jsonl of more than 2097152 bytes.*Split it/],
  ['too.jsonl.gz', gzipSync(large), /of more than 2097152 bytes.*Split it/],
  ['cut.jsonl.gz', gzipSync('{"a": 1}').subarray(0, -6), /damaged \(Z_BUF_ERROR\).*fetch it again/],
  ['no.jsonl.gz', Buffer.from('{"a": 1}'), /damaged \(Z_DATA_ERROR\), expected a whole gzip file/],
  ['big5.jsonl', Buffer.from([0xa4, 0x40, 0x0a]), /not UTF-8, expected UTF-8/],
  ['half.jsonl', Buffer.from([0x61, 0xe4, 0xb8]), /not UTF-8, expected UTF-8/],
])('%s cannot be cured by another try', async (name, bytes, message) => {
  const failure: unknown = await read(name, bytes).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(CorpusError);
  expect((failure as Error).message).toMatch(message);
});

test('a file that is gone may come back', async () => {
  const file = path.join(folder, 'gone.jsonl.gz');
  const asked = { field: 'data.conversations', maxBytes: 1, onPiece: () => {} };
  await expect(readText(file, asked)).rejects.toMatchObject({ code: 'ENOENT' });
});
