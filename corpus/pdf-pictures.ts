/**
 * Which pages of a PDF without text show pictures: only OCR could read those. The parts of a file are looked through as
 * they stand in it; where it does not tell, as when it is damaged or encrypted, no page is said to be one.
 */
import { inflateSync } from 'node:zlib';

const maxPackedObjects = 2000;
const maxUnpacked = 4 * 1024 * 1024;
/** From a page over its resources to a picture, and through forms that hold one. */
const maxSteps = 6;

/** Of the given pages those that paint a picture. `object` is the number of a page's object, where that is known. */
export function picturePages(
  pdf: Buffer,
  pages: readonly { number: number; object: number | null }[],
): number[] {
  const objects = objectsOf(pdf);
  return pages
    .filter(({ object }) => {
      const page = object === null ? undefined : objects.get(object);
      if (page === undefined) return false;
      const contents = contentsOf(page, objects);
      if (contents.some((content) => content !== null && /\bBI\s[^]*?\sID\s/.test(content)))
        return true;
      // What cannot be read may paint whatever the page names.
      const paints = contents.some((content) => content === null || /\bDo\b/.test(content));
      return paints && showsPicture(resourcesOf(page, objects), objects);
    })
    .map(({ number }) => number);
}

interface PdfObject {
  /** Its dictionary, as it is written. */
  text: string;
  /** The packed bytes of a stream. */
  stream: Buffer | null;
}
type Objects = ReadonlyMap<number, PdfObject>;

/** Every object by its number; of several with one number the last counts. */
function objectsOf(pdf: Buffer): Objects {
  const text = pdf.toString('latin1');
  const objects = new Map<number, PdfObject>();
  for (const match of text.matchAll(/(?<![\w.])(\d{1,10})\s+\d{1,5}\s+obj\b/g)) {
    const start = match.index + match[0].length;
    const end = text.indexOf('endobj', start);
    const body = text.slice(start, end < 0 ? start + 64 * 1024 : end);
    const begin = /\bstream\r?\n/.exec(body);
    const stream =
      begin === null ? null : streamAt(pdf, text, start + begin.index + begin[0].length);
    objects.set(Number(match[1]), { text: body.slice(0, begin?.index), stream });
  }
  unpackObjects(objects);
  return objects;
}

function streamAt(pdf: Buffer, text: string, start: number): Buffer {
  const end = text.indexOf('endstream', start);
  return pdf.subarray(start, end < 0 ? pdf.length : end);
}

/** Since PDF 1.5, objects may stand in compressed streams of the type ObjStm. */
function unpackObjects(objects: Map<number, PdfObject>): void {
  const packed = [...objects.values()].filter(({ text }) => /\/Type\s*\/ObjStm\b/.test(text));
  for (const { text, stream } of packed.slice(0, maxPackedObjects)) {
    const content = plainOf({ text, stream });
    const first = Number(/\/First\s+(\d+)/.exec(text)?.[1] ?? 'none');
    if (content === null || !Number.isInteger(first)) continue;
    const places = content.slice(0, first).trim().split(/\s+/).map(Number);
    for (let at = 0; at + 1 < places.length; at += 2) {
      const [number, place] = [places[at]!, places[at + 1]!];
      const end = places[at + 3];
      const own = content.slice(first + place, end === undefined ? undefined : first + end);
      if (!objects.has(number)) objects.set(number, { text: own, stream: null });
    }
  }
}

/** The content of a stream; null where it is packed in a way that is not read here. */
function plainOf({ text, stream }: PdfObject): string | null {
  if (stream === null) return null;
  if (!/\/Filter\b/.test(text)) return stream.toString('latin1');
  if (!/\/Filter\s*(\[\s*)?\/FlateDecode\b/.test(text)) return null;
  try {
    return inflateSync(stream, { maxOutputLength: maxUnpacked }).toString('latin1');
  } catch {
    return null;
  }
}

function references(text: string): number[] {
  return Array.from(text.matchAll(/(\d{1,10})\s+\d{1,5}\s+R\b/g), ([, number]) => Number(number));
}

/** What draws a page, in its parts; null for one that cannot be read. */
function contentsOf({ text }: PdfObject, objects: Objects): (string | null)[] {
  const said = /\/Contents\s*(\[[^\]]*\]|\d+\s+\d+\s+R)/.exec(text)?.[1] ?? '';
  const given = references(said).flatMap((number) => objects.get(number) ?? []);
  // One object may be the list of the others.
  return given
    .flatMap((one) =>
      one.stream === null
        ? references(one.text).flatMap((number) => objects.get(number) ?? [])
        : [one],
    )
    .map(plainOf);
}

/** What a page names, its own resources or those of the nearest node above. */
function resourcesOf(page: PdfObject, objects: Objects): string {
  let { text } = page;
  for (let step = 0; step < maxSteps && !/\/Resources\b/.test(text); step += 1) {
    const [parent] = references(/\/Parent\s+\d+\s+\d+\s+R/.exec(text)?.[0] ?? '');
    text = (parent === undefined ? null : objects.get(parent)?.text) ?? '';
  }
  const from = text.search(/\/Resources\b/);
  if (from < 0) return '';
  const own = /^\/Resources\s*(\d+)\s+\d+\s+R/.exec(text.slice(from))?.[1];
  return own === undefined ? dictionaryAt(text, from) : (objects.get(Number(own))?.text ?? '');
}

/** The dictionary that begins behind that place. */
function dictionaryAt(text: string, from: number): string {
  let depth = 0;
  for (const { 0: sign, index } of text.slice(from).matchAll(/<<|>>/g)) {
    depth += sign === '<<' ? 1 : -1;
    if (depth <= 0) return text.slice(from, from + index);
  }
  return text.slice(from);
}

/** Whether a picture is among the outer objects that resources name, or in a form among them. */
function showsPicture(resources: string, objects: Objects): boolean {
  const seen = new Set<number>();
  let texts = [outer(resources, objects)];
  for (let step = 0; step < maxSteps && texts.length > 0; step += 1) {
    const found = texts
      .flatMap(references)
      .filter((number) => !seen.has(number) && seen.add(number))
      .flatMap((number) => objects.get(number)?.text ?? []);
    if (found.some((text) => /\/Subtype\s*\/Image\b/.test(text))) return true;
    texts = found
      .filter((text) => /\/Subtype\s*\/Form\b/.test(text))
      .map((text) => outer(resourcesOf({ text, stream: null }, objects), objects));
  }
  return false;
}

/** The entry XObject of resources, which may stand apart. */
function outer(resources: string, objects: Objects): string {
  const from = resources.search(/\/XObject\b/);
  if (from < 0) return '';
  const own = /^\/XObject\s*(\d+)\s+\d+\s+R/.exec(resources.slice(from))?.[1];
  return own === undefined ? dictionaryAt(resources, from) : (objects.get(Number(own))?.text ?? '');
}
