import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { deflateSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readContained } from '../../corpus/formats/contained.ts';
import { bounded } from '../../corpus/formats/parquet.ts';
import { countStreams } from '../../corpus/formats/pdf-streams.ts';
import { Account } from '../../corpus/formats/types.ts';
import { pdf } from './make-files.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'temper-bombs-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const blanks = deflateSync(Buffer.alloc(100_000_000, ' '));

/** One page whose content is that stream. */
function pageOf(packed: Buffer, entries = ''): Buffer {
  return pdf([
    '<</Type/Catalog/Pages 2 0 R>>',
    '<</Type/Pages/Kids[3 0 R]/Count 1>>',
    '<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<<>>>>',
    `<</Filter/FlateDecode/Length ${packed.length}${entries}>>stream\n${packed.toString('latin1')}\nendstream`,
  ]);
}

async function refusalOf(content: Buffer, outsideMb: number) {
  const file = path.join(folder, 'a.pdf');
  await writeFile(file, content);
  const limits = { heapMb: 512, outsideMb, stillMs: 60_000 };
  const records = [];
  for await (const record of readContained(file, 'a.pdf', 'text', limits)) records.push(record);
  return records;
}

test('a PDF whose streams are a bomb is refused before they are unpacked', async () => {
  expect(await refusalOf(pageOf(blanks), 1024)).toMatchObject([{ reason: 'bomb' }]);
});

test('streams are counted over all of a PDF, packed twice and cut off too; pictures are not', async () => {
  const counted = (content: Buffer) => countStreams(content, new Account(content.length));
  await expect(counted(pageOf(deflateSync(blanks)))).rejects.toThrow('bomb');
  await expect(counted(pageOf(blanks.subarray(0, 60_000)))).rejects.toThrow('bomb');
  const half = deflateSync(Buffer.alloc(10 * 1024 * 1024));
  await counted(pageOf(half));
  await expect(counted(Buffer.concat([pageOf(half), pageOf(half)]))).rejects.toThrow('bomb');
  await counted(pageOf(blanks, '/Subtype/Image'));
});

test('a reader that needs too much memory outside its heap is ended', async () => {
  // Said to be a picture, so that it is not counted.
  expect(await refusalOf(pageOf(blanks, '/Subtype/Image'), 64)).toMatchObject([
    { reason: 'too_large', detail: expect.stringContaining('64 MiB') },
  ]);
});

test('a page of Parquet is judged by the size that it says itself', () => {
  for (const unpack of Object.values(bounded))
    expect(() => unpack!(Buffer.alloc(1000), 100_000_000)).toThrow('bomb');
});
