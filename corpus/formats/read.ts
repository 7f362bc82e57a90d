/** Which reader reads which file: the one table of formats. */
import type { Refusal } from '../decode.ts';
import { readArrow } from './arrow.ts';
import { readCsv } from './csv.ts';
import { readDocx } from './docx.ts';
import { readEpub } from './epub.ts';
import { readJson } from './json.ts';
import { readJsonLines } from './lines.ts';
import { readLetter, readMbox } from './mail.ts';
import { packingOf, nameOf } from './names-of-formats.ts';
import { readParquet } from './parquet.ts';
import { readPdf } from './pdf.ts';
import { readTar } from './tar.ts';
import { readHtml, readMarkdownFile, readPlain } from './text.ts';
import {
  cleanDetail,
  Refused,
  type Bytes,
  type FileRecord,
  type Reader,
  type Reading,
} from './types.ts';
import { unpacked } from './unpack.ts';
import { readWarc } from './warc.ts';
import { readZip } from './zip.ts';
import type { FormatName } from './names-of-formats.ts';

const readers: Record<FormatName, Reader> = {
  txt: readPlain,
  md: readMarkdownFile,
  html: readHtml,
  json: readJson,
  jsonl: readJsonLines,
  csv: readCsv,
  tsv: readCsv,
  parquet: readParquet,
  arrow: readArrow,
  warc: readWarc,
  pdf: readPdf,
  docx: readDocx,
  epub: readEpub,
  mbox: readMbox,
  eml: readLetter,
  zip: readZip,
  tar: readTar,
};

/** The records of a file of that name. Throws a Refused for what is wrong with the whole of it. */
export async function* readFormat(
  name: string,
  bytes: Bytes,
  reading: Reading,
): AsyncGenerator<FileRecord> {
  const format = nameOf(name);
  if (format === null) {
    yield { position: null, ...unknownType };
    return;
  }
  const packing = packingOf(name);
  const plain = packing === null ? bytes : unpacked(packing, bytes, reading.account);
  yield* readers[format](name, plain, { ...reading, member: readFormat });
}

export const unknownType: Refusal = {
  reason: 'unknown_type',
  detail: 'expected text, a table, a document, mail, web pages or an archive of them',
};

/** As `readFormat`, with what goes wrong as a last record. */
export async function* readRecords(
  name: string,
  bytes: Bytes,
  reading: Reading,
): AsyncGenerator<FileRecord> {
  try {
    yield* readFormat(name, bytes, reading);
  } catch (error) {
    if (error instanceof Refused) yield { position: null, ...error.refusal };
    else if (isSystemError(error)) throw error;
    else yield { position: null, reason: 'damaged', detail: cleanDetail(error) };
  }
}

/** Reading itself failed, which another try may mend: that is no fault of the document. */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}
