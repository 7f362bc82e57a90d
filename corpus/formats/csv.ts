/** Tables as text: a record a row, its fields by the names in the first row. */
import { finished } from 'node:stream/promises';
import { CsvError, parse } from 'csv-parse';
import { decodedPieces } from './text.ts';
import {
  fieldsRecord,
  maxRecordBytes,
  Refused,
  type Bytes,
  type FileRecord,
  type Metadata,
  type Reading,
} from './types.ts';

const separators = [',', ';', '\t', '|'];

/** Rows of .csv, whose separator its first line shows, and of .tsv. */
export async function* readCsv(
  name: string,
  bytes: Bytes,
  { textField }: Reading,
): AsyncGenerator<FileRecord> {
  const text = decodedPieces(bytes)[Symbol.asyncIterator]();
  const first = await text.next();
  if (first.done === true || first.value.trim() === '') {
    yield { position: null, reason: 'empty', detail: 'no rows' };
    return;
  }
  const tabs = /\.(tsv|tab)(\.|$)/i.test(name);
  // Taken as they are parsed: what a stream still holds when it breaks off is lost, and how much that is depends on the clock.
  const rows: Record<string, string>[] = [];
  const parser = parse({
    columns: (header: string[]) => header.map((field) => field.trim()),
    delimiter: tabs ? '\t' : separatorOf(first.value),
    ...(tabs && !first.value.includes('"') && { quote: null }),
    bom: true,
    relaxColumnCount: true,
    skipEmptyLines: true,
    maxRecordSize: maxRecordBytes,
    onRecord: (row: Record<string, string>) => {
      rows.push(row);
      return null;
    },
  });
  parser.on('error', () => {}).resume();
  let position = 0;
  const records = function* (): Generator<FileRecord> {
    for (const row of rows.splice(0)) {
      position += 1;
      yield fieldsRecord(position, values(row, textField), textField);
    }
  };
  try {
    for (
      let piece: IteratorResult<string> = first;
      piece.done !== true;
      piece = await text.next()
    ) {
      parser.write(piece.value);
      yield* records();
      if (parser.errored !== null) throw parser.errored;
    }
    parser.end();
    await finished(parser);
    yield* records();
  } catch (error) {
    // The parser holds a row back until it sees what follows.
    parser.end();
    await finished(parser).catch(() => {});
    yield* records();
    if (!(error instanceof CsvError)) throw error;
    if (error.code === 'CSV_MAX_RECORD_SIZE') {
      throw new Refused('too_large', `found a row of more than ${maxRecordBytes} bytes; split it`);
    }
    throw new Refused('damaged', `row ${position + 1} is no row of a table (${error.code})`);
  } finally {
    parser.destroy();
  }
  if (position === 0) yield { position: null, reason: 'empty', detail: 'no rows' };
}

/** The sign that the first line has most of, outside quotes. */
export function separatorOf(text: string): string {
  const line = (/^[^\r\n]*/.exec(text.replace(/^\uFEFF/, ''))?.[0] ?? '').replaceAll(
    /"[^"]*"/g,
    '',
  );
  const counts = separators.map((separator) => line.split(separator).length);
  return separators[counts.indexOf(Math.max(...counts))]!;
}

/** Numbers stay numbers, so that the same table as CSV and as Parquet gives the same metadata. */
function values(row: Record<string, string>, textField: string): Metadata {
  const entries = Object.entries(row).map(([field, value]): [string, Metadata[string]] => {
    if (field === textField) return [field, value];
    if (value === '') return [field, null];
    return [field, /^-?(0|[1-9]\d{0,14})(\.\d{1,15})?$/.test(value) ? Number(value) : value];
  });
  return Object.fromEntries(entries);
}
