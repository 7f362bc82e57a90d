/** A git work tree as a source: the files that it tracks, each with its licence. */
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { open, readlink } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { CorpusError } from './errors.ts';
import type { FoundFile } from './files.ts';
import { nameOf } from './formats/names-of-formats.ts';
import {
  isLicenseFile,
  licenseOfFolder,
  reuseAnnotations,
  spdxOf,
  type StatedLicense,
} from './licenses.ts';
import { byCodeUnits } from './order.ts';

const run = promisify(execFile);
const maxListBytes = 256 * 1024 * 1024;
const headBytes = 4096;
const licenseBytes = 64 * 1024;
const maxAnnotationBytes = 1024 * 1024;
const maxLinks = 8;

export interface WorkTree {
  files: FoundFile[];
  /** The licence of a file as the repository says it; null where it does not. */
  licenseOf: (file: string) => Promise<string | null>;
}

/** The tracked files that match the glob. Names that start with a dot are left alone. */
export async function openWorkTree(folder: string, include: string): Promise<WorkTree> {
  // A repository's own configuration may name programs; none of them is asked.
  const safe = ['-c', 'core.fsmonitor=false', '-c', 'core.hooksPath=/dev/null'];
  const { stdout } = await run('git', [...safe, '-C', folder, 'ls-files', '-z', '--stage'], {
    maxBuffer: maxListBytes,
    encoding: 'utf8',
  }).catch((error: Error & { stderr?: string }) => {
    const said = (error.stderr ?? error.message).trim().split('\n')[0];
    throw new CorpusError(
      `data.sources: git cannot list ${folder} (${said}), expected a work tree. Correct the path, or give it as path.`,
    );
  });
  const tracked = stdout
    .split('\0')
    .flatMap((line) => {
      const [, mode, name] = /^(\d{6}) [0-9a-f]+ \d\t([^]+)$/.exec(line) ?? [];
      return mode === undefined || name === undefined ? [] : [{ mode, name }];
    })
    .toSorted((a, b) => byCodeUnits(a.name, b.name));
  const names = new Set(tracked.map(({ name }) => name));
  const files = tracked
    .filter(({ name }) => !name.split('/').some((part) => part.startsWith('.')))
    .filter(({ name }) => path.matchesGlob(name, include) && !name.endsWith('.license'))
    .map(({ mode, name }): FoundFile => ({ path: name, refusal: refusalOf(mode) }));
  return { files, licenseOf: licenses(folder, names) };
}

/** The name to read a tracked file by: what is no document of its own kind is read as the text that it is. */
export function readAs(name: string): string {
  const format = nameOf(name);
  const data = new Set(['json', 'jsonl', 'csv', 'tsv', 'txt']);
  return format === null || (data.has(format) && !/\.(gz|zst)$/i.test(name)) ? `${name}.txt` : name;
}

function refusalOf(mode: string): FoundFile['refusal'] {
  if (mode.startsWith('100')) return null;
  return mode === '120000'
    ? { reason: 'symbolic_link', detail: 'links are not followed' }
    : { reason: 'not_a_file', detail: 'another repository; give it as a source of its own' };
}

/** A file's own header first, then one beside it, then REUSE.toml, then the nearest LICENSE above. */
function licenses(folder: string, names: ReadonlySet<string>): WorkTree['licenseOf'] {
  const read = async (name: string, length = headBytes): Promise<string> =>
    names.has(name) ? beginningOf(path.join(folder, name), length).catch(() => '') : '';
  const annotations = read('REUSE.toml', maxAnnotationBytes).then(reuseAnnotations);
  const nearest = new Map<string, Promise<string | null>>();
  const stated = new Map<string, string[]>();
  for (const name of names) {
    const place = path.posix.dirname(name);
    if (isLicenseFile(path.posix.basename(name)))
      stated.set(place, [...(stated.get(place) ?? []), name]);
  }
  // A licence that is not known ends the search too: that of a folder above would be another one.
  const ofFolder = async (place: string): Promise<string | null> => {
    const files: StatedLicense[] = [];
    for (const file of stated.get(place) ?? [])
      files.push({ file, text: await read(await targetOf(folder, names, file), licenseBytes) });
    const found = licenseOfFolder(files);
    if (found !== null) return found;
    return place === '.' ? null : known(path.posix.dirname(place));
  };
  const known = async (place: string): Promise<string | null> => {
    const found = nearest.get(place) ?? ofFolder(place);
    nearest.set(place, found);
    return found;
  };
  const ofFile = async (name: string): Promise<string | null> => {
    const own = spdxOf(await read(name), name);
    const beside = own ?? spdxOf(await read(`${name}.license`));
    if (beside !== null) return beside;
    const annotated = (await annotations).find(({ paths }) =>
      paths.some((glob) => path.matchesGlob(name, glob)),
    );
    return annotated?.license ?? (await known(path.posix.dirname(name)));
  };
  // A file of many records is asked about for each, one after the other.
  let last: { name: string; license: Promise<string | null> } | null = null;
  return async (name) => {
    if (last?.name !== name) last = { name, license: ofFile(name) };
    return last.license;
  };
}

/** What a tracked link leads to, as far as that is tracked too; what leads out of the tree stays a link. */
async function targetOf(folder: string, names: ReadonlySet<string>, name: string): Promise<string> {
  let file = name;
  for (let links = 0; links < maxLinks; links += 1) {
    const target = await readlink(path.join(folder, file)).catch(() => null);
    if (target === null) return file;
    const next = path.posix.normalize(path.posix.join(path.posix.dirname(file), target));
    if (path.posix.isAbsolute(target) || !names.has(next)) return file;
    file = next;
  }
  return file;
}

/** Of a file itself: a link that is tracked could lead out of the tree. */
async function beginningOf(file: string, length: number): Promise<string> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await handle.close();
  }
}
