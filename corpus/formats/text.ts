/** Plain text, Markdown and HTML: a file is a document. */
import { decodeHtml, decodeText, type Decoded } from '../decode.ts';
import { mainContent } from '../main-content.ts';
import { readMarkdown } from '../markdown.ts';
import { whole } from './bytes.ts';
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
