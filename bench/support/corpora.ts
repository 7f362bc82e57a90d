/** Texts of the public data, laid out as folders of documents that a pipeline reads: the same files every time. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { z } from 'zod';

/** Characters of a part of a novel, at most but for its last paragraph. */
const partLength = 40_000;
/** Text of English law, in bytes, and of its longest document. */
const lawBytes = 300_000;
const longestLaw = 60_000;

const lawSchema = z.object({ id: z.string(), title: z.string(), text: z.string() });
const datedLawSchema = lawSchema.extend({ updated: z.string() });
const pairSchema = z.object({ chosen: z.string() });

interface CorpusSource {
  title: string;
  /** In the folder of public data. */
  source: string;
  /** Share of the documents that is held out: about 60,000 tokens, for a figure that is steady and soon had. */
  heldOut: number;
  write: (source: string, folder: string) => void;
}

/** Unlike in language, form and size. */
export const corpora = {
  novels: {
    title: 'English novels',
    source: 'pretrain/novels',
    heldOut: 0.015,
    write: writeNovels,
  },
  'law-zh': {
    title: 'Chinese law',
    source: 'pretrain/tw_law_zh.jsonl.gz',
    heldOut: 0.02,
    write: (source, folder) =>
      writeLines(
        folder,
        linesOf(source).map((line) => lawSchema.parse(line).text),
      ),
  },
  dialogue: {
    title: 'English dialogue',
    source: 'dpo/hh_harmless_a.jsonl.gz',
    heldOut: 0.15,
    write: (source, folder) =>
      writeLines(
        folder,
        linesOf(source).map((line) => pairSchema.parse(line).chosen.trim()),
      ),
  },
  'law-en': {
    title: 'English law',
    source: 'pretrain/tw_law_en.jsonl.gz',
    heldOut: 0.2,
    write: (source, folder) => void writeLaw(source, folder),
  },
} as const satisfies Record<string, CorpusSource>;
export type CorpusName = keyof typeof corpora;

/** Throws where the folder of public data lacks what these corpora are made of. */
export function requireSources(data: string | undefined, names: readonly CorpusName[]): string {
  const needed = [...new Set(names.map((name) => corpora[name].source))];
  const folder = path.resolve(data ?? '');
  const missing = needed.filter(
    (source) => data === undefined || !existsSync(path.join(folder, source)),
  );
  if (missing.length === 0) return folder;
  throw new Error(
    `--data: found no ${missing.join(', ')}, expected a folder with ${needed.join(', ')}. Nothing was started.`,
  );
}

/** Writes the documents of a corpus, unless they lie there. */
export function writeCorpus(name: CorpusName, data: string, folder: string): void {
  if (existsSync(folder)) return;
  mkdirSync(folder, { recursive: true });
  const { source, write } = corpora[name];
  write(path.join(data, source), folder);
}

/** As much English law as anybody would adapt a base to, a file for each statute; returns its bytes. */
export function writeLaw(source: string, folder: string): number {
  mkdirSync(folder, { recursive: true });
  const laws = pick(linesOf(source).map((line) => lawSchema.parse(line)));
  for (const { id, title, text } of laws)
    writeFileSync(path.join(folder, `${id}.txt`), `${title}\n\n${text}`);
  return laws.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
}

/** The same laws, with the day on which each was updated. */
export function pickLaws(source: string): z.infer<typeof datedLawSchema>[] {
  return pick(linesOf(source).map((line) => datedLawSchema.parse(line)));
}

/** The first that fit. */
function pick<Law extends { text: string }>(laws: readonly Law[]): Law[] {
  let bytes = 0;
  return laws.filter(({ text }) => {
    const size = Buffer.byteLength(text);
    if (size > longestLaw || bytes + size > lawBytes) return false;
    bytes += size;
    return true;
  });
}

function linesOf(source: string): unknown[] {
  const lines = textOf(source).split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as unknown);
}

function textOf(file: string): string {
  const content = readFileSync(file);
  return (file.endsWith('.gz') ? gunzipSync(content) : content).toString('utf8');
}

function writeNovels(source: string, folder: string): void {
  for (const name of readdirSync(source).toSorted()) {
    const title = name.slice(0, name.indexOf('.'));
    for (const [index, text] of partsOf(textOf(path.join(source, name))).entries()) {
      writeFileSync(path.join(folder, `${title}-${String(index).padStart(3, '0')}.txt`), text);
    }
  }
}

/** A text in parts that end with a paragraph: whole novels would be too few documents to hold some out. */
export function partsOf(text: string): string[] {
  const parts: string[] = [];
  let part = '';
  for (const paragraph of text.split(/(?<=\n)/)) {
    part += paragraph;
    if (part.length >= partLength) {
      parts.push(part);
      part = '';
    }
  }
  return part.trim() === '' ? parts : [...parts, part];
}

function writeLines(folder: string, texts: readonly string[]): void {
  const lines = texts.map((text) => `${JSON.stringify({ text })}\n`);
  writeFileSync(path.join(folder, 'documents.jsonl'), lines.join(''));
}
