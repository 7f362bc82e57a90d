/** Lines of a stream, each within a bound and decoded by itself: a bad one is refused alone. */
import { decoderFor, decodeText, encodingOf, type Refusal } from '../decode.ts';
import { peek } from './bytes.ts';
import { jsonRecord, longRecord, parsedJson } from './json.ts';
import { maxRecordBytes, type Bytes, type FileRecord, type Reading } from './types.ts';

const sampleBytes = 1024 * 1024;

/** JSON lines: a record a line. */
export async function* readJsonLines(
  _name: string,
  bytes: Bytes,
  { textField }: Reading,
): AsyncGenerator<FileRecord> {
  let numRecords = 0;
  for await (const { position, line } of linesOf(bytes)) {
    if (typeof line !== 'string') yield { position, ...line };
    else if (line.trim() !== '') yield jsonRecord(position, parsedJson(line), textField);
    else continue;
    numRecords += 1;
  }
  if (numRecords === 0) yield { position: null, reason: 'empty', detail: 'no records' };
}

export interface Line {
  position: number;
  line: string | Refusal;
  /** Of one that cannot be decoded: its bytes as Latin-1, whose signs of ASCII are its own. */
  seen?: string;
}

/** Each line with its number, or why it cannot be read. */
export async function* linesOf(bytes: Bytes): AsyncGenerator<Line> {
  const { head, bytes: same } = await peek(bytes, sampleBytes);
  const found = encodingOf(head, { lines: true });
  if (typeof found !== 'string') {
    yield { position: 1, line: found };
  } else if (found.startsWith('utf-16')) {
    yield* wideLines(same, found);
  } else {
    const decode = found === 'utf-8' ? decodeText : decoderFor(found);
    for await (const { position, line } of byteLines(same)) {
      if (!Buffer.isBuffer(line)) {
        yield { position, line };
      } else {
        const decoded = decode(line);
        yield 'text' in decoded
          ? { position, line: decoded.text }
          : { position, line: decoded, seen: line.toString('latin1') };
      }
    }
  }
}

/** Of UTF-16, where a byte of ten need not end a line. Halves of characters refuse the line that they stand in. */
async function* wideLines(bytes: Bytes, encoding: string): AsyncGenerator<Line> {
  const bad = { reason: 'undecodable', detail: `found bytes that are not ${encoding}` };
  let position = 0;
  let odd = Buffer.alloc(0);
  let rest = '';
  // Units of a line too long to keep, which is passed over up to its end.
  let passed = 0;
  const ended = (line: string): Line => {
    const length = passed + line.length;
    passed = 0;
    position += 1;
    if (length > maxRecordBytes) return { position, line: longRecord(length * 2) };
    const plain = position === 1 ? line.replace(/^\uFEFF/, '') : line;
    return plain.isWellFormed() ? { position, line: plain } : { position, line: bad, seen: plain };
  };
  for await (const piece of bytes.chunks()) {
    const all = odd.length === 0 ? piece : Buffer.concat([odd, piece]);
    const even = all.length - (all.length % 2);
    odd = Buffer.from(all.subarray(even));
    const units = all.subarray(0, even);
    // Turned in place, which must not be done to bytes of others.
    const little = encoding === 'utf-16be' ? Buffer.from(units).swap16() : units;
    const lines = (rest + little.toString('utf16le')).split('\n');
    rest = lines.pop()!;
    for (const line of lines) yield ended(line);
    if (passed + rest.length > maxRecordBytes) {
      passed += rest.length;
      rest = '';
    }
  }
  if (odd.length > 0) yield { position: position + 1, line: bad };
  else if (passed + rest.length > 0) yield ended(rest);
}

/** Lines as bytes; one that is longer than a record is passed over without being kept. */
export async function* byteLines(
  bytes: Bytes,
): AsyncGenerator<{ position: number; line: Buffer | Refusal }> {
  let position = 0;
  let parts: Buffer[] = [];
  let length = 0;
  const ended = (): { position: number; line: Buffer | Refusal } => {
    const line =
      length > maxRecordBytes
        ? longRecord(length)
        : parts.length === 1
          ? parts[0]!
          : Buffer.concat(parts, length);
    [parts, length] = [[], 0];
    return { position: (position += 1), line };
  };
  const take = (part: Buffer): void => {
    length += part.length;
    if (length <= maxRecordBytes) parts.push(part);
    else parts = [];
  };
  for await (const piece of bytes.chunks()) {
    let start = 0;
    for (;;) {
      const end = piece.indexOf(0x0a, start);
      if (end < 0) break;
      take(piece.subarray(start, end));
      yield ended();
      start = end + 1;
    }
    if (start < piece.length) take(piece.subarray(start));
  }
  if (length > 0) yield ended();
}
