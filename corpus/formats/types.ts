/** What readers of formats share: a record or a refusal, the bytes they read from, and what a file may cost. */
import type { Document } from '../../config/manifests.ts';
import type { Refusal } from '../decode.ts';

export type Metadata = Document['metadata'];

/**
 * `position` is the record's number in its file, from 1; null where the file is one record. `inside` names the
 * member of an archive, `!/folder/a.txt`; left out, the file itself.
 */
export type FileRecord = { position: number | null; inside?: string } & (
  { text: string; metadata: Metadata } | Refusal
);

/** Bytes of a file or of a member of an archive. */
export interface Bytes {
  /** Null where only reading to the end would tell. */
  size: number | null;
  /** From the beginning, in pieces; may be asked for once. */
  chunks(): AsyncIterable<Buffer>;
  /** From any place; absent where the bytes come as a stream. */
  at?: (start: number, length: number) => Promise<Buffer>;
  /** The same bytes once more, from the beginning; absent where they come but once. */
  again?: () => Bytes;
}

/** What one file of a source is read with. */
export interface Reading {
  textField: string;
  /** Of all that is unpacked from this file. */
  account: Account;
  /** Archives around what is read now. */
  depth: number;
  /** Name of what is read now, inside the file: `!/folder/a.txt`. */
  inside: string;
  /** Reads a member of an archive by its name; given by the table of formats. */
  member?: Reader;
  /** Called where the reading of something new begins, so that a reading that stands still is noticed, and again with what is around it where it ended. */
  onLeaf: (inside: string) => Refusal | null;
}

export type Reader = (
  name: string,
  bytes: Bytes,
  reading: Reading,
) => AsyncIterable<FileRecord> | Iterable<FileRecord>;

/** Ends the reading of a file or a member with its reason; the rest of the source goes on. */
export class Refused extends Error {
  override name = 'Refused';
  readonly refusal: Refusal;
  constructor(reason: string, detail: string) {
    super(`${reason}: ${detail}`);
    this.refusal = { reason, detail };
  }
}

const mebibyte = 1024 * 1024;
/** Text of one document. */
export const maxTextBytes = 8 * mebibyte;
/** One record, with its markup and its other fields: a line, a row, a page, a letter. */
export const maxRecordBytes = 32 * mebibyte;
/** What must be in memory at once: a PDF, an archive inside an archive. */
export const maxWholeBytes = 128 * mebibyte;
/** How far archives may lie in archives. */
export const maxDepth = 4;
export const maxMembers = 1_000_000;
/** Of bytes unpacked to bytes packed. */
export const maxRatio = 100;
/** Under this size any ratio is harmless: a page of blanks packs well. */
export const ratioFloorBytes = 16 * mebibyte;

/** Counts what a file unpacks to, over all its layers, and refuses a bomb. */
export class Account {
  readonly #packedBytes: number;
  #unpackedBytes = 0;

  constructor(packedBytes: number) {
    this.#packedBytes = packedBytes;
  }

  /** Of another reading of the same bytes. */
  anew(): Account {
    return new Account(this.#packedBytes);
  }

  add(bytes: number): void {
    this.#unpackedBytes += bytes;
    checkRatio(this.#packedBytes, this.#unpackedBytes);
  }
}

/** Throws where so many bytes came out of so few. */
export function checkRatio(packedBytes: number, unpackedBytes: number): void {
  if (unpackedBytes <= ratioFloorBytes || unpackedBytes <= packedBytes * maxRatio) return;
  throw new Refused('bomb', `found more than ${maxRatio} bytes unpacked from each packed one`);
}

/** A record of that text, or why it is none. */
export function checked(position: number | null, text: string, metadata: Metadata): FileRecord {
  if (text.trim() === '') return { position, reason: 'empty', detail: 'no text' };
  const bytes = Buffer.byteLength(text);
  if (bytes > maxTextBytes) {
    return {
      position,
      reason: 'too_large',
      detail: `found ${bytes} bytes of text, expected at most ${maxTextBytes}; split it`,
    };
  }
  return { position, text: text.toWellFormed(), metadata };
}

/** A record of a row or an object: one field is the text, the other single values are metadata. */
export function fieldsRecord(
  position: number | null,
  value: object,
  textField: string,
): FileRecord {
  const metadata: Metadata = {};
  let text: unknown;
  for (const [field, content] of Object.entries(value)) {
    if (field === textField) text = content;
    else if (isMetadata(content)) metadata[field] = content;
  }
  if (typeof text === 'string') return checked(position, text, metadata);
  const found = Object.keys(value).slice(0, 8).join(', ');
  return { position, reason: 'no_text', detail: `found ${found}; expected a text "${textField}"` };
}

function isMetadata(value: unknown): value is Metadata[string] {
  if (typeof value === 'number') return Number.isFinite(value);
  return value === null || typeof value === 'string' || typeof value === 'boolean';
}

/** What a library said of damage, short and on one line. */
export function cleanDetail(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return `cannot be read (${message.replaceAll(/\s+/g, ' ').slice(0, 160)})`;
}
