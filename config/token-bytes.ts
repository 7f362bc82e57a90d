/**
 * What the tokens of a tokenizer.json stand for: each is a string of bytes, so that a text is their concatenation and a
 * stream of them can be written as it comes. Two ways of writing them are known, by the decoder that reads them.
 */
import { z } from 'zod';

const space = '\u2581';
const writtenSpace = z.object({
  type: z.literal('Replace'),
  pattern: z.object({ String: z.literal(space) }),
  content: z.literal(' '),
});
const byteFallback = z.object({ type: z.literal('ByteFallback') });
const fuse = z.object({ type: z.literal('Fuse') });
/** Takes away the space that was put before the text. */
const strip = z.object({
  type: z.literal('Strip'),
  content: z.literal(' '),
  start: z.literal(1),
  stop: z.literal(0),
});
const pieces = z.object({
  type: z.literal('Sequence'),
  decoders: z.union([
    z.tuple([writtenSpace, byteFallback, fuse]),
    z.tuple([writtenSpace, byteFallback, fuse, strip]),
  ]),
});
const letters = z.object({ type: z.literal('ByteLevel') });

export interface TokenBytes {
  /** letters: each stands for a byte; pieces: text as SentencePiece writes it, and bytes of what no piece has. */
  kind: 'letters' | 'pieces';
  /** The tokens of the 256 bytes, in their order. */
  bytes: string[];
  bytesOf: (token: string) => Uint8Array;
}

/** How the tokens are written that a decoder of a tokenizer.json reads; null where it is of another kind. */
export function tokenBytes(decoder: unknown): TokenBytes | null {
  if (letters.safeParse(decoder).success) return lettersForBytes();
  return pieces.safeParse(decoder).success ? piecesOfText() : null;
}

/** The letter that stands for each byte in a byte-level vocabulary. */
export function byteLetters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const shown = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(shown ? byte : next++);
  });
}

function lettersForBytes(): TokenBytes {
  const bytes = byteLetters();
  const byteOf = new Map(bytes.map((letter, byte) => [letter, byte]));
  return {
    kind: 'letters',
    bytes,
    bytesOf(token) {
      const found = Array.from(token, (letter) => byteOf.get(letter));
      return found.includes(undefined) ? utf8(token) : Uint8Array.from(found as number[]);
    },
  };
}

function piecesOfText(): TokenBytes {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  );
  const byteOf = new Map(bytes.map((token, byte) => [token, byte]));
  return {
    kind: 'pieces',
    bytes,
    bytesOf(token) {
      const byte = byteOf.get(token);
      return byte === undefined ? utf8(token.replaceAll(space, ' ')) : Uint8Array.of(byte);
    },
  };
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
