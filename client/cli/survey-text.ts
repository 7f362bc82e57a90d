/** What a look at a folder found, in lines for people. */
import stringWidth from 'string-width';
import type { Survey } from '../../config/survey.ts';
import { count, plain } from './text.ts';

type NotRead = Survey['notRead'][number];

/** `1,204 files, zh-Hant 81 %, en 19 %`. */
export function headline({ numFiles, languages, textBytes }: Survey): string {
  const shares = languages
    .map(({ language, textBytes: bytes }) => ({ language, share: (bytes / textBytes) * 100 }))
    .filter(({ share }) => share >= 0.5);
  const said = shares.map(({ language, share }) => `${language} ${Math.round(share)} %`);
  return [`${count(numFiles)} ${numFiles === 1 ? 'file' : 'files'}`, ...said].join(', ');
}

/** What is read, a line a fact. */
export function readLines(survey: Survey, numTokens: number): string[] {
  const formats = survey.formats.map(
    ({ format, numFiles, numDocuments }) =>
      `${count(numFiles)} .${format}${numDocuments > numFiles ? ` (${count(numDocuments)} records)` : ''}`,
  );
  const documents = survey.numDocuments === 1 ? 'document' : 'documents';
  return [
    `read         ${formats.join(', ')}`,
    `text         ${count(survey.numDocuments)} ${documents}, ${size(survey.textBytes)}, about ${roughly(numTokens)} tokens`,
  ];
}

/** What is left out, a line a reason, with as many names as have room. */
export function notReadLines({ notRead, hidden }: Survey, columns = Infinity): string[] {
  const lines = notRead.map((group) => {
    const said = [3, 2, 1].map((number) => notReadLine(group, number));
    return said.find((line) => stringWidth(line) <= columns) ?? said.at(-1)!;
  });
  if (hidden === 0) return lines;
  const names = hidden === 1 ? 'name that starts' : 'names that start';
  return [...lines, `left alone   ${count(hidden)} hidden ${names} with a dot`];
}

function notReadLine(group: NotRead, numNames: number): string {
  const names = group.examples.slice(0, numNames).map((name) => shortened(plain(name)));
  const others = group.count - names.length;
  const more = others > 0 ? ` and ${count(others)} more` : '';
  return `not read     ${count(group.count)} ${why(group)}: ${names.join(', ')}${more}`;
}

/** What to write where records hold their text in another field; null: none do. */
export function textFieldHint({ notRead }: Survey): string | null {
  const missing = notRead.find(({ reason }) => reason === 'no_text');
  if (missing === undefined) return null;
  const fields = /^found (.*); expected a text /.exec(missing.detail)?.[1]?.split(', ') ?? [];
  if (fields.length === 0) return null;
  const some = fields.slice(0, 5).map(plain).join(', ');
  return `records and tables have the fields ${some}; name the one that holds the text with --text-field`;
}

/** What it is and why, after its number. */
function why({ reason, kind, count: number, detail }: NotRead): string {
  const one = number === 1;
  switch (kind) {
    case 'image':
      return one ? 'picture, needs OCR' : 'pictures, need OCR';
    case 'office':
      return `office ${one ? 'file' : 'files'}, not read (save as .docx or PDF, sheets as .csv with a column text)`;
    case 'other':
      return `${one ? 'file' : 'files'} of another kind`;
    case null:
      if (reason === 'no_text') {
        return `${one ? 'record' : 'records'} without the field that holds the text (${plain(detail)})`;
      }
      return reasons[reason] ?? `${reason} (${plain(detail)})`;
  }
}

const reasons: Record<string, string> = {
  binary: 'binary, no text',
  undecodable: 'in no encoding that is known (save as UTF-8)',
  ambiguous_encoding: 'in one of several encodings (save as UTF-8)',
  damaged: 'damaged or cut off',
  encrypted: 'locked by a password',
  needs_ocr: 'scanned PDF, needs OCR',
  pages_need_ocr: 'PDF with scanned pages, which need OCR (its text is read)',
  part_unreadable: 'letter with a part in no encoding that is known (the rest is read)',
  bomb: 'unpacking to too much',
  empty: 'without text',
  too_large: 'too large (split)',
  symbolic_link: 'links, not followed',
  invalid_json: 'not JSON',
  unreadable: 'closed to you (correct the permissions)',
  not_a_file: 'not ordinary files',
};

/** 34.1 MB. */
export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['KB', 'MB', 'GB', 'TB'];
  let value = bytes / 1000;
  let unit = 0;
  for (; value >= 999.5 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** 2.1M, 340K: a figure that claims no more than it knows. */
export function roughly(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toFixed(1)}G`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)}M`;
  return value >= 1000 ? `${Math.round(value / 1000)}K` : String(value);
}

function shortened(name: string): string {
  return name.length <= 48 ? name : `…${name.slice(-47)}`;
}
