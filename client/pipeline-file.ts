/**
 * Reads a pipeline file and finds every mistake in it at once, each with its line, what was found and
 * what is allowed, so that a wrong file costs one round trip and starts nothing.
 */
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import {
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  visit,
  type Document,
  type Node,
  type YAMLMap,
} from 'yaml';
import type { z } from 'zod';
import { pipelineSchema, type Pipeline } from '../config/pipeline.ts';
import { nearest } from './nearest.ts';
import { PipelineFileError, type PipelineFault } from './pipeline-fault.ts';
import { knownPlaces, schemaAt, type Schema } from './schema-tree.ts';

const maxBytes = 256 * 1024;

export interface PipelineFile {
  pipeline: Pipeline;
  /** Absolute path of the file. */
  file: string;
  /** Absolute folder that relative source paths start from. */
  baseDir: string;
}

/** Parses and resolves a pipeline file; throws PipelineFileError with all of its faults. */
export async function readPipelineFile(file: string): Promise<PipelineFile> {
  const absolute = path.resolve(file);
  const text = await readText(file);
  const baseDir = path.dirname(absolute);
  return { pipeline: parsePipeline(text, { file, baseDir }), file: absolute, baseDir };
}

/** Like readPipelineFile for text that is already in memory; sources are looked for under `baseDir`. */
export function parsePipeline(text: string, at: { file: string; baseDir: string }): Pipeline {
  const lines = new LineCounter();
  const document = parseYaml(text, at.file, lines);
  const place = new Places(document, lines);
  const faults: PipelineFault[] = [];
  if (document.errors.some((error) => /stack/i.test(error.message))) {
    throw wholeFault(at.file, tooDeep, 'YAML of a pipeline file');
  }
  for (const error of document.errors) {
    if (error.code === 'DUPLICATE_KEY') continue;
    const { line, col } = lines.linePos(error.pos[0]);
    faults.push({ line: line || 1, column: col || 1, ...yamlFault(error.code, error.message) });
  }
  visit(document, {
    Map(_, map) {
      faults.push(...repeatedKeys(map, place));
    },
  });
  if (document.errors.some((error) => error.code !== 'DUPLICATE_KEY')) {
    throw new PipelineFileError(at.file, faults);
  }
  visit(document, {
    Alias(_, node) {
      const { line, column } = place.of(node);
      const [field, found] = ['', `the alias *${node.source}`];
      const expected = 'values written out (aliases are not read)';
      faults.push({ line, column, field, found, expected, hint: null });
    },
  });
  if (faults.some((fault) => fault.found.startsWith('the alias'))) {
    throw new PipelineFileError(at.file, inOrder(faults));
  }
  const value: unknown = document.toJS();
  if (value === null || value === undefined) {
    throw wholeFault(at.file, 'an empty file', 'the keys version, name and data at least');
  }
  const parsed = pipelineSchema.safeParse(value);
  if (!parsed.success) {
    const found = parsed.error.issues.flatMap((issue) => schemaFaults(issue, value, place));
    faults.push(...withoutEchoes(found));
  }
  faults.push(...meaningFaults(value, parsed.data, at.baseDir, place));
  if (parsed.data === undefined || faults.length > 0) {
    throw new PipelineFileError(at.file, inOrder(faults));
  }
  return parsed.data;
}

async function readText(file: string): Promise<string> {
  const whole = (found: string, expected: string, hint: string | null = null) =>
    wholeFault(file, found, expected, hint);
  const handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    const hint = 'Give the path of one, for example config/pipelines/quickstart.yaml.';
    throw error.code === 'ENOENT'
      ? whole('no such file', 'a pipeline file', hint)
      : whole(`a file that cannot be opened (${error.code})`, 'a readable pipeline file');
  });
  try {
    const stats = await handle.stat();
    if (stats.isDirectory()) throw whole('a folder', 'a pipeline file');
    const buffer = Buffer.alloc(maxBytes + 1);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    if (bytesRead > maxBytes) {
      throw whole(`more than ${maxBytes / 1024} KB`, `a pipeline file of at most that size`);
    }
    const bytes = buffer.subarray(0, bytesRead);
    if (bytes.includes(0)) throw whole('binary content', 'YAML text in UTF-8');
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      throw whole('bytes that are not UTF-8', 'YAML text in UTF-8');
    }
  } finally {
    await handle.close();
  }
}

