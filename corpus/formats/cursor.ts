/** Takes a stream in parts of known length or up to a mark, holding no more than the part asked for. */
import { Refused, type Bytes } from './types.ts';

export interface Cursor {
  /** So many bytes, fewer at the end. */
  take: (length: number) => Promise<Buffer>;
  /** Passes over so many bytes and says how many there were. */
  skip: (length: number) => Promise<number>;
  /** Up to a mark, which is passed over; null at the end. Throws where the mark is too far. */
  until: (mark: Buffer, maxBytes: number) => Promise<Buffer | null>;
  /** At most so many bytes, as they come; empty at the end. */
  some: (maxBytes: number) => Promise<Buffer>;
}

export function cursor(bytes: Bytes): Cursor {
  const pieces = bytes.chunks()[Symbol.asyncIterator]();
  let held: Buffer = Buffer.alloc(0);
  const next = async (): Promise<Buffer | null> => {
    const piece = await pieces.next();
    return piece.done === true ? null : piece.value;
  };
  const take = async (length: number): Promise<Buffer> => {
    const parts = [held];
    let available = held.length;
    while (available < length) {
      const piece = await next();
      if (piece === null) break;
      parts.push(piece);
      available += piece.length;
    }
    const all = parts.length === 1 ? held : Buffer.concat(parts, available);
    held = all.subarray(length);
    return all.subarray(0, length);
  };
  const some = async (maxBytes: number): Promise<Buffer> => {
    if (held.length === 0) held = (await next()) ?? held;
    const part = held.subarray(0, maxBytes);
    held = held.subarray(part.length);
    return part;
  };
  return {
    take,
    some,
    async skip(length) {
      let skipped = 0;
      while (skipped < length) {
        const part = await some(length - skipped);
        if (part.length === 0) break;
        skipped += part.length;
      }
      return skipped;
    },
    async until(mark, maxBytes) {
      for (;;) {
        const end = held.indexOf(mark);
        if (end >= 0 && end <= maxBytes) {
          const part = held.subarray(0, end);
          held = held.subarray(end + mark.length);
          return part;
        }
        if (held.length > maxBytes) throw new Refused('damaged', 'found no end of a head');
        const piece = await next();
        if (piece === null) {
          const rest = held;
          held = Buffer.alloc(0);
          if (rest.toString('latin1').trim() === '') return null;
          throw new Refused('damaged', 'the last record is cut off');
        }
        held = Buffer.concat([held, piece]);
      }
    },
  };
}
