/** PDF: the text that its pages say, in reading order, vertical columns too. A scan has none and needs OCR. */
import { createRequire } from 'node:module';
import path from 'node:path';
import type * as pdfjs from 'pdfjs-dist/legacy/build/pdf.mjs';
import { looksScanned } from '../pdf.ts';
import { picturePages } from '../pdf-pictures.ts';
import { countStreams } from './pdf-streams.ts';
import { whole } from './bytes.ts';
import { isoDateOfPdf } from './dates.ts';
import {
  checked,
  maxTextBytes,
  Refused,
  type Bytes,
  type FileRecord,
  type Metadata,
  type Reading,
} from './types.ts';

const maxPages = 20_000;
const copyText = 0x10;

export async function* readPdf(
  _name: string,
  bytes: Bytes,
  { onLeaf, inside, account }: Reading,
): AsyncGenerator<FileRecord> {
  const content = await whole(bytes);
  if (!content.subarray(0, 1024).includes('%PDF-')) {
    throw new Refused('damaged', 'not a PDF: found no %PDF at its beginning');
  }
  await countStreams(content, account);
  const { getDocument, folder } = await library();
  const task = getDocument({
    // The library takes the bytes as its own.
    data: new Uint8Array(content),
    cMapUrl: `${path.join(folder, 'cmaps')}${path.sep}`,
    cMapPacked: true,
    standardFontDataUrl: `${path.join(folder, 'standard_fonts')}${path.sep}`,
    useWorkerFetch: false,
    useSystemFonts: false,
    disableFontFace: true,
    enableXfa: false,
    verbosity: 0,
  });
  try {
    const document = await task.promise.catch((error: unknown) => {
      if ((error as Error).name === 'PasswordException') {
        throw new Refused('encrypted', 'needs a password; save it without one');
      }
      throw error;
    });
    const permissions = await document.getPermissions();
    if (permissions !== null && !permissions.has(copyText)) {
      throw new Refused('encrypted', 'its owner locked the copying of text; ask for an open one');
    }
    if (document.numPages > maxPages) {
      throw new Refused('too_large', `found ${document.numPages} pages; split it`);
    }
    const pages: string[] = [];
    const silent: { number: number; object: number | null }[] = [];
    let bytesFound = 0;
    for (let number = 1; number <= document.numPages; number += 1) {
      const page = await document.getPage(number);
      const { items, styles } = await page.getTextContent();
      const text = pageText(items as PdfItem[], styles);
      page.cleanup();
      onLeaf(inside);
      bytesFound += Buffer.byteLength(text);
      if (bytesFound > maxTextBytes) {
        throw new Refused('too_large', `found more than ${maxTextBytes} bytes of text; split it`);
      }
      if (text !== '') pages.push(text);
      else silent.push({ number, object: page.ref?.num ?? null });
    }
    const pictures = silent.length === 0 ? [] : picturePages(content, silent);
    if (pages.length === 0 && (pictures.length > 0 || looksScanned(content))) {
      throw new Refused('needs_ocr', `a scan: ${document.numPages} pages of pictures without text`);
    }
    const { info } = await document.getMetadata().catch(() => ({ info: {} }));
    yield checked(null, pages.join('\n\n'), metadataOf(info));
    if (pictures.length > 0) {
      const detail = `${pictures.length} of ${document.numPages} pages are pictures without text (${listed(pictures)}); recognise them first`;
      yield { position: null, reason: 'pages_need_ocr', detail };
    }
  } finally {
    await task.destroy();
  }
}

function metadataOf(info: object): Metadata {
  const said = (field: string): string => {
    const value = (info as Record<string, unknown>)[field];
    return typeof value === 'string' ? value.trim() : '';
  };
  const title = said('Title');
  // What was done to a file later, a stamp or another frame, changes the second and not the text.
  const date = isoDateOfPdf(said('CreationDate')) ?? isoDateOfPdf(said('ModDate'));
  return { ...(title !== '' && { title }), ...(date !== null && { date }) };
}

