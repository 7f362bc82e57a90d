/** Bytes that are read in pieces, at any place or whole, each within a bound. */
import type { FileHandle } from 'node:fs/promises';
import { maxWholeBytes, Refused, type Bytes } from './types.ts';

const pieceBytes = 256 * 1024;

/** Bytes that are in memory. */
export function bytesOf(buffer: Buffer): Bytes {
  return {
    size: buffer.length,
    async *chunks() {
      for (let start = 0; start < buffer.length; start += pieceBytes)
        yield buffer.subarray(start, start + pieceBytes);
    },
    at: async (start, length) => buffer.subarray(start, start + length),
  };
}

/** The first `size` bytes of an open file. */
export function bytesOfFile(handle: FileHandle, size: number): Bytes {
  const at = async (start: number, length: number): Promise<Buffer> => {
    const wanted = Math.max(0, Math.min(length, size - start));
    const buffer = Buffer.allocUnsafe(wanted);
    let done = 0;
    while (done < wanted) {
      const { bytesRead } = await handle.read(buffer, done, wanted - done, start + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return buffer.subarray(0, done);
  };
  return {
    size,
    async *chunks() {
      for (let start = 0; start < size; start += pieceBytes) {
        const piece = await at(start, pieceBytes);
        if (piece.length === 0) return;
        yield piece;
      }
    },
    at,
  };
}

/** Bytes that come as a stream. */
export function bytesOfStream(stream: AsyncIterable<Buffer>, size: number | null = null): Bytes {
  return { size, chunks: () => stream };
}

/** All of it, in memory. Throws where that is more than the bound. */
export async function whole(bytes: Bytes, maxBytes = maxWholeBytes): Promise<Buffer> {
  if (bytes.size !== null && bytes.size > maxBytes) throw tooLarge(bytes.size, maxBytes);
  const parts: Buffer[] = [];
  let total = 0;
  for await (const part of bytes.chunks()) {
    total += part.length;
    if (total > maxBytes) throw tooLarge(total, maxBytes);
    parts.push(part);
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts, total);
}

type Seekable = Required<Omit<Bytes, 'again'>> & { size: number };

/** The same bytes where they can be read at any place: a stream is taken into memory first. */
export async function seekable(bytes: Bytes): Promise<Seekable> {
  const { size, at } = bytes;
  if (at !== undefined && size !== null) return { ...bytes, size, at };
  return bytesOf(await whole(bytes)) as Seekable;
}

/** The first bytes, and the same bytes from their beginning. */
export async function peek(bytes: Bytes, length: number): Promise<{ head: Buffer; bytes: Bytes }> {
  if (bytes.at !== undefined) return { head: await bytes.at(0, length), bytes };
  const iterator = bytes.chunks()[Symbol.asyncIterator]();
  const parts: Buffer[] = [];
  let total = 0;
  while (total < length) {
    const next = await iterator.next();
    if (next.done === true) break;
    parts.push(next.value);
    total += next.value.length;
  }
  const head = Buffer.concat(parts, total);
  const rest: AsyncIterable<Buffer> = { [Symbol.asyncIterator]: () => iterator };
  return {
    head: head.subarray(0, length),
    bytes: bytesOfStream(joined(head, rest), bytes.size),
  };
}

async function* joined(head: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  if (head.length > 0) yield head;
  yield* rest;
}

function tooLarge(found: number, maxBytes: number): Refused {
  return new Refused('too_large', `found ${found} bytes, expected at most ${maxBytes}; split it`);
}
