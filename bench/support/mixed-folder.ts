/**
 * Makes a folder of 200 mixed files, as an organisation has them: English and Traditional Chinese, in text,
 * Markdown, HTML and JSON lines, from a folder of public texts: `node bench/support/mixed-folder.ts FOLDER DATA`.
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { z } from 'zod';

const lawSchema = z.object({
  id: z.string(),
  title: z.string(),
  category: z.string(),
  level: z.string(),
  updated: z.string(),
  text: z.string(),
});
type Law = z.infer<typeof lawSchema>;

/** What the folder is made of, in the folder of public texts. */
export const neededFiles = ['tw_law_zh.jsonl.gz', 'tw_law_en.jsonl.gz', 'c4_demo.jsonl'] as const;

const numTexts = 80;
const numMarkdown = 60;
const numPages = 40;
const numJsonLines = 20;
const recordsAFile = 30;

export interface MixedFolder {
  numFiles: number;
  numRecords: number;
  bytes: number;
}

/** The files that are not there, for a sentence that says so. */
export function missingFiles(data: string): string[] {
  return neededFiles.filter((name) => !existsSync(path.join(data, name)));
}

/** Writes the same 200 files from the same texts every time. */
export async function makeMixedFolder(folder: string, data: string): Promise<MixedFolder> {
  const [zh, en] = await Promise.all([
    laws(path.join(data, 'tw_law_zh.jsonl.gz')),
    laws(path.join(data, 'tw_law_en.jsonl.gz')),
  ]);
  const web = (await readFile(path.join(data, 'c4_demo.jsonl'), 'utf8'))
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => z.object({ text: z.string() }).parse(JSON.parse(line)).text);

  const files: { name: string; content: string }[] = [];
  for (let index = 0; index < numTexts; index += 1) {
    const content =
      index % 2 === 0 ? web.slice(index * 3, index * 3 + 6).join('\n\n') : next(zh).text;
    files.push({ name: `text/${number(index)}.txt`, content });
  }
  for (let index = 0; index < numMarkdown; index += 1) {
    files.push({
      name: `notes/${number(index)}.md`,
      content: markdown(next(index % 2 === 0 ? en : zh)),
    });
  }
  for (let index = 0; index < numPages; index += 1) {
    files.push({
      name: `pages/${number(index)}.html`,
      content: page(next(index % 2 === 0 ? zh : en)),
    });
  }
  for (let index = 0; index < numJsonLines; index += 1) {
    const records = Array.from({ length: recordsAFile }, () => next(zh));
    const lines = records.map(({ title, category, level, updated, text }) =>
      JSON.stringify({ title, category, level, updated, text }),
    );
    files.push({ name: `records/${number(index)}.jsonl`, content: `${lines.join('\n')}\n` });
  }

  let bytes = 0;
  for (const { name, content } of files) {
    const file = path.join(folder, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, content);
    bytes += Buffer.byteLength(content);
  }
  return { numFiles: files.length, numRecords: numJsonLines * recordsAFile, bytes };
}

async function laws(file: string): Promise<Law[]> {
  const lines = gunzipSync(await readFile(file))
    .toString('utf8')
    .split('\n');
  return lines
    .filter((line) => line.trim() !== '')
    .map((line) => lawSchema.parse(JSON.parse(line)))
    .toReversed();
}

function next(laws: Law[]): Law {
  const law = laws.pop();
  if (law === undefined) throw new Error('mixed folder: found too few laws for 200 files');
  return law;
}

function number(index: number): string {
  return String(index + 1).padStart(3, '0');
}

function markdown({ title, category, level, updated, text }: Law): string {
  const front = { title, category, level, updated };
  const fields = Object.entries(front).map(
    ([field, value]) => `${field}: ${JSON.stringify(value)}`,
  );
  return `---\n${fields.join('\n')}\n---\n\n# ${title}\n\n${text}\n`;
}

function page({ title, text }: Law): string {
  const escape = (part: string) =>
    part.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  const lines = text.split(/\r?\n/).map((line) => `<p>${escape(line)}</p>`);
  return (
    `<!doctype html>\n<html><head><meta charset="utf-8"><title>${escape(title)}</title>` +
    `<style>p { margin: 0 }</style></head>\n<body><nav>Home</nav><h1>${escape(title)}</h1>\n` +
    `${lines.join('\n')}\n</body></html>\n`
  );
}

if (import.meta.main) {
  const [folder, data] = process.argv.slice(2);
  if (folder === undefined || data === undefined) {
    process.stderr.write('node bench/support/mixed-folder.ts FOLDER DATA\n');
    process.exitCode = 2;
  } else {
    const missing = missingFiles(data);
    if (missing.length > 0) {
      process.stderr.write(
        `${data}: found no ${missing.join(', ')}, expected a folder with them.\n`,
      );
      process.exitCode = 2;
    } else process.stdout.write(`${JSON.stringify(await makeMixedFolder(folder, data))}\n`);
  }
}
