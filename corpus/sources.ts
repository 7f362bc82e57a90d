/** Sources of the pipeline file to documents: files, folders, and the text that npm packages ship. */
import { realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Document, DroppedDocument } from '../config/manifests.ts';
import type { Source } from '../config/pipeline.ts';
import type { Refusal } from './decode.ts';
import { CorpusError } from './errors.ts';
import { changed, listFiles, readStable, type FoundFile } from './files.ts';
import { digestOf } from './order.ts';
import { readRecords } from './records.ts';

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
}

export type SourceItem = { document: Document } | { dropped: DroppedDocument };

/** Finds a source's files. Throws a CorpusError when there is nothing to read. */
export async function openSource(
  source: Source,
  from: { baseDir: string; projectDir: string },
): Promise<OpenSource> {
  const name = 'package' in source ? source.package : source.path;
  const place =
    'package' in source
      ? await packageFolder(source.package, from.projectDir)
      : path.resolve(from.baseDir, source.path);
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
  const files = await listFiles(place, source.include).catch((error: NodeJS.ErrnoException) => {
    throw new CorpusError(
      `data.sources: found ${error.code} reading the folder ${name}, expected a readable one. Correct its permissions.`,
    );
  });
  if (files.length === 0) {
    throw new CorpusError(
      `data.sources: found no file in ${name} that matches include "${source.include}". ` +
        'Put documents there or correct the glob.',
    );
  }
  return { ...shared, root: place, files, single: false };
}

/**
 * The documents of a source, in order, each problem as a dropped document. `onFile` is called after each file.
 * Throws a CorpusError where a file changes all the time: what was read of it would be nobody's text.
 */
export async function* readSource(
  source: OpenSource,
  onFile: (numFiles: number) => void = () => {},
): AsyncGenerator<SourceItem> {
  for (const [index, file] of source.files.entries()) {
    const place = source.single ? source.name : `${source.name}/${file.path}`;
    const read = file.refusal ?? (await readStable(path.join(source.root, file.path)));
    if (read === changed) {
      throw new CorpusError(
        `data.sources: ${place} changed each time it was read, expected a file at rest. ` +
          'Start the run again when nothing writes to it, or leave it out by include.',
      );
    }
    if (!('bytes' in read)) {
      yield { dropped: refused(place, read) };
    } else if (read.bytes.length === 0) {
      yield { dropped: refused(place, { reason: 'empty', detail: '0 bytes' }) };
    } else {
      for await (const record of readRecords(file.path, read.bytes, source.textField)) {
        const origin = record.position === null ? place : `${place}#${record.position}`;
        if ('reason' in record) {
          const { reason, detail } = record;
          yield { dropped: refused(origin, { reason, detail }) };
        } else {
          const { text, metadata } = record;
          const id = digestOf(source.name, text).slice(0, 32);
          yield { document: { id, source: origin, text, metadata } };
        }
      }
    }
    onFile(index + 1);
  }
}

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
