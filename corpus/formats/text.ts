/** Plain text, Markdown and HTML: a file is a document. */
import { decodeHtml, decoderFor, decodeText, encodingOf, type Decoded } from '../decode.ts';
import { mainContent } from '../main-content.ts';
import { readMarkdown } from '../markdown.ts';
import { byteLines } from './lines.ts';
import { bytesOfStream, peek, whole } from './bytes.ts';
import {
  checked,
  maxRecordBytes,
  Refused,
  type Bytes,
  type FileRecord,
  type Metadata,
  type Reader,
} from './types.ts';

/** A document of text as it is. */
export const readPlain: Reader = (_name, bytes) => documentOf(bytes, (text) => ({ text }));

/** A document without its front matter, which becomes metadata. */
export const readMarkdownFile: Reader = (_name, bytes) => documentOf(bytes, readMarkdown);

/** A document of what a page says. */
export const readHtml: Reader = (_name, bytes) =>
  documentOf(
    bytes,
    (html) => {
      const { title, text } = mainContent(html);
      return { text, metadata: title === '' ? {} : { title } };
    },
    decodeHtml,
  );

async function* documentOf(
  bytes: Bytes,
  read: (text: string) => {
    text: string;
    metadata?: Metadata;
  },
  decode: (bytes: Uint8Array) => Decoded = decodeText,
): AsyncGenerator<FileRecord> {
  const content = await whole(bytes, maxRecordBytes);
  if (content.length === 0) throw new Refused('empty', '0 bytes');
  const decoded = decode(content);
  if (!('text' in decoded)) {
    yield { position: null, ...decoded };
    return;
  }
  const { text, metadata = {} } = read(decoded.text);
  yield checked(null, text, metadata);
}

const sampleBytes = 1024 * 1024;

/** Text of a stream in pieces that end where a line does. */
export async function* decodedPieces(bytes: Bytes): AsyncGenerator<string> {
  const { head, bytes: same } = await peek(bytes, sampleBytes);
  const encoding = encodingOf(head, { lines: true });
  if (typeof encoding !== 'string') throw new Refused(encoding.reason, encoding.detail);
  if (encoding.startsWith('utf-16')) {
    const decoder = new TextDecoder(encoding, { fatal: true });
    try {
      for await (const piece of same.chunks()) yield decoder.decode(piece, { stream: true });
      yield decoder.decode();
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      throw new Refused('undecodable', `found bytes that are not ${encoding}`);
    }
    return;
  }
  const decode = encoding === 'utf-8' ? decodeText : decoderFor(encoding);
  for await (const { position, line } of byteLines(bytesOfStream(same.chunks()))) {
    if (!Buffer.isBuffer(line)) throw new Refused(line.reason, line.detail);
    const decoded = decode(line);
    if (!('text' in decoded)) {
      throw new Refused(decoded.reason, `line ${position}: ${decoded.detail}`);
    }
    yield `${decoded.text}\n`;
  }
}