const tooDeep = 'nesting that is too deep to read';

function wholeFault(file: string, found: string, expected: string, hint: string | null = null) {
  return new PipelineFileError(file, [{ line: 0, column: 0, field: '', found, expected, hint }]);
}

function parseYaml(text: string, file: string, lines: LineCounter): Document.Parsed {
  try {
    return parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  } catch (error) {
    const found = error instanceof RangeError ? tooDeep : String(error);
    throw wholeFault(file, found, 'YAML of a pipeline file');
  }
}

function yamlFault(code: string, message: string): Omit<PipelineFault, 'line' | 'column'> {
  const [found, expected, hint] = {
    TAB_AS_INDENT: ['a tab at the start of a line', 'spaces', null],
    MULTIPLE_DOCS: ['a second document (---)', 'one document', null],
  }[code] ?? [`YAML that cannot be read: ${message.split('\n')[0]}`, 'valid YAML', null];
  return { field: '', found: found!, expected: expected!, hint: hint ?? null };
}

function repeatedKeys(map: YAMLMap, place: Places): PipelineFault[] {
  const firstLines = new Map<string, number>();
  return map.items.flatMap(({ key }) => {
    if (!isScalar(key)) return [];
    const field = String(key.value);
    const { line, column } = place.of(key);
    const first = firstLines.get(field);
    firstLines.set(field, first ?? line);
    if (first === undefined) return [];
    const found = `the key a second time (first on line ${first})`;
    return [{ line, column, field, found, expected: 'every key once', hint: null }];
  });
}

/** Where the nodes of a document stand in its text. */
class Places {
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;
  constructor(document: Document.Parsed, lines: LineCounter) {
    this.#document = document;
    this.#lines = lines;
  }
  of(node: Node | null | undefined): { line: number; column: number } {
    const { line, col } = this.#lines.linePos(node?.range?.[0] ?? 0);
    return { line: line || 1, column: col || 1 };
  }
  /** Place of the key (or list item) at the path; of the nearest parent where the path leads nowhere. */
  at(keys: readonly PropertyKey[]): { line: number; column: number } {
    let node: unknown = this.#document.contents;
    let place = node as Node | null;
    for (const key of keys) {
      if (isMap(node)) {
        const pair = node.items.findLast(
          (item) => isScalar(item.key) && String(item.key.value) === key,
        );
        if (pair === undefined) break;
        if (isPair(pair)) place = pair.key as Node;
        node = pair.value;
      } else if (isSeq(node) && typeof key === 'number' && node.items[key] !== undefined) {
        node = node.items[key];
        if (!isAlias(node)) place = node as Node;
      } else break;
    }
    return this.of(place);
  }
}

type Issue = z.core.$ZodIssue;

function schemaFaults(
  issue: Issue,
  root: unknown,
  place: Places,
  base: readonly PropertyKey[] = [],
): PipelineFault[] {
  const keys = [...base, ...issue.path];
  const fault = (expected: string, hint: string | null = null): PipelineFault => ({
    ...place.at(keys),
    field: fieldName(keys),
    found: describeValue(valueAt(root, keys)),
    expected,
    hint,
  });
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey(key, keys, root, place));
    case 'invalid_union':
      return unionFaults(issue, root, place, keys);
    case 'invalid_value': {
      const values = issue.values.map(String);
      const value = valueAt(root, keys);
      const near = typeof value === 'string' ? nearest(value, values) : null;
      return [fault(oneOf(values), near === null ? null : `Did you mean ${near}?`)];
    }
    case 'invalid_type':
      return [fault(typeName(issue.expected))];
    case 'too_small':
    case 'too_big':
      return [fault(sizeName(issue, String(valueAt(root, keys)).endsWith('%')))];
    default:
      return [fault(issue.message.replace(/^expected /, ''))];
  }
}

