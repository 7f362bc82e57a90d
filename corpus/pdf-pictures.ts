/**
 * Which pages of a PDF without text show pictures: only OCR could read those. The parts of a file are looked through as
 * they stand in it; where it does not tell, as when it is damaged or encrypted, no page is said to be one.
 */
import { inflateSync } from 'node:zlib';

const maxPackedObjects = 2000;
const maxUnpacked = 4 * 1024 * 1024;
/** From a page over its resources to a picture, and through forms that hold one. */
const maxSteps = 6;
const leastLooked = 16 * 1024 * 1024;

/** Of the given pages those that paint a picture. `object` is the number of a page's object, where that is known. */
export function picturePages(
  pdf: Buffer,
  pages: readonly { number: number; object: number | null }[],
): number[] {
  const objects = new Objects(pdf);
  return pages
    .filter(({ object }) => {
      const page = object === null ? undefined : objects.get(object);
      if (page === undefined) return false;
      const contents = contentsOf(page, objects);
      if (contents.some((content) => content !== null && hasInlinePicture(content))) return true;
      // What cannot be read may paint whatever the page names.
      const paints = contents.some((content) => content === null || /\bDo\b/.test(content));
      return paints && showsPicture(resourcesOf(page, objects), objects);
    })
    .map(({ number }) => number);
}

function hasInlinePicture(content: string): boolean {
  const begin = content.search(/\bBI\s/);
  return begin >= 0 && /\sID\s/.test(content.slice(begin + 3));
}

interface PdfObject {
  /** Its dictionary, as it is written. */
  text: string;
  /** The packed bytes of a stream. */
  stream: Buffer | null;
}

/** What a file holds by number; of several with one number the last counts. */
class Objects {
  readonly #found: Map<number, PdfObject>;
  /** Characters that may still be looked through: many pages may lead to the same long text. */
  #left: number;

  constructor(pdf: Buffer) {
    this.#left = leastLooked + 2 * pdf.length;
    this.#found = objectsOf(pdf);
    unpackObjects(this.#found, this);
  }

  /** None where the file holds none, or where too much was looked through already. */
  get(number: number): PdfObject | undefined {
    const found = this.#found.get(number);
    return found !== undefined && this.#count(found.text.length) ? found : undefined;
  }

  /** The content of a stream; null where it is packed in a way that is not read here. */
  plainOf(object: PdfObject): string | null {
    if (this.#left <= 0) return null;
    const content = plainOf(object);
    return content !== null && this.#count(content.length) ? content : null;
  }

  #count(length: number): boolean {
    this.#left -= length + 64;
    return this.#left > 0;
  }
}

/** In one pass from the beginning to the end: a stream is passed over, and an object ends where the next begins. */
function objectsOf(pdf: Buffer): Map<number, PdfObject> {
  const text = pdf.toString('latin1');
  const objects = new Map<number, PdfObject>();
  const sign = /(?<![\w.])(\d{1,10})\s+\d{1,5}\s+obj\b|\bendobj\b|\bstream\r?\n/g;
  let open: { number: number; start: number; stream: RegExpExecArray | null } | null = null;
  let endstream = 0;
  const close = (end: number): void => {
    if (open === null) return;
    const { number, start, stream } = open;
    objects.set(number, {
      text: text.slice(start, stream?.index ?? end),
      stream: stream === null ? null : pdf.subarray(stream.index + stream[0].length, end),
    });
    open = null;
  };
  for (let match = sign.exec(text); match !== null; match = sign.exec(text)) {
    const behind = match.index + match[0].length;
    if (match[1] !== undefined) {
      close(match.index);
      open = { number: Number(match[1]), start: behind, stream: null };
    } else if (match[0] === 'endobj') {
      close(match.index);
    } else if (open !== null && open.stream === null) {
      open.stream = match;
      if (endstream >= 0) endstream = text.indexOf('endstream', behind);
      // Without an end it is cut off, or lies in a damaged file: the objects behind it are looked for all the same.
      if (endstream < 0) continue;
      close(endstream);
      sign.lastIndex = endstream + 'endstream'.length;
    }
  }
  close(text.length);
  return objects;
}

/** Since PDF 1.5, objects may stand in compressed streams of the type ObjStm. */
function unpackObjects(objects: Map<number, PdfObject>, reading: Pick<Objects, 'plainOf'>): void {
  const packed = [...objects.values()].filter(({ text }) => /\/Type\s*\/ObjStm\b/.test(text));
  for (const { text, stream } of packed.slice(0, maxPackedObjects)) {
    const content = reading.plainOf({ text, stream });
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
  const said = /\/Contents\s*(\[[^[\]]*\]|\d+\s+\d+\s+R)/.exec(text)?.[1] ?? '';
  const given = references(said).flatMap((number) => objects.get(number) ?? []);
  // One object may be the list of the others.
  return given
    .flatMap((one) =>
      one.stream === null
        ? references(one.text).flatMap((number) => objects.get(number) ?? [])
        : [one],
    )
    .map((one) => objects.plainOf(one));
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
