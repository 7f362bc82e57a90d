/** JSON lines of a blob, one after the other: a list of any length is never held whole. */
import { Readable } from 'node:stream';
import { createZstdDecompress } from 'node:zlib';
import type { BlobRef } from '../config/digest.ts';
import { readBlob } from './blobs.ts';
import type { Store } from './store.ts';

const zstdMagic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const newline = 0x0a;

/** The lines of a blob, packed or plain, without their ends. */
export async function* readLines(store: Store, ref: BlobRef): AsyncGenerator<Buffer> {
  const bytes = await readBlob(store, ref);
  const whole = Readable.from([bytes], { objectMode: false });
  const isPacked = zstdMagic.equals(bytes.subarray(0, 4));
  const pieces = isPacked ? whole.pipe(createZstdDecompress()) : whole;
  let rest: Buffer[] = [];
  for await (const piece of pieces as AsyncIterable<Buffer>) {
    let start = 0;
    for (let end = piece.indexOf(newline); end >= 0; end = piece.indexOf(newline, start)) {
      const line = Buffer.concat([...rest, piece.subarray(start, end)]);
      rest = [];
      start = end + 1;
      if (line.length > 0) yield line;
    }
    if (start < piece.length) rest.push(piece.subarray(start));
  }
  if (rest.length > 0) yield Buffer.concat(rest);
}

/** The records of a blob of JSON lines, as `readLines`. */
export async function* readRecords(store: Store, ref: BlobRef): AsyncGenerator<unknown> {
  for await (const line of readLines(store, ref)) yield JSON.parse(line.toString('utf8'));
}
