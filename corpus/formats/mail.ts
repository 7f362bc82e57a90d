/** Mail: a letter is a document, and what is attached to it is read as a file of its name would be. */
import type { Attachment } from 'postal-mime';
import { htmlToText } from '../html.ts';
import { bytesOf, whole } from './bytes.ts';
import { isoDate } from './dates.ts';
import { parseLetter, type Letter } from './letter.ts';
import { byteLines } from './lines.ts';
import { readMember } from './member.ts';
import {
  checked,
  maxRecordBytes,
  Refused,
  type Bytes,
  type FileRecord,
  type Metadata,
  type Reading,
} from './types.ts';

/** One letter, .eml. */
export async function* readLetter(
  _name: string,
  bytes: Bytes,
  reading: Reading,
): AsyncGenerator<FileRecord> {
  yield* letter(null, await whole(bytes, maxRecordBytes), reading);
}

/** Letters one after the other, each behind a line `From …`. */
export async function* readMbox(
  _name: string,
  bytes: Bytes,
  reading: Reading,
): AsyncGenerator<FileRecord> {
  let position = 0;
  let lines: Buffer[] = [];
  let length = 0;
  let afterBlank = true;
  const ended = async function* (): AsyncGenerator<FileRecord> {
    if (position === 0) return;
    const content = Buffer.concat(lines);
    const bytesFound = length;
    [lines, length] = [[], 0];
    if (bytesFound > maxRecordBytes) {
      yield { position, reason: 'too_large', detail: `found a letter of ${bytesFound} bytes` };
      return;
    }
    const refusal = reading.onLeaf(`${reading.inside}#${position}`);
    if (refusal !== null) yield { position, ...refusal };
    else yield* letter(position, content, reading);
    reading.onLeaf(reading.inside);
  };
  for await (const { line } of byteLines(bytes)) {
    if (!Buffer.isBuffer(line)) {
      length += maxRecordBytes + 1;
      afterBlank = false;
      continue;
    }
    if (afterBlank && line.toString('latin1', 0, 5) === 'From ') {
      yield* ended();
      position += 1;
      afterBlank = false;
      continue;
    }
    afterBlank = line.length === 0 || (line.length === 1 && line[0] === 0x0d);
    if (position === 0) {
      if (!afterBlank) throw new Refused('damaged', 'does not begin with a line "From …"');
      continue;
    }
    length += line.length + 1;
    if (length > maxRecordBytes) {
      lines = [];
      continue;
    }
    const quoted = /^>+From /.test(line.toString('latin1', 0, 64));
    lines.push(quoted ? line.subarray(1) : line, Buffer.from('\n'));
  }
  yield* ended();
  if (position === 0) yield { position: null, reason: 'empty', detail: 'no letters' };
}

async function* letter(
  position: number | null,
  content: Buffer,
  reading: Reading,
): AsyncGenerator<FileRecord> {
  let parsed: Letter;
  try {
    parsed = await parseLetter(content);
  } catch (error) {
    yield { position, reason: 'damaged', detail: `no letter (${(error as Error).message})` };
    return;
  }
  yield* bodyOf(position, parsed);
  const within =
    position === null ? reading : { ...reading, inside: `${reading.inside}#${position}` };
  for (const [index, attachment] of parsed.attachments.entries()) {
    const { content: attached } = attachment;
    const bytes =
      typeof attached === 'string' ? Buffer.from(attached) : Buffer.from(attached as ArrayBuffer);
    yield* readMember(nameOfAttached(attachment, index), bytesOf(bytes), within);
  }
}

/** What the letter itself says: its plain text where it has one, and that parts of it could not be read. */
function* bodyOf(
  position: number | null,
  { text, html, lost, subject, from, headers }: Letter,
): Generator<FileRecord> {
  const said = text.trim() === '' ? html : text;
  const metadata: Metadata = {};
  if (subject) metadata['subject'] = subject;
  const sender = from?.address ?? from?.name;
  if (sender) metadata['from'] = sender;
  const date = headers.find(({ key }) => key === 'date')?.value;
  if (date) metadata['date'] = isoDate(date) ?? date;
  const plain = said === html ? htmlToText(said).text : said;
  const body = checked(position, plain.replaceAll('\r\n', '\n').trim(), metadata);
  const [first] = lost;
  if (first === undefined) yield body;
  else if ('reason' in body) yield body.reason === 'empty' ? { position, ...first } : body;
  else {
    yield body;
    const parts = lost.length === 1 ? 'a part is' : `${lost.length} parts are`;
    const detail = `${parts} left out (${first.reason}: ${first.detail})`;
    yield { position, reason: 'part_unreadable', detail };
  }
}

/** Without a name it cannot be read, and is dropped as such; a letter needs none. */
function nameOfAttached({ filename, mimeType }: Attachment, index: number): string {
  const name = (filename || `attachment ${index + 1}`).replaceAll(/[/\\\p{Cc}]/gu, '_');
  const isLetter = /^message\/(rfc822|global)$/.test(mimeType);
  return isLetter && !/\.eml$/i.test(name) ? `${name}.eml` : name;
}
