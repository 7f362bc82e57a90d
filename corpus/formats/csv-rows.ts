/** Where the rows of a table end, line by line: quotes alone decide, and what is broken is told apart from what is whole. */
import type { Refusal } from '../decode.ts';
import type { Line } from './lines.ts';
import { maxRecordBytes } from './types.ts';

export interface Form {
  separator: string;
  /** Whether a field may stand in quotes. */
  quotes: boolean;
}

/** `doubtful`: it stands where a broken row may go on. `breaks`: the next ones may belong to what is broken here. */
export interface Row {
  row: string | Refusal;
  doubtful: boolean;
  breaks?: boolean;
}

/**
 * Lines to rows: those in which a quoted field goes on belong together. A row that is broken costs its first line, and what
 * is behind that is read again; no line is looked through more than twice, whatever is broken.
 */
export async function* rowsOf(lines: AsyncIterator<Line>, form: Form): AsyncGenerator<Row> {
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
