/** JSON: one record or a list of them. A list larger than a record is cut into its items as it is read. */
import { decodeText } from '../decode.ts';
import { peek, whole } from './bytes.ts';
import {
  fieldsRecord,
  maxRecordBytes,
  type Bytes,
  type FileRecord,
  type Reading,
} from './types.ts';

/** Up to this size a list is parsed whole, and refused whole where it is no JSON. */
const wholeBytes = 16 * 1024 * 1024;

export async function* readJson(
  _name: string,
  bytes: Bytes,
  { textField }: Reading,
): AsyncGenerator<FileRecord> {
  const { head, bytes: same } = await peek(bytes, wholeBytes + 1);
  if (head.length > wholeBytes && opensList(head)) {
    yield* longList(same, textField);
    return;
  }
  const decoded = decodeText(head.length > wholeBytes ? await whole(same, maxRecordBytes) : head);
  if (!('text' in decoded)) {
    yield { position: null, ...decoded };
    return;
  }
  if (decoded.text.trim() === '') {
    yield { position: null, reason: 'empty', detail: 'no text' };
    return;
  }
  const value = parsedJson(decoded.text);
  if (!Array.isArray(value)) {
    yield jsonRecord(null, value, textField);
    return;
  }
  if (value.length === 0) yield { position: null, reason: 'empty', detail: 'a list of no records' };
  for (const [index, item] of value.entries()) yield jsonRecord(index + 1, item, textField);
}

/** The value, or undefined where the text is no JSON. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A record of a parsed value. */
export function jsonRecord(position: number | null, value: unknown, textField: string): FileRecord {
  if (value === undefined) return { position, reason: 'invalid_json', detail: 'not JSON' };
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { position, reason: 'no_text', detail: `expected an object with "${textField}"` };
  }
  return fieldsRecord(position, value, textField);
}

function opensList(head: Buffer): boolean {
  const start = head.subarray(0, 3).equals(Buffer.of(0xef, 0xbb, 0xbf)) ? 3 : 0;
  return head
    .toString('latin1', start, start + 1024)
    .trimStart()
    .startsWith('[');
}

const [quote, backslash, comma] = [0x22, 0x5c, 0x2c];
const opening = new Set([0x5b, 0x7b]);
const closing = new Set([0x5d, 0x7d]);

/** The items of a list, without ever holding more than one of them. */
async function* longList(bytes: Bytes, textField: string): AsyncGenerator<FileRecord> {
  let [depth, inString, escaped, position] = [0, false, false, 0];
  let parts: Buffer[] = [];
  let length = 0;
  const take = (part: Buffer): void => {
    length += part.length;
    if (length <= maxRecordBytes) parts.push(part);
    else parts = [];
  };
  const item = (): FileRecord | null => {
    const [text, bytesFound] = [Buffer.concat(parts), length];
    [parts, length] = [[], 0];
    if (bytesFound <= maxRecordBytes && text.toString('latin1').trim() === '') return null;
    position += 1;
    if (bytesFound > maxRecordBytes) return { position, ...longRecord(bytesFound) };
    const decoded = decodeText(text);
    if (!('text' in decoded)) return { position, ...decoded };
    return jsonRecord(position, parsedJson(decoded.text), textField);
  };
  let ended = false;
  for await (const piece of bytes.chunks()) {
    let start = 0;
    for (let index = 0; index < piece.length && !ended; index += 1) {
      const byte = piece[index]!;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === backslash) escaped = true;
        else if (byte === quote) inString = false;
      } else if (byte === quote) inString = true;
      else if (opening.has(byte)) {
        depth += 1;
        if (depth === 1) start = index + 1;
      } else if (closing.has(byte)) depth -= 1;
      if (inString || depth > 1 || (depth === 1 && byte !== comma)) continue;
      if (depth === 1 || (depth === 0 && closing.has(byte))) {
        take(piece.subarray(start, index));
        const record = item();
        if (record !== null) yield record;
        start = index + 1;
        ended = depth === 0;
      }
    }
    if (!ended && depth > 0) take(piece.subarray(start));
  }
  if (!ended)
    yield { position: position + 1, reason: 'invalid_json', detail: 'the list has no end' };
}

/** A line or an item that is longer than a record may be. */
export function longRecord(bytes: number): { reason: string; detail: string } {
  return {
    reason: 'too_large',
    detail: `found a record of ${bytes} bytes, expected at most ${maxRecordBytes}; split it`,
  };
}
