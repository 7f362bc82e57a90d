/** EPUB: the chapters of a book in the order of its spine, as one document. */
import path from 'node:path';
import { Parser } from 'htmlparser2';
import { decodeHtml } from '../decode.ts';
import { htmlToText } from '../html.ts';
import { isoDate } from './dates.ts';
import { elementText } from './docx.ts';
import {
  checked,
  maxTextBytes,
  Refused,
  type Bytes,
  type FileRecord,
  type Metadata,
  type Reading,
} from './types.ts';
import { memberText, openZip } from './zip.ts';

export async function* readEpub(
  _name: string,
  bytes: Bytes,
  { account }: Reading,
): AsyncGenerator<FileRecord> {
  const zip = await openZip(bytes);
  const container = await memberText(zip, 'META-INF/container.xml', account);
  const place = container === null ? null : attributes(container, 'rootfile')[0]?.['full-path'];
  const found =
    place === undefined || place === null ? null : await memberText(zip, place, account);
  if (found === null || !place) throw new Refused('damaged', 'found no package document inside');
  const locks = await memberText(zip, 'META-INF/encryption.xml', account);
  const items = new Map(
    attributes(found, 'item').map((item) => [item['id'] ?? '', item['href'] ?? '']),
  );
  const chapters = attributes(found, 'itemref').flatMap(({ idref = '' }) => {
    const href = items.get(idref);
    return href === undefined ? [] : [path.posix.join(path.posix.dirname(place), decoded(href))];
  });
  const locked = new Set(
    locks === null ? [] : attributes(locks, 'CipherReference').map(({ URI }) => decoded(URI ?? '')),
  );
  if (chapters.some((chapter) => locked.has(chapter))) {
    throw new Refused('encrypted', 'its chapters are locked; only their owner can give them plain');
  }
  const texts: string[] = [];
  let bytesFound = 0;
  for (const chapter of chapters) {
    const content = await memberText(zip, chapter, account);
    if (content === null) continue;
    const html = decodeHtml(content);
    if (!('text' in html)) throw new Refused(html.reason, `${chapter}: ${html.detail}`);
    const { text } = htmlToText(html.text);
    bytesFound += Buffer.byteLength(text);
    if (bytesFound > maxTextBytes) {
      throw new Refused(
        'too_large',
        `found a book of more than ${maxTextBytes} bytes of text; split it`,
      );
    }
    if (text !== '') texts.push(text);
  }
  const xml = found.toString('utf8');
  const [title, author] = [elementText(xml, 'dc:title'), elementText(xml, 'dc:creator')];
  const date = isoDate(elementText(xml, 'dc:date'));
  const metadata: Metadata = {
    ...(title !== '' && { title }),
    ...(author !== '' && { author }),
    ...(date !== null && { date }),
  };
  yield checked(null, texts.join('\n\n'), metadata);
}

/** The attributes of every element of that name, whatever its prefix. */
function attributes(xml: Buffer, element: string): Record<string, string>[] {
  const found: Record<string, string>[] = [];
  const parser = new Parser(
    {
      onopentag(name, given) {
        if (name.slice(name.indexOf(':') + 1) === element) found.push(given);
      },
    },
    { xmlMode: true, decodeEntities: true },
  );
  parser.end(xml.toString('utf8'));
  return found;
}

function decoded(href: string): string {
  try {
    return decodeURIComponent(href.split('#')[0]!);
  } catch {
    return href;
  }
}
