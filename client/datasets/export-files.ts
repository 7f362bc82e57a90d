/** Files of rows: JSON lines, packed or plain, and Parquet. A row is written as it comes; few are held. */
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createZstdCompress, zstdCompressSync } from 'node:zlib';
import { fileWriter, ParquetWriter } from 'hyparquet-writer';
import { canonicalJson } from '../../config/digest.ts';

export type ExportFormat = 'jsonl' | 'parquet';

export interface Row {
  id: string;
  source: string;
  license: string | null;
  text: string;
  /** JSON, for documents of one dataset may have different fields. */
  metadata: string;
}

/** Text of a row group. */
const groupUnits = 8_000_000;
/** Of lines that are packed at once: each piece costs a way to another thread and back. */
const pieceUnits = 500_000;
const columns = ['id', 'source', 'license', 'text', 'metadata'] as const;

async function* linesOf(
  records: AsyncIterable<unknown>,
  onLine: () => void,
): AsyncGenerator<string> {
  let piece = '';
  for await (const record of records) {
    onLine();
    piece += `${canonicalJson(record)}\n`;
    if (piece.length < pieceUnits) continue;
    yield piece;
    piece = '';
  }
  if (piece !== '') yield piece;
}

async function jsonLines(
  file: string,
  records: AsyncIterable<unknown>,
  packed: boolean,
): Promise<number> {
  let numRows = 0;
  const lines = Readable.from(linesOf(records, () => (numRows += 1)));
  const written = createWriteStream(file);
  if (packed) await pipeline(lines, createZstdCompress(), written);
  else await pipeline(lines, written);
  return numRows;
}

async function parquet(file: string, rows: AsyncIterable<Row>): Promise<number> {
  const writer = new ParquetWriter({
    writer: fileWriter(file),
    schema: [
      { name: 'root', num_children: columns.length },
      ...columns.map((name) => ({
        name,
        type: 'BYTE_ARRAY' as const,
        converted_type: 'UTF8' as const,
        repetition_type: name === 'license' ? ('OPTIONAL' as const) : ('REQUIRED' as const),
      })),
    ],
    codec: 'ZSTD',
    compressors: { ZSTD: (bytes: Uint8Array) => zstdCompressSync(bytes) },
    createdBy: 'temper',
  });
  let group: Row[] = [];
  let units = 0;
  let numRows = 0;
  const endGroup = async (): Promise<void> => {
    await writer.write({
      columnData: columns.map((name) => ({ name, data: group.map((row) => row[name]) })),
      rowGroupSize: Math.max(1, group.length),
    });
    numRows += group.length;
    [group, units] = [[], 0];
  };
  for await (const row of rows) {
    group.push(row);
    units += row.text.length + row.metadata.length;
    if (units >= groupUnits) await endGroup();
  }
  if (group.length > 0) await endGroup();
  await writer.finish();
  return numRows;
}

/** Each writes a file and resolves with its number of rows. */
export const writers = {
  jsonl: (file: string, rows: AsyncIterable<Row>) => jsonLines(file, rows, true),
  parquet,
  plain: (file: string, records: AsyncIterable<unknown>) => jsonLines(file, records, false),
} as const;
