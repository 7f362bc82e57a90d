/** Parquet: a record a row, read a page range at a time. */
import {
  parquetMetadataAsync,
  parquetReadObjects,
  type AsyncBuffer,
  type Compressors,
  type FileMetaData,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { seekable } from './bytes.ts';
import {
  checkRatio,
  fieldsRecord,
  Refused,
  type Bytes,
  type FileRecord,
  type Reading,
} from './types.ts';

/** Unpacked bytes of the rows that are in memory at once. */
const windowBytes = 64 * 1024 * 1024;
const maxColumnBytes = 512 * 1024 * 1024;
const maxGroupRows = 64 * 1024 * 1024;
const maxFooterBytes = 64 * 1024 * 1024;

/** A page says its own size, which need not be what the footer says of its column. */
export const bounded: Compressors = Object.fromEntries(
  Object.entries(compressors).map(([codec, unpack]) => [
    codec,
    (input: Uint8Array, outputLength: number) => {
      checkRatio(input.length, outputLength);
      return unpack(input, outputLength);
    },
  ]),
);

/** The rows; columns that hold lists, structures or bytes are left out of the metadata. */
export async function* readParquet(
  _name: string,
  given: Bytes,
  { textField, account }: Reading,
): AsyncGenerator<FileRecord> {
  const bytes = await seekable(given);
  const tail = await bytes.at(Math.max(0, bytes.size - 8), 8);
  const mark = tail.toString('latin1', 4);
  if (mark === 'PARE') throw new Refused('encrypted', 'the footer is encrypted; give a plain file');
  if (tail.length < 8 || mark !== 'PAR1') {
    throw new Refused('damaged', 'not a whole Parquet file: found no footer at its end');
  }
  const footerBytes = tail.readUInt32LE(0);
  if (footerBytes > Math.min(bytes.size - 8, maxFooterBytes)) {
    throw new Refused('damaged', `a footer of ${footerBytes} bytes in a file of ${bytes.size}`);
  }
  const file: AsyncBuffer = {
    byteLength: bytes.size,
    async slice(start, end = bytes.size) {
      const part = await bytes.at(start, end - start);
      // The library looks at whole buffers.
      return part.buffer.slice(part.byteOffset, part.byteOffset + part.length) as ArrayBuffer;
    },
  };
  const metadata = await parquetMetadataAsync(file);
  const columns = singleColumns(metadata);
  let position = 0;
  for (const [index, group] of metadata.row_groups.entries()) {
    const unpackedBytes = group.columns
      .filter(({ meta_data: column }) => columns.includes(column?.path_in_schema[0] ?? ''))
      .map(({ meta_data: column }) => Number(column?.total_uncompressed_size ?? 0n));
    const numRows = Number(group.num_rows);
    // A declared size is checked before anything is unpacked to it.
    const largest = Math.max(0, ...unpackedBytes);
    if (largest > maxColumnBytes || numRows > maxGroupRows) {
      throw new Refused(
        'too_large',
        `row group ${index} has ${numRows} rows and a column of ${largest} bytes; write smaller groups`,
      );
    }
    for (const size of unpackedBytes) account.add(size);
    const total = unpackedBytes.reduce((sum, size) => sum + size, 0);
    const rowsAtOnce = Math.max(1, Math.ceil(numRows / Math.ceil(total / windowBytes || 1)));
    for (let start = 0; start < numRows; start += rowsAtOnce) {
      const rows = await parquetReadObjects({
        file,
        metadata: { ...metadata, row_groups: [group], num_rows: group.num_rows },
        columns,
        compressors: bounded,
        rowStart: start,
        rowEnd: Math.min(numRows, start + rowsAtOnce),
      });
      for (const row of rows) {
        position += 1;
        yield fieldsRecord(position, plainRow(row), textField);
      }
    }
  }
  if (position === 0) yield { position: null, reason: 'empty', detail: 'no rows' };
}

/** Columns of single values; lists and structures have children. */
function singleColumns({ schema }: FileMetaData): string[] {
  const [, ...elements] = schema;
  const names: string[] = [];
  for (let index = 0; index < elements.length; index += 1) {
    const { name, num_children: children = 0, repetition_type: repetition } = elements[index]!;
    if (children === 0 && repetition !== 'REPEATED') names.push(name);
    for (let left = children; left > 0; left -= 1) {
      index += 1;
      left += elements[index]?.num_children ?? 0;
    }
  }
  return names;
}

/** As JSON would have it: dates as text, large integers as numbers where nothing is lost. */
export function plainRow(row: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(row).map(([field, value]) => [field, plainValue(value)]),
  );
}

function plainValue(value: unknown): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : String(value);
  }
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  return value;
}