/** `2, 5-9`, not all of them where there are many. */
function listed(numbers: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last?.[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  const shown = ranges
    .slice(0, 20)
    .map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`));
  return `${shown.join(', ')}${ranges.length > 20 ? ' …' : ''}`;
}

/** A run of text on a page; `transform` ends with its place, from the bottom left. */
export interface PdfItem {
  str: string;
  width: number;
  height: number;
  transform: number[];
  fontName: string;
  hasEOL: boolean;
}

/** The text of a page. Runs stand in the order of the file, which is that of reading unless they are vertical. */
export function pageText(
  items: readonly PdfItem[],
  styles: Readonly<Record<string, { vertical?: boolean }>>,
): string {
  const shown = items.filter((item) => typeof item.str === 'string');
  const isVertical = ({ fontName }: PdfItem): boolean => styles[fontName]?.vertical === true;
  const vertical = shown.filter((item) => isVertical(item) && item.str.trim() !== '');
  const horizontal = horizontalText(shown.filter((item) => !isVertical(item)));
  return [horizontal, verticalText(vertical)].filter((text) => text !== '').join('\n');
}

/** Columns from the right to the left, each from the top down. */
function verticalText(items: readonly PdfItem[]): string {
  const columns: { x: number; items: PdfItem[] }[] = [];
  for (const item of items) {
    const x = item.transform[4] ?? 0;
    const size = Math.hypot(item.transform[0] ?? 0, item.transform[1] ?? 0) || 10;
    const column = columns.find((one) => Math.abs(one.x - x) < size * 0.6);
    if (column === undefined) columns.push({ x, items: [item] });
    else column.items.push(item);
  }
  return columns
    .toSorted((a, b) => b.x - a.x)
    .map((column) =>
      column.items
        .toSorted((a, b) => (b.transform[5] ?? 0) - (a.transform[5] ?? 0))
        .map(({ str }) => str.replaceAll(verticalForms, upright))
        .join(''),
    )
    .join('\n');
}

/** Signs as they stand in columns; a text has those of lines. */
const verticalForms = /[\uFE10-\uFE19\uFE30-\uFE44\uFE47\uFE48]/g;

function upright(sign: string): string {
  const plain = sign.normalize('NFKC');
  if (plain.startsWith('.')) return plain.length === 3 ? '…' : '‥';
  return /^[!-~]$/.test(plain) ? String.fromCharCode(plain.charCodeAt(0) + 0xfee0) : plain;
}

interface PdfLine {
  text: string;
  y: number;
  height: number;
  right: number;
}

function horizontalText(items: readonly PdfItem[]): string {
  const lines: PdfLine[] = [];
  let line: PdfLine | null = null;
  for (const { str, transform, width, height, hasEOL } of items) {
    if (str !== '') {
      line ??= { text: '', y: transform[5] ?? 0, height, right: 0 };
      line.text += str;
      line.height = Math.max(line.height, height);
      line.right = Math.max(line.right, (transform[4] ?? 0) + width);
    }
    if (hasEOL && line !== null) {
      lines.push(line);
      line = null;
    }
  }
  if (line !== null) lines.push(line);
  return paragraphs(lines.filter(({ text }) => text.trim() !== ''));
}

/** Lines that reach the right edge go on in the next one, unless that is set off by space. */
function paragraphs(lines: readonly PdfLine[]): string {
  const edge = Math.max(0, ...lines.map(({ right }) => right));
  let text = '';
  let before: PdfLine | null = null;
  for (const line of lines) {
    const part = line.text.trim();
    if (before !== null) {
      const gap = before.y - line.y;
      const apart = gap > 1.9 * Math.max(before.height, line.height, 1) || gap < 0;
      const full = before.right > edge * 0.9;
      if (apart) text += '\n\n';
      else if (!full) text += '\n';
      else if (/\p{L}[-\u00ad]$/u.test(text) && /^\p{Ll}/u.test(part)) text = text.slice(0, -1);
      else if (!(
        /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\u3000-\u303f\uff00-\uff60]$/u.test(
          text,
        ) &&
        /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\u3000-\u303f\uff00-\uff60]/u.test(
          part,
        )
      ))
        text += ' ';
    }
    text += part;
    before = line;
  }
  return text.trim();
}

type Library = typeof pdfjs;
let loaded: Promise<Pick<Library, 'getDocument'> & { folder: string }> | null = null;

async function library(): Promise<Pick<Library, 'getDocument'> & { folder: string }> {
  loaded ??= (async () => {
    const require = createRequire(import.meta.url);
    withoutCanvas(require);
    const { getDocument } = await import('pdfjs-dist/legacy/build/pdf.mjs');
    return { getDocument, folder: path.dirname(require.resolve('pdfjs-dist/package.json')) };
  })();
  return loaded;
}

/** Text needs no canvas: its native code is not loaded beside files that nobody knows. */
function withoutCanvas(require: NodeJS.Require): void {
  try {
    const place = require.resolve('@napi-rs/canvas');
    require.cache[place] = { exports: {}, loaded: true, id: place } as NodeJS.Module;
  } catch {
    // It is not installed.
  }
  const scope = globalThis as Record<string, unknown>;
  scope['DOMMatrix'] ??= class {};
  scope['Path2D'] ??= class {};
}
