/**
 * A look at a folder before anything is started: the same readers as ingest's, so that what is counted here
 * is what a run will find.
 */
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Document } from '../config/manifests.ts';
import type { Survey, SurveyRequest } from '../config/survey.ts';
import { listFiles, type FoundFile } from './files.ts';
import { Judge } from './foresee.ts';
import { formatOf, spellingOf } from './formats/names-of-formats.ts';
import { readAs } from './git.ts';
import { languageOf } from './languages.ts';
import { byCodeUnits } from './order.ts';
import { isTaken, openSource, readSource, type OpenSource } from './sources.ts';

const maxExamples = 5;
/** Different values of a field that are told apart; more are as good as all different. */
const maxValues = 50_000;
/** Fields that hold the text where none is called `text`, the likeliest first. */
const otherTextFields = [
  'content',
  'body',
  'article',
  'markdown',
  'full_text',
  'document',
  'story',
];

const images = new Set('png jpg jpeg tif tiff gif webp bmp heic heif jp2 djvu'.split(' '));
const office = new Set('doc odt rtf ppt pptx odp xls xlsx ods mobi tex rst xml pages'.split(' '));

type Kind = Survey['notRead'][number]['kind'];
type Asked = Pick<SurveyRequest, 'judge' | 'fields'>;
type Progress = (done: number, total: number) => void;

/** Reads every file under the folder, those that git tracks, or the one file. Throws a CorpusError where no reading can say what is there. */
export async function surveyFolder(
  { folder, git, name = folder, include, textField: given, ...asked }: SurveyRequest,
  onProgress: Progress = () => {},
): Promise<Survey> {
  const open = async (textField: string): Promise<OpenSource> => {
    const place = git === true ? { git: folder } : { path: folder };
    const source = { ...place, include, license: 'unknown', textField };
    return { ...(await openSource(source, { baseDir: folder, projectDir: folder })), name };
  };
  if (git === true) return look(await open(given ?? 'text'), 0, asked, onProgress);
  const state = await stat(folder).catch(() => null);
  if (state?.isFile() === true) return look(await open(given ?? 'text'), 0, asked, onProgress);
  const hidden = await countHidden(folder);
  if ((await listFiles(folder, include)).length === 0)
    return new Tally(asked).result(0, hidden, 'text');
  const first = await look(await open(given ?? 'text'), hidden, asked, onProgress);
  const field = given === undefined ? otherTextField(first) : null;
  return field === null ? first : look(await open(field), hidden, asked, onProgress);
}

async function look(
  source: OpenSource,
  hidden: number,
  asked: Asked,
  onProgress: Progress,
): Promise<Survey> {
  const tally = new Tally(asked);
  for (const [index, file] of source.files.entries()) {
    await lookAt(source, file, tally);
    onProgress(index + 1, source.files.length);
  }
  return tally.result(source.files.length, hidden, source.textField);
}

async function lookAt(source: OpenSource, file: FoundFile, tally: Tally): Promise<void> {
  const place = path.join(source.root, file.path);
  const state = file.refusal === null ? await stat(place).catch(() => null) : null;
  tally.bytes += state?.size ?? 0;
  const format = formatOf(source.licenseOf === undefined ? file.path : readAs(file.path));
  if (format === null && state?.isFile() === true && state.size > 0) {
    // Its content is not looked at by ingest either: a film need not be read to be left out.
    tally.refuse('unknown_type', kindOf(file.path), file.path, spellingOf(file.path));
    return;
  }
  let numDocuments = 0;
  for await (const item of readSource({ ...source, files: [file] })) {
    if ('document' in item) {
      numDocuments += 1;
      tally.document(format!, item.document);
    } else {
      const { reason, detail, source: origin } = item.dropped;
      tally.refuse(reason, null, origin.slice(source.name.length + 1), detail);
    }
  }
  if (numDocuments > 0) tally.file(format!, spellingOf(file.path));
}

function kindOf(name: string): Kind {
  const ending = spellingOf(name).toLowerCase();
  if (images.has(ending)) return 'image';
  return office.has(ending) ? 'office' : 'other';
}

/** The field to take where records have text under another name. */
function otherTextField(survey: Survey): string | null {
  const missing = survey.notRead.find(({ reason }) => reason === 'no_text');
  const hasText = survey.formats.some(({ format }) => /^(json|csv|tsv|parquet|arrow)/.test(format));
  if (missing === undefined || hasText) return null;
  const fields = /^found (.*); expected a text /.exec(missing.detail)?.[1]?.split(', ') ?? [];
  return otherTextFields.find((field) => fields.includes(field)) ?? null;
}

/** Names that start with a dot; what lies in a hidden folder counts with it as one. */
async function countHidden(folder: string): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  let hidden = 0;
  for (const entry of entries) {
    if (entry.name.startsWith('.')) hidden += 1;
    else if (entry.isDirectory()) hidden += await countHidden(path.join(folder, entry.name));
  }
  return hidden;
}