/** One fault for a value that fits none of several shapes: the shape it comes nearest to explains it. */
function unionFaults(
  issue: Extract<Issue, { code: 'invalid_union' }>,
  root: unknown,
  place: Places,
  keys: readonly PropertyKey[],
): PipelineFault[] {
  const value = valueAt(root, keys);
  const where = { ...place.at(keys), field: fieldName(keys), found: describeValue(value) };
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const own = issue.errors.flatMap((errors) => errors.map((inner) => expectation(inner)));
    const worded = own.filter((text) => text.includes(' such as '));
    const expected = oneOf([...new Set(worded.length > 0 ? worded : own)]);
    return [{ ...where, expected, hint: null }];
  }
  const shapes = optionsOf(schemaAt(pipelineSchema, keys));
  const onlyIn = shapes.map((shape, index) =>
    shape.filter((key) => shapes.every((other, i) => i === index || !other.includes(key))),
  );
  const fits = onlyIn.flatMap((own, index) => (own.some((key) => key in value) ? [index] : []));
  if (fits.length > 1) {
    const names = fits.map((index) => onlyIn[index]!.find((key) => key in value)!);
    const found = `both ${names.join(' and ')}`;
    return [{ ...where, found, expected: `only one of ${names.join(' and ')}`, hint: null }];
  }
  const index = fits[0] ?? 0;
  const faults = (issue.errors[index] ?? []).flatMap((inner) =>
    schemaFaults(inner, root, place, keys),
  );
  if (fits.length === 1) return faults;
  const mistyped = faults.some((fault) =>
    onlyIn.flat().some((key) => fault.hint === `Did you mean ${key}?`),
  );
  if (mistyped) return faults;
  const missing = new Set(onlyIn.flat().map((key) => fieldName([...keys, key])));
  const others = faults.filter((fault) => !missing.has(fault.field));
  const expected = oneOf(onlyIn.flat());
  return [
    { ...where, found: `neither ${onlyIn.flat().join(' nor ')}`, expected, hint: null },
    ...others,
  ];
}

/** A mistyped key is one mistake: that the right one is missing goes without saying. */
function withoutEchoes(faults: PipelineFault[]): PipelineFault[] {
  const meant = new Set(
    faults.flatMap(({ field, hint }) => {
      const key = /^Did you mean (\S+)\?$/.exec(hint ?? '')?.[1];
      return key === undefined ? [] : [field.replace(/[^.]*$/, key)];
    }),
  );
  return faults.filter(({ field, found }) => found !== 'nothing' || !meant.has(field));
}

function unknownKey(
  key: string,
  parent: readonly PropertyKey[],
  root: unknown,
  place: Places,
): PipelineFault {
  const known = optionsOf(schemaAt(pipelineSchema, parent)).flat();
  const allowed = [...new Set(known)];
  const free = allowed.filter((name) => !hasKey(valueAt(root, parent), name));
  const near = nearest(key, free) ?? nearest(key, allowed);
  const elsewhere = knownPlaces(pipelineSchema, key).map((keys) => keys.join('.'));
  const hint =
    near !== null
      ? `Did you mean ${near}?`
      : elsewhere.length > 0
        ? `It belongs in ${oneOf(elsewhere)}.`
        : null;
  return {
    ...place.at([...parent, key]),
    field: fieldName([...parent, key]),
    found: 'an unknown key',
    expected: oneOf(allowed),
    hint,
  };
}

