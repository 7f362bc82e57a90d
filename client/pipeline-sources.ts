/** Mistakes of a pipeline file about the files, folders and packages that it names: what is not there, and what is near. */
import * as fs from 'node:fs';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { nearest } from './nearest.ts';
import { isObject, oneOf, textAt, valueAt } from './pipeline-words.ts';

export interface Folders {
  baseDir: string;
  /** Folder whose `node_modules` holds the packages. */
  projectDir: string;
}

/** Node 20, on which the client of others may run, has none: there the run finds out. */
const { globSync } = fs as Partial<Pick<typeof fs, 'globSync'>>;

type Add = (keys: PropertyKey[], found: string, expected: string, hint?: string | null) => void;

/** Every such mistake of `data`. */
export function checkSources(value: unknown, { baseDir, projectDir }: Folders, add: Add): void {
  for (const [index, source] of listAt(value, 'sources').entries()) {
    const keys = ['data', 'sources', index];
    const field = textAt(source, 'git') === null ? 'path' : 'git';
    const [file, name] = [textAt(source, field), textAt(source, 'package')];
    if (file !== null && name === null) {
      const place = path.resolve(baseDir, file);
      if (existsSync(place)) checkInclude(source, place, [...keys, field], add);
      else {
        const hint = hintFor(file, baseDir);
        add([...keys, field], JSON.stringify(file), 'a file or folder that exists', hint);
      }
    } else if (name !== null && file === null) {
      const place = packageFolder(name, projectDir);
      if (place !== null) checkInclude(source, place, [...keys, 'package'], add);
      else {
        const hint = `Install it: npm install ${name}.`;
        add([...keys, 'package'], JSON.stringify(name), 'an npm package that is installed', hint);
      }
    }
  }
  for (const [index, source] of listAt(value, 'conversations').entries()) {
    const keys = ['data', 'conversations', index, 'path'];
    checkFiles(textAt(source, 'path'), '.json, .jsonl or .jsonl.gz', keys, { baseDir, add });
  }
  for (const [index, pattern] of listAt(value, 'decontaminate').entries()) {
    const keys = ['data', 'decontaminate', index];
    checkFiles(pattern, '.json, .jsonl, .csv or .txt, also .gz', keys, { baseDir, add });
  }
}

/** A path or glob that files are read by. */
function checkFiles(
  pattern: unknown,
  endings: string,
  keys: PropertyKey[],
  { baseDir, add }: { baseDir: string; add: Add },
): void {
  if (typeof pattern !== 'string' || pattern === '' || globSync === undefined) return;
  const isFile = (file: string): boolean =>
    statSync(path.resolve(baseDir, file), { throwIfNoEntry: false })?.isFile() === true;
  if (globSync(pattern, { cwd: baseDir }).some(isFile)) return;
  const place = path.resolve(baseDir, pattern);
  const isFolder = existsSync(place) && statSync(place).isDirectory();
  const found = `${JSON.stringify(pattern)}, ${isFolder ? 'a folder' : 'which no file matches'}`;
  const inside = `Did you mean ${pattern.replace(/\/?$/, '/')}*.jsonl?`;
  const hint = isFolder ? inside : hintFor(pattern, baseDir);
  add(keys, found, `the path or a glob of files that are there (${endings})`, hint);
}

/** What was probably meant by a path at which nothing is. */
function hintFor(file: string, baseDir: string): string {
  if (/^~(?=$|[/\\])/.test(file)) {
    return `~ is read as a name here. Write ${path.join(homedir(), file.slice(1))}.`;
  }
  const slashed = file.replaceAll('\\', '/');
  if (slashed !== file && existsSync(path.resolve(baseDir, slashed))) {
    return `Did you mean ${slashed}?`;
  }
  const parent = path.dirname(path.resolve(baseDir, file));
  const near = nearest(path.basename(file), namesIn(parent));
  if (near === null) return 'It is looked for from the folder of the pipeline file.';
  return `Did you mean ${file.slice(0, file.length - path.basename(file).length)}${near}?`;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => !name.startsWith('.'))
      .slice(0, 1000);
  } catch {
    return [];
  }
}

function checkInclude(source: unknown, place: string, keys: PropertyKey[], add: Add): void {
  if (!isObject(source) || !statSync(place).isDirectory()) return;
  const include = source['include'] ?? '**/*';
  if (typeof include !== 'string') return;
  const endings = new Set<string>();
  if (anyMatches(place, '', include, endings)) return;
  const written = source['include'] !== undefined;
  const name = JSON.stringify(source[String(keys.at(-1))]);
  if (!written) {
    add(keys, `${name}, a folder without files`, 'a folder that holds documents');
    return;
  }
  const found = `${JSON.stringify(include)}, which no file in ${name} matches`;
  const some = [...endings].toSorted().slice(0, 8);
  const hint =
    some.length === 0 ? null : `There are ${oneOf(some).replace(/ or (?=\S+$)/, ' and ')} files.`;
  add([...keys.slice(0, -1), 'include'], found, 'a glob of files that are there', hint);
}

/** Names that start with a dot are left alone, as ingest leaves them. Collects the endings of what does not match. */
function anyMatches(root: string, folder: string, include: string, endings: Set<string>): boolean {
  let entries;
  try {
    entries = readdirSync(path.join(root, folder), { withFileTypes: true });
  } catch {
    // Whether it may be read is for the worker to say, which may be another user.
    return true;
  }
  return entries.some((entry) => {
    if (entry.name.startsWith('.')) return false;
    const relative = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) return anyMatches(root, relative, include, endings);
    if (path.matchesGlob(relative, include)) return true;
    const ending = path.extname(entry.name);
    if (ending !== '') endings.add(ending);
    return false;
  });
}

/** As Node.js looks for a package: here, then in each folder above. */
function packageFolder(name: string, projectDir: string): string | null {
  if (!/^(@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*$/.test(name)) return null;
  for (let folder = path.resolve(projectDir); ; folder = path.dirname(folder)) {
    const candidate = path.join(folder, 'node_modules', name);
    if (existsSync(candidate)) return candidate;
    if (folder === path.dirname(folder)) return null;
  }
}

function listAt(value: unknown, key: string): unknown[] {
  const found = valueAt(value, ['data', key]);
  return Array.isArray(found) ? found : [];
}
