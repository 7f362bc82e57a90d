/**
 * Tables as text: a record a row, its fields by the names in the first row. A row that is broken is refused alone; what
 * stands in the whole ones a library parses.
 */
import { parse } from 'csv-parse/sync';
import type { Refusal } from '../decode.ts';
import { rowsOf, type Form } from './csv-rows.ts';
import { linesOf, type Line } from './lines.ts';
import {
  fieldsRecord,
  Refused,
  type Bytes,
  type FileRecord,
  type Metadata,
  type Reading,
} from './types.ts';

const separators = [',', ';', '\t', '|'];
/** Characters of rows that are parsed at once. */
const batchCharacters = 64 * 1024;

/** Rows of .csv, whose separator its first line shows, and of .tsv. */
export async function* readCsv(
  name: string,
  bytes: Bytes,
  { textField }: Reading,
): AsyncGenerator<FileRecord> {
  const lines = tableLines(bytes)[Symbol.asyncIterator]();
  const first = await lines.next();
  const shown = first.value?.line;
  const head = typeof shown === 'string' ? shown : '';
  const tabs = /\.(tsv|tab)(\.|$)/i.test(name);
  const separator = tabs ? '\t' : separatorOf(head);
  const form = { separator, quotes: !tabs || head.includes('"') };
  const rows = rowsOf(behind(first, lines), form);
  const header = await rows.next();
  if (header.done === true) {
    yield { position: null, reason: 'empty', detail: 'no rows' };
    return;
  }
  if (typeof header.value.row !== 'string') {
    const { reason, detail } = header.value.row;
    throw new Refused(reason, `the row of names: ${detail}`);
  }
  const names = cells([header.value.row], form)[0]!.map((field) => field.trim());
  let position = 0;
  const batch: string[] = [];
  let characters = 0;
  const parsed = function* (): Generator<FileRecord> {
    for (const values of cells(batch.splice(0), form)) {
      position += 1;
      yield fieldsRecord(position, valuesOf(names, values, textField), textField);
    }
    characters = 0;
  };
  let broken = false;
  for await (const { row, doubtful, breaks } of rows) {
    if (typeof row === 'string' && !doubtful && !broken) {
      batch.push(row);
      if ((characters += row.length) > batchCharacters) yield* parsed();
      continue;
    }
    yield* parsed();
    if (typeof row === 'string' && cells([row], form)[0]!.length === names.length) {
      batch.push(row);
      broken = false;
      continue;
    }
    broken ||= breaks === true;
    position += 1;
    yield { position, ...(typeof row === 'string' ? torn : row) };
  }
  yield* parsed();
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

async function* behind(
  first: IteratorResult<Line, undefined>,
  rest: AsyncIterator<Line>,
): AsyncGenerator<Line> {
  if (first.done === true) return;
  yield first.value;
  yield* { [Symbol.asyncIterator]: () => rest };
}

/** Lines, without the blank ones before the first; a file whose lines end in a carriage return alone is parted by it. */
async function* tableLines(bytes: Bytes): AsyncGenerator<Line> {
  let parts: boolean | null = null;
  let begun = false;
  for await (const one of linesOf(bytes)) {
    const { line } = one;
    if (!begun && typeof line === 'string' && line.trim() === '') continue;
    begun = true;
    parts ??= typeof line === 'string' && /\r(?!$)/.test(line.replaceAll(/"[^"]*"/g, ''));
    if (!parts || typeof line !== 'string') yield one;
    else for (const part of line.split('\r')) yield { ...one, line: part };
  }
}

const torn: Refusal = {
  reason: 'damaged',
  detail: 'not as many fields as the first row, behind a row with a quote that has no end',
};

/** The fields of whole rows. */
function cells(rows: readonly string[], { separator, quotes }: Form): string[][] {
  if (rows.length === 0) return [];
  return parse(rows.join('\n'), {
    delimiter: separator,
    quote: quotes ? '"' : null,
    recordDelimiter: '\n',
    relaxColumnCount: true,
  });
}

/** Numbers stay numbers, so that the same table as CSV and as Parquet gives the same metadata. */
function valuesOf(
  names: readonly string[],
  row: readonly string[],
  textField: string,
): Record<string, Metadata[string]> {
  const entries = names.slice(0, row.length).map((field, index): [string, Metadata[string]] => {
    const value = row[index]!;
    if (field === textField) return [field, value];
    if (value === '') return [field, null];
    return [field, /^-?(0|[1-9]\d{0,14})(\.\d{1,15})?$/.test(value) ? Number(value) : value];
  });
  return Object.fromEntries(entries);
}
