/** The records of one file, by the ending of its name. A bad record is refused alone; the rest of the file goes on. */
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { Document } from '../config/manifests.ts';
import { decodeText, type Refusal } from './decode.ts';
import { htmlToText } from './html.ts';
import { readMarkdown } from './markdown.ts';

export type Metadata = Document['metadata'];

/** `position` is the record's number in its file, from 1; null where the file is one record. */
export type FileRecord = { position: number | null } & (
  { text: string; metadata: Metadata } | Refusal
);

export const maxTextBytes = 8 * 1024 * 1024;
const maxUnpackedBytes = 1024 * 1024 * 1024;
const gunzipAsync = promisify(gunzip);

/** The format that a file's name says, or null where it is none of ours. */
export function formatOf(name: string): Format | null {
  const [, ending] =
    /\.(jsonl\.gz|jsonl|json|txt|md|markdown|html?)$/.exec(name.toLowerCase()) ?? [];
  if (ending === 'markdown') return 'md';
  return ending === 'htm' ? 'html' : ((ending ?? null) as Format | null);
}
export type Format = 'txt' | 'md' | 'html' | 'json' | 'jsonl' | 'jsonl.gz';

/** Reads a file's bytes into records: .txt .md .html whole; .json one or a list; .jsonl and .jsonl.gz one a line. */
export async function* readRecords(
  name: string,
  bytes: Buffer,
  textField: string,
): AsyncGenerator<FileRecord> {
  const format = formatOf(name);
  if (format === 'jsonl.gz') {
    let unpacked: Buffer;
    try {
      unpacked = await gunzipAsync(bytes, { maxOutputLength: maxUnpackedBytes });
    } catch (error) {
      yield { position: null, ...gzipRefusal(error) };
      return;
    }
    yield* jsonLines(unpacked, textField);
  } else if (format === 'jsonl') {
    yield* jsonLines(bytes, textField);
  } else if (format === 'json') {
    yield* json(bytes, textField);
  } else if (format !== null) {
    const decoded = decodeText(bytes);
    if (!('text' in decoded)) {
      yield { position: null, ...decoded };
    } else if (format === 'html') {
      const { title, text } = htmlToText(decoded.text);
      yield checked(null, text, title === '' ? {} : { title });
    } else if (format === 'md') {
      const { text, metadata } = readMarkdown(decoded.text);
      yield checked(null, text, metadata);
    } else {
      yield checked(null, decoded.text, {});
    }
  } else {
    yield {
      position: null,
      reason: 'unknown_type',
      detail: 'expected .txt, .md, .html, .json, .jsonl or .jsonl.gz',
    };
  }
}

function gzipRefusal(error: unknown): Refusal {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
  return code === 'ERR_BUFFER_TOO_LARGE'
    ? { reason: 'too_large', detail: `unpacks to more than ${maxUnpackedBytes} bytes; split it` }
    : { reason: 'undecodable', detail: `not a whole gzip file (${code})` };
}

function* json(bytes: Buffer, textField: string): Generator<FileRecord> {
  const decoded = decodeText(bytes);
  if (!('text' in decoded)) {
    yield { position: null, ...decoded };
    return;
  }
  if (decoded.text.trim() === '') {
    yield { position: null, reason: 'empty', detail: 'no text' };
    return;
  }
  const value = parsed(decoded.text);
  if (!Array.isArray(value)) {
    yield record(null, value, textField);
    return;
  }
  if (value.length === 0) yield { position: null, reason: 'empty', detail: 'a list of no records' };
  for (const [index, item] of value.entries()) yield record(index + 1, item, textField);
}

function* jsonLines(bytes: Buffer, textField: string): Generator<FileRecord> {
  const utf16 =
    (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
  let numRecords = 0;
  const lines = utf16 ? wholeLines(bytes) : byteLines(bytes);
  for (const { position, line } of lines) {
    if (typeof line !== 'string') {
      yield { position, ...line };
    } else if (line.trim() !== '') {
      yield record(position, parsed(line), textField);
    } else {
      continue;
    }
    numRecords += 1;
  }
  if (numRecords === 0) yield { position: null, reason: 'empty', detail: 'no records' };
}

interface Line {
  position: number;
  line: string | Refusal;
}

function* wholeLines(bytes: Buffer): Generator<Line> {
  const decoded = decodeText(bytes);
  if (!('text' in decoded)) {
    yield { position: 1, line: decoded };
    return;
  }
  for (const [index, line] of decoded.text.split('\n').entries())
    yield { position: index + 1, line };
}

function* byteLines(bytes: Buffer): Generator<Line> {
  let position = 0;
  for (let start = 0; start < bytes.length;) {
    const found = bytes.indexOf(0x0a, start);
    const end = found < 0 ? bytes.length : found;
    position += 1;
    const decoded = decodeText(bytes.subarray(start, end));
    yield { position, line: 'text' in decoded ? decoded.text : decoded };
    start = end + 1;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function record(position: number | null, value: unknown, textField: string): FileRecord {
  if (value === undefined) return { position, reason: 'invalid_json', detail: 'not JSON' };
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { position, reason: 'no_text', detail: `expected an object with "${textField}"` };
  }
  const metadata: Metadata = {};
  let text: unknown;
  for (const [field, content] of Object.entries(value)) {
    if (field === textField) text = content;
    else if (isMetadata(content)) metadata[field] = content;
  }
  if (typeof text !== 'string') {
    const found = Object.keys(value).slice(0, 8).join(', ');
    return {
      position,
      reason: 'no_text',
      detail: `found ${found}; expected a text "${textField}"`,
    };
  }
  return checked(position, text, metadata);
}

function isMetadata(value: unknown): value is Metadata[string] {
  if (typeof value === 'number') return Number.isFinite(value);
  return value === null || typeof value === 'string' || typeof value === 'boolean';
}

function checked(position: number | null, text: string, metadata: Metadata): FileRecord {
  if (text.trim() === '') return { position, reason: 'empty', detail: 'no text' };
  const bytes = Buffer.byteLength(text);
  if (bytes > maxTextBytes) {
    return {
      position,
      reason: 'too_large',
      detail: `found ${bytes} bytes of text, expected at most ${maxTextBytes}; split it`,
    };
  }
  return { position, text: text.toWellFormed(), metadata };
}