/** Mistakes that the shape of the file cannot show. */
function meaningFaults(
  value: unknown,
  pipeline: Pipeline | undefined,
  baseDir: string,
  place: Places,
): PipelineFault[] {
  const faults: PipelineFault[] = [];
  const add = (keys: PropertyKey[], found: string, expected: string, hint: string | null = null) =>
    faults.push({ ...place.at(keys), field: fieldName(keys), found, expected, hint });

  const sources = valueAt(value, ['data', 'sources']);
  for (const [index, source] of Array.isArray(sources) ? sources.entries() : []) {
    const folder: unknown = valueAt(source, ['path']);
    if (typeof folder !== 'string' || folder === '') continue;
    if (existsSync(path.resolve(baseDir, folder))) continue;
    const hint = 'It is looked for from the folder of the pipeline file.';
    add(
      ['data', 'sources', index, 'path'],
      JSON.stringify(folder),
      'a file or folder that exists',
      hint,
    );
  }

  const time = valueAt(value, ['budget', 'time']);
  if (typeof time === 'number' && time > 0 && time < 1000) {
    const hint = Number.isInteger(time) ? `Did you mean ${time}m?` : null;
    add(
      ['budget', 'time'],
      `${time}, a number of milliseconds`,
      'a duration such as 90s, 20m or 2h',
      hint,
    );
  }

  const gates = valueAt(value, ['evaluate', 'gates']);
  for (const [metric, bound] of Object.entries(isObject(gates) ? gates : {})) {
    const [min, max] = [valueAt(bound, ['min']), valueAt(bound, ['max'])];
    if (typeof min === 'number' && typeof max === 'number' && min > max) {
      add(['evaluate', 'gates', metric], `min ${min} above max ${max}`, 'min at most max');
    }
  }
  if (pipeline === undefined) return faults;

  const asked = pipeline.questions.length > 0;
  for (const metric of Object.keys(pipeline.evaluate.gates)) {
    if (metric === 'valBpb' || (asked && pipeline.goal === 'assistant')) continue;
    const found = asked
      ? `a gate on answers with goal ${pipeline.goal}`
      : 'a gate on answers, and no questions';
    const hint = asked
      ? 'Set goal: assistant, or remove the gate.'
      : 'Add questions, or remove the gate.';
    add(['evaluate', 'gates', metric], found, 'a gate that this pipeline measures', hint);
  }
  const names = new Set<string>();
  for (const [index, group] of pipeline.questions.entries()) {
    if (names.has(group.name)) {
      add(
        ['questions', index, 'name'],
        `${JSON.stringify(group.name)} twice`,
        'a name of its own for each group',
      );
    }
    names.add(group.name);
    const trained = new Set(group.ask.map((text) => text.trim()));
    for (const [at, text] of group.askHeldOut.entries()) {
      if (!trained.has(text.trim())) continue;
      const hint = 'Else the evaluation asks what was trained on.';
      add(
        ['questions', index, 'askHeldOut', at],
        'a phrasing that is also in ask',
        'other phrasings',
        hint,
      );
    }
  }
  return faults;
}

function optionsOf(schemas: Schema[]): string[][] {
  return schemas.map((schema) => schema.keys);
}

function expectation(issue: Issue): string {
  if (issue.code === 'invalid_type') return typeName(issue.expected);
  if (issue.code === 'too_small' || issue.code === 'too_big') return sizeName(issue);
  if (issue.code === 'invalid_value') return oneOf(issue.values.map(String));
  return issue.message.replace(/^expected /, '');
}

function typeName(expected: string): string {
  const names: Record<string, string> = {
    string: 'text',
    object: 'keys with values',
    array: 'a list',
    boolean: 'true or false',
    number: 'a number',
    int: 'a whole number',
    record: 'keys with values',
  };
  return names[expected] ?? expected;
}

function sizeName(
  issue: Extract<Issue, { code: 'too_small' | 'too_big' }>,
  asShare = false,
): string {
  const small = issue.code === 'too_small';
  const limit = small ? issue.minimum : issue.maximum;
  const bound = asShare ? `${Number(limit) * 100}%` : String(limit);
  if (issue.origin === 'array') return `${small ? 'at least' : 'at most'} ${bound} in the list`;
  if (issue.origin === 'string')
    return small ? 'text that is not empty' : `at most ${bound} letters`;
  if (small) return issue.inclusive ? `at least ${bound}` : `more than ${bound}`;
  return issue.inclusive ? `at most ${bound}` : `less than ${bound}`;
}

function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'nothing after the colon';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') {
    return Object.keys(value).length === 0 ? 'no keys' : 'keys with values';
  }
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…"` : text;
}

function valueAt(value: unknown, keys: readonly PropertyKey[]): unknown {
  let current = value;
  for (const key of keys) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, key)) {
      return undefined;
    }
    current = (current as Record<PropertyKey, unknown>)[key];
  }
  return current;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function hasKey(value: unknown, key: string): boolean {
  return isObject(value) && Object.hasOwn(value, key);
}

function fieldName(keys: readonly PropertyKey[]): string {
  return keys
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
    .join('')
    .replace(/^\./, '');
}

function oneOf(values: readonly string[]): string {
  if (values.length <= 1) return values[0] ?? 'nothing';
  return `${values.slice(0, -1).join(', ')} or ${values.at(-1)}`;
}

function inOrder(faults: PipelineFault[]): PipelineFault[] {
  return faults.toSorted((a, b) => a.line - b.line || a.column - b.column);
}
