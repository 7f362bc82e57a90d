/**
 * Tables as text: a record a row, its fields by the names in the first row. Where rows end is found here, line by line,
 * so that a row that is broken is refused alone; what stands in the whole ones a library parses.
 */
import { parse } from 'csv-parse/sync';
import type { Refusal } from '../decode.ts';
import { linesOf, type Line } from './lines.ts';
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

interface Form {
  separator: string;
  /** Whether a field may stand in quotes. */
  quotes: boolean;
}

/** `doubtful`: it stands where a broken row may go on. `breaks`: the next ones may belong to what is broken here. */
interface Row {
  row: string | Refusal;
  doubtful: boolean;
  breaks?: boolean;
}

const torn: Refusal = {
  reason: 'damaged',
  detail: 'not as many fields as the first row, behind a row with a quote that has no end',
};

/**
 * Lines to rows: those in which a quoted field goes on belong together. A row that is broken costs its first line, and what
 * is behind that is read again; no line is looked through more than twice, whatever is broken.
 */
async function* rowsOf(lines: AsyncIterator<Line>, form: Form): AsyncGenerator<Row> {
  let again: Line[] = [];
  let at = 0;
  // Of the lines that are read again: a field that opens in these breaks where the one before them did.
  let numDoomed = 0;
  const next = async (): Promise<Line | null> => {
    if (at < again.length) return again[at++]!;
    const one = await lines.next();
    return one.done === true ? null : one.value;
  };
  for (;;) {
    const doubtful = at < again.length;
    const doomed = doubtful && at < numDoomed;
    const first = await next();
    if (first === null) return;
    const text = textOf(first);
    if (text === '') continue;
    const found = text === null ? closed : endOf(text, false, form);
    if (found === closed) {
      yield { row: typeof first.line === 'string' ? text! : first.line, doubtful };
      continue;
    }
    if (found !== open || doomed) {
      const breaks = found !== astray;
      yield { row: damaged(found === open ? endless : found), doubtful, breaks };
      continue;
    }
    const held = [first];
    const row = await heldRow(held, next, form);
    if ('whole' in row) {
      yield { row: row.whole, doubtful };
      continue;
    }
    const rest = held.slice(1);
    // The line in which it broke may begin a row of its own.
    numDoomed = row.ended ? rest.length : rest.length - 1;
    [again, at] = [[...rest, ...again.slice(at)], 0];
    yield { row: row.fault, doubtful, breaks: true };
  }
}

/** Reads on until the field that is open ends, and keeps the lines. `ended`: it does not, up to the end of the table. */
async function heldRow(
  held: Line[],
  next: () => Promise<Line | null>,
  form: Form,
): Promise<{ whole: string | Refusal } | { fault: Refusal; ended: boolean }> {
  let refusal = refusalOf(held[0]!);
  let length = textOf(held[0]!)!.length;
  for (;;) {
    const one = await next();
    if (one === null) return { fault: damaged(endless), ended: true };
    refusal ??= refusalOf(one);
    const text = textOf(one);
    // Too long a line: what it holds is not known.
    if (text === null) return { whole: refusal! };
    held.push(one);
    if ((length += text.length + 1) > maxRecordBytes) return { fault: tooLarge, ended: false };
    const found = endOf(text, true, form);
    if (found === open) continue;
    if (found !== closed) return { fault: damaged(found), ended: false };
    const whole = held.flatMap(({ line }) => (typeof line === 'string' ? [line] : [])).join('\n');
    return { whole: refusal ?? whole.replace(/\r$/, '') };
  }
}

const [open, closed] = ['open', 'closed'];
const astray = 'a quote stands in a field that does not begin with one';
const endless = 'a field in quotes has no end';
const tooLarge: Refusal = {
  reason: 'too_large',
  detail: `found a row of more than ${maxRecordBytes} bytes; split it`,
};

function damaged(detail: string): Refusal {
  return { reason: 'damaged', detail: `${detail}; write a quote inside quotes twice` };
}

function refusalOf({ line }: Line): Refusal | null {
  return typeof line === 'string' ? null : line;
}

/** A line as far as its quotes go; null where it was too long to keep. */
function textOf({ line, seen }: Line): string | null {
  const text = typeof line === 'string' ? line : (seen ?? null);
  return text === null ? null : text.replace(/\r$/, '');
}

/** Whether a quoted field is open at the end of the line, or what is wrong in it. */
function endOf(line: string, isOpen: boolean, { separator, quotes }: Form): string {
  if (!quotes || (!isOpen && !line.includes('"'))) return closed;
  let inQuotes = isOpen;
  for (let at = 0; ;) {
    if (inQuotes) {
      const end = line.indexOf('"', at);
      if (end < 0) return open;
      at = end + 1;
      if (line[at] === '"') {
        at += 1;
        continue;
      }
      if (at === line.length) return closed;
      if (line[at] !== separator) return 'a field goes on behind its quotes';
      inQuotes = false;
      at += 1;
    }
    if (line[at] === '"') {
      inQuotes = true;
      at += 1;
      continue;
    }
    const next = line.indexOf(separator, at);
    if (line.slice(at, next < 0 ? line.length : next).includes('"')) return astray;
    if (next < 0) return closed;
    at = next + 1;
  }
}

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
