/** Reads a file that a pipeline file names, piece by piece; what no retry cures fails the run with what to do. */
import { constants } from 'node:buffer';
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { CorpusError } from './errors.ts';

interface Asked {
  /** Of the pipeline file, for messages: `data.conversations`. */
  field: string;
  /** Of the file, and of what is unpacked from it. */
  maxBytes: number;
  /** Hears of each piece. */
  onPiece: () => void;
}

/** The text of a file, unpacked where its name ends with .gz, without its byte-order mark. */
export async function readText(file: string, { field, maxBytes, onPiece }: Asked): Promise<string> {
  const wrong = (found: string, toDo: string): CorpusError =>
    new CorpusError(`${field}: found ${file} ${found}, expected ${toDo}`);
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const parts: string[] = [];
  let bytes = 0;
  let length = 0;
  const add = (part: string): void => {
    length += part.length;
    if (length > constants.MAX_STRING_LENGTH) {
      throw wrong(
        `of more than ${constants.MAX_STRING_LENGTH} characters`,
        'no more than that. Split it.',
      );
    }
    parts.push(part);
  };
  try {
    for await (const piece of piecesOf(file)) {
      onPiece();
      bytes += piece.length;
      if (bytes > maxBytes) {
        throw wrong(`of more than ${maxBytes} bytes unpacked`, 'no more than that. Split it.');
      }
      add(decoder.decode(piece, { stream: true }));
    }
    add(decoder.decode());
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
    const code = String(error.code);
    if (code.startsWith('Z_'))
      throw wrong(`damaged (${code})`, 'a whole gzip file. Pack or fetch it again.');
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA')
      throw wrong('with bytes that are not UTF-8', 'UTF-8. Save it as that.');
    throw error;
  }
  return parts.join('');
}

async function* piecesOf(file: string): AsyncGenerator<Buffer> {
  const source = createReadStream(file, { highWaterMark: 1024 * 1024 });
  if (!file.endsWith('.gz')) {
    yield* source as AsyncIterable<Buffer>;
    return;
  }
  const unpacker = createGunzip({ chunkSize: 1024 * 1024 });
  source.on('error', (error) => unpacker.destroy(error));
  try {
    yield* source.pipe(unpacker) as Readable as AsyncIterable<Buffer>;
  } finally {
    source.destroy();
    unpacker.destroy();
  }
}
