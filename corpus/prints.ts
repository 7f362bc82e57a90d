/**
 * What is compared of the kept documents of a shard, each part in a fixed length and one document after the other, so
 * that millions of them take no object each; and what is listed of them, as packed JSON lines. Numbers are 32 bits, little-endian.
 */
import { usualNear } from '../config/deduplication.ts';
import { hashesOf, isUsual, numBands, type Shape } from './minhash.ts';
import { bytesOf, wordsIn } from './words-and-bytes.ts';

/** Bytes of a text's digest. */
export const contentLength = 32;
/** Numbers of a document's bands, of the usual shape. */
export const bandWords = numBands * 2;
const magic = 0x3150_4654;
/** Of prints that say their shape, which all but the usual ones do. */
const shapedMagic = 0x3250_4654;
const headWords = 3;
const shapedHeadWords = headWords + 2;

export interface Prints {
  numDocuments: number;
  /** SHA-256 of each text. */
  contents: Uint8Array;
  bands: Uint32Array;
  sketches: Uint8Array;
  /** A `FingerprintLine` for each, packed by whoever writes them. */
  lines: Uint8Array;
  /** Left out: the usual one. */
  shape?: Shape;
}

/** The prints as bytes, for a blob. */
export function packPrints({
  numDocuments,
  contents,
  bands,
  sketches,
  lines,
  shape = usualNear,
}: Prints): Uint8Array {
  const head = isUsual(shape)
    ? Uint32Array.of(magic, numDocuments, lines.byteLength)
    : Uint32Array.of(shapedMagic, numDocuments, lines.byteLength, shape.bands, shape.rows);
  return Buffer.concat([bytesOf(head), contents, bytesOf(bands), sketches, lines]);
}

/** The prints of `packPrints`; contents, sketches and lines lie in the given bytes. */
export function readPrints(bytes: Uint8Array): Prints & { shape: Shape } {
  const { numDocuments, contentsAt, bandsAt, sketchesAt, linesAt, shape } = partsOf(bytes);
  return {
    numDocuments,
    contents: bytes.subarray(contentsAt, bandsAt),
    bands: wordsIn(bytes.subarray(bandsAt, sketchesAt)),
    sketches: bytes.subarray(sketchesAt, linesAt),
    lines: bytes.subarray(linesAt),
    shape,
  };
}

/** The lines of `packPrints` alone, in memory of their own. */
export function linesOfPrints(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.subarray(partsOf(bytes).linesAt));
}

/** Where each part begins. */
function partsOf(bytes: Uint8Array) {
  const head = wordsIn(bytes.subarray(0, Math.min(bytes.byteLength & ~3, shapedHeadWords * 4)));
  const [found, numDocuments = 0, lineBytes = 0] = head;
  const isShaped = found === shapedMagic;
  const shape = isShaped ? { bands: head[3] ?? 0, rows: head[4] ?? 0 } : usualNear;
  const contentsAt = (isShaped ? shapedHeadWords : headWords) * 4;
  const bandsAt = contentsAt + numDocuments * contentLength;
  const sketchesAt = bandsAt + numDocuments * shape.bands * 2 * 4;
  const linesAt = sketchesAt + numDocuments * hashesOf(shape);
  if ((!isShaped && found !== magic) || bytes.byteLength !== linesAt + lineBytes) {
    throw new Error(
      `fingerprints: found ${bytes.byteLength} bytes that are none of corpus/prints.ts, expected those of a cleaned shard. ` +
        'Start the run again.',
    );
  }
  return { numDocuments, contentsAt, bandsAt, sketchesAt, linesAt, shape };
}
