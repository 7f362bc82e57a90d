/** WARC: a record a page that a crawler fetched, and the texts of WET files. */
import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate, zstdDecompress } from 'node:zlib';
import { decodeHtml, decodeText } from '../decode.ts';
import { mainContent } from '../main-content.ts';
import { cursor } from './cursor.ts';
import { isoDate } from './dates.ts';
import {
  checked,
  checkRatio,
  maxRecordBytes,
  Refused,
  type Bytes,
  type FileRecord,
  type Metadata,
  type Reading,
} from './types.ts';

const maxHeadBytes = 1024 * 1024;
const blankLine = Buffer.from('\r\n\r\n');

/** Pages that were answered with 200, files, and converted texts; the crawler's own records are passed over. */
export async function* readWarc(
  _name: string,
  bytes: Bytes,
  { onLeaf, inside }: Reading,
): AsyncGenerator<FileRecord> {
  const file = cursor(bytes);
  let position = 0;
  let numPages = 0;
  for (;;) {
    const head = await file.until(blankLine, maxHeadBytes);
    if (head === null) break;
    // What ends a record stands before the next.
    if (head.toString('latin1').trim() === '') continue;
    const fields = headerFields(head.toString('utf8').trimStart());
    if (!fields.first.startsWith('WARC/')) {
      throw new Refused('damaged', `record ${position + 1} does not begin as one of WARC`);
    }
    position += 1;
    const length = Number(fields.get('content-length') ?? 'none');
    if (!Number.isSafeInteger(length) || length < 0) {
      throw new Refused('damaged', `record ${position} does not say its length`);
    }
    const url = fields.get('warc-target-uri')?.replaceAll(/^<|>$/g, '');
    const type = typeOf(fields.get('warc-type'), url);
    if (length > maxRecordBytes || type === null) {
      if ((await file.skip(length)) < length)
        throw new Refused('damaged', 'the last record is cut off');
      if (type !== null) {
        numPages += 1;
        yield { position, reason: 'too_large', detail: `found a page of ${length} bytes` };
      }
      continue;
    }
    const body = await file.take(length);
    if (body.length < length) throw new Refused('damaged', 'the last record is cut off');
    numPages += 1;
    const refusal = onLeaf(`${inside}#${position}`);
    if (refusal !== null) {
      yield { position, ...refusal };
      continue;
    }
    const date = isoDate(fields.get('warc-date') ?? '');
    const metadata: Metadata = {
      ...(url !== undefined && { url }),
      ...(date !== null && { date }),
    };
    try {
      if (type === 'conversion') yield ofText(position, body, metadata);
      else if (type === 'resource') yield ofContent(position, body, fields, metadata);
      else yield await page(position, body, metadata);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      yield { position, ...error.refusal };
    }
  }
  if (numPages === 0) yield { position: null, reason: 'empty', detail: 'no pages' };
}

type Type = 'response' | 'conversion' | 'resource';

/** What a record holds; null for the crawler's own, which some keep as resources of no place on the web. */
function typeOf(type: string | undefined, url = ''): Type | null {
  if (type === 'resource') return /^(https?|ftp|file):/i.test(url) ? type : null;
  return type === 'response' || type === 'conversion' ? type : null;
}

async function page(position: number, body: Buffer, metadata: Metadata): Promise<FileRecord> {
  const end = body.indexOf(blankLine);
  if (end < 0) throw new Refused('damaged', 'an answer without an end of its head');
  const fields = headerFields(body.toString('latin1', 0, end));
  const status = /^HTTP\/\S+ (\d{3})/.exec(fields.first)?.[1];
  if (status !== '200') throw new Refused('not_a_page', `found status ${status ?? 'none'}`);
  const content = await plain(body.subarray(end + blankLine.length), fields);
  return ofContent(position, content, fields, metadata);
}

/** By the type that its header says. */
function ofContent(
  position: number,
  content: Buffer,
  fields: Fields,
  metadata: Metadata,
): FileRecord {
  const [contentType = '', ...parameters] = (fields.get('content-type') ?? '').split(';');
  const kind = contentType.trim().toLowerCase();
  if (kind === 'text/plain') return ofText(position, content, metadata);
  if (kind !== 'text/html' && kind !== 'application/xhtml+xml') {
    throw new Refused(
      'unknown_type',
      `found ${kind === '' ? 'no type' : kind}, expected HTML or text`,
    );
  }
  const charset = /charset=["']?([\w-]+)/i.exec(parameters.join(';'))?.[1];
  const decoded = decodeHtml(content, charset);
  if (!('text' in decoded)) return { position, ...decoded };
  const { title, text } = mainContent(decoded.text);
  return checked(position, text, { ...(title !== '' && { title }), ...metadata });
}

function ofText(position: number, bytes: Buffer, metadata: Metadata): FileRecord {
  const decoded = decodeText(bytes);
  return 'text' in decoded ? checked(position, decoded.text, metadata) : { position, ...decoded };
}

const unpackers: Record<string, (bytes: Buffer, options: object) => Promise<Buffer>> = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  deflate: promisify(inflate),
  br: promisify(brotliDecompress),
  zstd: promisify(zstdDecompress),
};

/** The body as the page was: without chunks, unpacked. Crawlers often did so already and left the headers. */
async function plain(body: Buffer, fields: Fields): Promise<Buffer> {
  const chunked = /chunked/i.test(fields.get('transfer-encoding') ?? '');
  const joined = chunked ? (withoutChunks(body) ?? body) : body;
  const unpack = unpackers[(fields.get('content-encoding') ?? '').trim().toLowerCase()];
  if (unpack === undefined) return joined;
  try {
    const content = await unpack(joined, { maxOutputLength: maxRecordBytes });
    checkRatio(joined.length, content.length);
    return content;
  } catch (error) {
    if (error instanceof Refused) throw error;
    if (error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE') {
      throw new Refused('too_large', `a page of more than ${maxRecordBytes} bytes unpacked`);
    }
    return joined;
  }
}

function withoutChunks(body: Buffer): Buffer | null {
  const parts: Buffer[] = [];
  for (let start = 0; ;) {
    const end = body.indexOf('\r\n', start);
    const size = end < 0 ? '' : body.toString('latin1', start, end).split(';')[0]!.trim();
    if (!/^[0-9a-f]{1,8}$/i.test(size)) return null;
    const length = Number.parseInt(size, 16);
    if (length === 0) return Buffer.concat(parts);
    parts.push(body.subarray(end + 2, end + 2 + length));
    start = end + 2 + length + 2;
    if (start > body.length) return null;
  }
}

interface Fields {
  first: string;
  get: (name: string) => string | undefined;
}

/** A first line, then `Name: value` lines, the first of a name counting. */
function headerFields(head: string): Fields {
  const [first = '', ...lines] = head.split(/\r?\n/);
  const values = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).trim().toLowerCase();
    if (colon > 0 && !values.has(name)) values.set(name, line.slice(colon + 1).trim());
  }
  return { first, get: (name) => values.get(name) };
}
