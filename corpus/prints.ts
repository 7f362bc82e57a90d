/**
 * What is compared of the kept documents of a shard, each part in a fixed length and one document after the other, so
 * that millions of them take no object each; and what is listed of them, as packed JSON lines. Numbers are 32 bits, little-endian.
 */
import { numBands, numHashes } from './minhash.ts';
import { bytesOf, wordsIn } from './words-and-bytes.ts';

/** Bytes of a text's digest. */
export const contentLength = 32;
/** Numbers of a document's bands. */
export const bandWords = numBands * 2;
const magic = 0x3150_4654;
const headWords = 3;
const headLength = headWords * 4;

export interface Prints {
  numDocuments: number;
  /** SHA-256 of each text. */
  contents: Uint8Array;
  bands: Uint32Array;
  sketches: Uint8Array;
  /** A `FingerprintLine` for each, packed by whoever writes them. */
  lines: Uint8Array;
}

/** The prints as bytes, for a blob. */
export function packPrints({ numDocuments, contents, bands, sketches, lines }: Prints): Uint8Array {
  const head = Uint32Array.of(magic, numDocuments, lines.byteLength);
  return Buffer.concat([bytesOf(head), contents, bytesOf(bands), sketches, lines]);
}

/** The prints of `packPrints`; contents, sketches and lines lie in the given bytes. */
export function readPrints(bytes: Uint8Array): Prints {
  const { numDocuments, bandsAt, sketchesAt, linesAt } = partsOf(bytes);
  return {
    numDocuments,
    contents: bytes.subarray(headLength, bandsAt),
    bands: wordsIn(bytes.subarray(bandsAt, sketchesAt)),
    sketches: bytes.subarray(sketchesAt, linesAt),
    lines: bytes.subarray(linesAt),
  };
}

/** The lines of `packPrints` alone, in memory of their own. */
export function linesOfPrints(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.subarray(partsOf(bytes).linesAt));
}

/** Where each part begins. */
function partsOf(bytes: Uint8Array) {
  const head = bytes.byteLength < headLength ? [] : wordsIn(bytes.subarray(0, headLength));
  const [found, numDocuments = 0, lineBytes = 0] = head;
  const bandsAt = headLength + numDocuments * contentLength;
  const sketchesAt = bandsAt + numDocuments * bandWords * 4;
  const linesAt = sketchesAt + numDocuments * numHashes;
  if (found !== magic || bytes.byteLength !== linesAt + lineBytes) {
    throw new Error(
      `fingerprints: found ${bytes.byteLength} bytes that are none of corpus/prints.ts, expected those of a cleaned shard. ` +
        'Start the run again.',
    );
  }
  return { numDocuments, bandsAt, sketchesAt, linesAt };
}
