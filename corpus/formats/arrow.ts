/** Arrow IPC, as Hugging Face's datasets keep on disk: a record a row, one batch of rows in memory at a time. */
import { tableFromIPC } from '@uwdata/flechette';
import { cursor } from './cursor.ts';
import { plainRow } from './parquet.ts';
import {
  fieldsRecord,
  maxWholeBytes,
  Refused,
  type Bytes,
  type FileRecord,
  type Reading,
} from './types.ts';

const magic = 'ARROW1';
const headers = { schema: 1, dictionary: 2, batch: 3 } as const;

/** The rows of a stream or a file; columns of lists and structures are left out of the metadata. */
export async function* readArrow(
  _name: string,
  bytes: Bytes,
  { textField }: Reading,
): AsyncGenerator<FileRecord> {
  let preamble: Buffer | null = null;
  let position = 0;
  for await (const { kind, message } of messages(bytes)) {
    if (kind !== headers.batch) {
      preamble = preamble === null ? message : Buffer.concat([preamble, message]);
      if (preamble.length > maxWholeBytes) throw new Refused('too_large', 'dictionaries too large');
      continue;
    }
    if (preamble === null) throw new Refused('damaged', 'found rows before their schema');
    const table = tableFromIPC(new Uint8Array(Buffer.concat([preamble, message, endOfStream])), {
      useBigInt: true,
      useDate: true,
    });
    // A row takes a byte at least, or its number is damage.
    if (table.numRows > message.length) {
      throw new Refused('damaged', `found ${table.numRows} rows in ${message.length} bytes`);
    }
    for (const row of table as unknown as Iterable<Record<string, unknown>>) {
      position += 1;
      yield fieldsRecord(position, plainRow({ ...row }), textField);
    }
  }
  if (position === 0) yield { position: null, reason: 'empty', detail: 'no rows' };
}

const endOfStream = Buffer.from('ffffffff00000000', 'hex');

/** Each message with its body: a mark, the length of its metadata, the metadata, the body. */
async function* messages(bytes: Bytes): AsyncGenerator<{ kind: number; message: Buffer }> {
  const { take } = cursor(bytes);
  let start = await take(8);
  if (start.toString('latin1', 0, magic.length) === magic) start = await take(8);
  for (;;) {
    if (start.length === 0) return;
    if (start.length < 8 || start.readUInt32LE(0) !== 0xffffffff) {
      throw new Refused('damaged', 'not a whole Arrow stream: found no message where one must be');
    }
    const length = start.readUInt32LE(4);
    if (length === 0) return;
    if (length > maxWholeBytes) throw new Refused('damaged', `metadata of ${length} bytes`);
    const metadata = await take(length);
    const { kind, bodyLength } = header(metadata, length);
    if (bodyLength > maxWholeBytes) {
      throw new Refused(
        'too_large',
        `found a batch of ${bodyLength} bytes, expected at most ${maxWholeBytes}`,
      );
    }
    const body = await take(bodyLength);
    if (body.length < bodyLength) throw new Refused('damaged', 'a batch of rows is cut off');
    yield { kind, message: Buffer.concat([start, metadata, body]) };
    start = await take(8);
  }
}

/** Two fields of the FlatBuffers table Message: header_type (1) and bodyLength (3). */
function header(metadata: Buffer, expected: number): { kind: number; bodyLength: number } {
  try {
    if (metadata.length < expected) throw new RangeError('cut');
    const table = metadata.readUInt32LE(0);
    const vtable = table - metadata.readInt32LE(table);
    const size = metadata.readUInt16LE(vtable);
    const field = (index: number): number => {
      const entry = 4 + index * 2;
      return entry < size ? metadata.readUInt16LE(vtable + entry) : 0;
    };
    const [kind, body] = [field(1), field(3)];
    const bodyLength = body === 0 ? 0 : Number(metadata.readBigInt64LE(table + body));
    if (bodyLength < 0) throw new RangeError('negative');
    return { kind: kind === 0 ? 0 : metadata.readUInt8(table + kind), bodyLength };
  } catch (error) {
    if (error instanceof RangeError) throw new Refused('damaged', 'a message of Arrow is cut off');
    throw error;
  }
}