interface Field {
  numDocuments: number;
  values: Set<string>;
  /** Met when there were too many values to tell apart. */
  numOthers: number;
  characters: number;
  words: boolean;
  example: string;
}

class Tally {
  bytes = 0;
  readonly #formats = new Map<string, Omit<Survey['formats'][number], 'format'>>();
  readonly #endings = new Set<string>();
  readonly #languages = new Map<string, Omit<Survey['languages'][number], 'language'>>();
  readonly #refused = new Map<string, Survey['notRead'][number]>();
  readonly #fields = new Map<string, Field>();
  readonly #judge: { sample: number; of: Judge } | null;
  readonly #asked: { names: string[]; numAnswering: number }[];

  file(format: string, ending: string): void {
    this.#format(format).numFiles += 1;
    this.#endings.add(ending);
  }

  constructor({ judge, fields = [] }: Asked) {
    this.#judge = judge === undefined ? null : { sample: judge.sample, of: new Judge(judge) };
    this.#asked = fields.map((names) => ({ names, numAnswering: 0 }));
  }

  document(format: string, document: Document): void {
    const { text, metadata } = document;
    const bytes = Buffer.byteLength(text);
    const language = languageOf(text);
    const spoken = this.#languages.get(language) ?? { numDocuments: 0, textBytes: 0 };
    this.#languages.set(language, spoken);
    for (const total of [this.#format(format), spoken]) {
      total.numDocuments += 1;
      total.textBytes += bytes;
    }
    for (const [name, value] of Object.entries(metadata)) {
      if (value !== null && value !== '') this.#value(name, value);
    }
    for (const asked of this.#asked) {
      if (asked.names.every((name) => (metadata[name] ?? '') !== '')) asked.numAnswering += 1;
    }
    if (this.#judge !== null && isTaken({ document }, this.#judge.sample))
      this.#judge.of.add(document);
  }

  refuse(reason: string, kind: Kind, name: string, detail: string): void {
    const key = `${reason} ${kind}`;
    const group = this.#refused.get(key) ?? { reason, kind, count: 0, detail, examples: [] };
    this.#refused.set(key, group);
    group.count += 1;
    if (group.examples.length < maxExamples) group.examples.push(name);
  }

  result(numFiles: number, hidden: number, textField: string): Survey {
    const byText = (a: { textBytes: number }, b: { textBytes: number }) =>
      b.textBytes - a.textBytes;
    const formats = [...this.#formats].map(([format, total]) => ({ format, ...total }));
    const languages = [...this.#languages].map(([language, total]) => ({ language, ...total }));
    const sum = (read: (total: (typeof formats)[number]) => number) =>
      formats.reduce((total, format) => total + read(format), 0);
    return {
      numFiles,
      bytes: this.bytes,
      formats: formats.toSorted((a, b) => byText(a, b) || byCodeUnits(a.format, b.format)),
      endings: [...this.#endings].toSorted(byCodeUnits),
      numDocuments: sum((format) => format.numDocuments),
      textBytes: sum((format) => format.textBytes),
      languages: languages.toSorted((a, b) => byText(a, b) || byCodeUnits(a.language, b.language)),
      notRead: [...this.#refused.values()].toSorted(
        (a, b) => b.count - a.count || byCodeUnits(a.reason, b.reason),
      ),
      hidden,
      textField,
      fields: [...this.#fields]
        .map(([field, { values, numOthers, characters, ...rest }]) => ({
          field,
          ...rest,
          numValues: values.size + numOthers,
          meanLength: characters / rest.numDocuments,
        }))
        .toSorted((a, b) => byCodeUnits(a.field, b.field)),
      ...(this.#judge !== null && { foreseen: this.#judge.of.result() }),
      ...(this.#asked.length > 0 && {
        numAnswering: this.#asked.map(({ numAnswering }) => numAnswering),
      }),
    };
  }

  #format(format: string) {
    const total = this.#formats.get(format) ?? { numFiles: 0, numDocuments: 0, textBytes: 0 };
    this.#formats.set(format, total);
    return total;
  }

  #value(name: string, value: unknown): void {
    const text = String(value);
    const field = this.#fields.get(name) ?? {
      numDocuments: 0,
      values: new Set<string>(),
      numOthers: 0,
      characters: 0,
      words: false,
      example: text.slice(0, 80),
    };
    this.#fields.set(name, field);
    field.numDocuments += 1;
    field.characters += text.length;
    field.words ||= typeof value === 'string' && /\p{L}/u.test(value);
    if (field.values.size < maxValues) field.values.add(text.slice(0, 200));
    else field.numOthers += 1;
  }
}
