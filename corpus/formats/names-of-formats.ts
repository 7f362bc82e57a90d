/** The endings of names and the formats that they say. */
import type { Packing } from './unpack.ts';

const endings = {
  txt: ['txt'],
  md: ['md', 'markdown'],
  html: ['html', 'htm', 'xhtml'],
  json: ['json'],
  jsonl: ['jsonl', 'ndjson'],
  csv: ['csv'],
  tsv: ['tsv', 'tab'],
  parquet: ['parquet'],
  arrow: ['arrow'],
  warc: ['warc'],
  pdf: ['pdf'],
  docx: ['docx'],
  epub: ['epub'],
  mbox: ['mbox'],
  eml: ['eml'],
  zip: ['zip'],
  tar: ['tar'],
} as const;
export type FormatName = keyof typeof endings;

/** Formats that may be packed by gzip or zstd as a whole. */
const streamed = new Set<FormatName>(
  'txt md html json jsonl csv tsv warc mbox eml tar'.split(' ') as FormatName[],
);
const packings: Record<string, Packing> = { gz: 'gz', zst: 'zst' };
const short: Record<string, string> = { tgz: 'tar.gz', tzst: 'tar.zst' };
const formats = new Map<string, FormatName>(
  Object.entries(endings).flatMap(([format, names]) =>
    names.map((name): [string, FormatName] => [name, format as FormatName]),
  ),
);

/** Read in the process itself: our own code, in bounded memory. Everything else is read where a crash is contained. */
const ours = new Set<FormatName>(['txt', 'md', 'json', 'jsonl']);

interface Ending {
  format: FormatName;
  packing: Packing | null;
  /** As it is spelt. */
  spelling: string;
}

function endingOf(name: string): Ending | null {
  const parts = /(?:\.([^./]+))?\.([^./]+)$/.exec(name);
  if (parts === null) return null;
  const [, before = '', last = ''] = parts;
  const long = short[last.toLowerCase()];
  if (long !== undefined) {
    return { format: 'tar', packing: packings[long.slice(4)]!, spelling: last };
  }
  const packing = packings[last.toLowerCase()];
  const format = formats.get((packing === undefined ? last : before).toLowerCase());
  if (format === undefined || (packing !== undefined && !streamed.has(format))) return null;
  const spelling = packing === undefined ? last : `${before}.${last}`;
  return { format, packing: packing ?? null, spelling };
}

/** The format that a file's name says, packing apart; null where it is none of ours. */
export function nameOf(name: string): FormatName | null {
  return endingOf(name)?.format ?? null;
}

export function packingOf(name: string): Packing | null {
  return endingOf(name)?.packing ?? null;
}

/** Format and packing, `jsonl.gz`; null where it is none of ours. */
export function formatOf(name: string): string | null {
  const ending = endingOf(name);
  if (ending === null) return null;
  return ending.packing === null ? ending.format : `${ending.format}.${ending.packing}`;
}

/** The ending as it is spelt: `TXT`, `jsonl.gz`. */
export function spellingOf(name: string): string {
  return endingOf(name)?.spelling ?? /\.([^./]+)$/.exec(name)?.[1] ?? '';
}

/** Whether a file of that name is read in a thread of its own. */
export function isContained(name: string): boolean {
  const format = nameOf(name);
  return format !== null && !ours.has(format);
}

/** Every ending that is read, the packed ones too. */
export const readableEndings: readonly string[] = Object.entries(endings).flatMap(
  ([format, names]) =>
    names.flatMap((name) =>
      streamed.has(format as FormatName) ? [name, `${name}.gz`, `${name}.zst`] : [name],
    ),
);
