/** The YAML of a pipeline file: its plain value, where each part of it stands, and what is wrong with it as YAML. */
import {
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  Scalar,
  visit,
  type Document,
  type Node,
  type YAMLMap,
} from 'yaml';
import { PipelineFileError, type PipelineFault } from './pipeline-fault.ts';

/** Stands in the value where the file has an alias, which is a fault of its own: nothing more is said of it. */
export const aliasMark = Symbol('alias');

export interface PipelineYaml {
  value: unknown;
  place: Places;
  faults: PipelineFault[];
}

const tooDeep = 'nesting that is too deep to read';

/** Throws PipelineFileError where nothing of the text can be read. */
export function readYaml(text: string, file: string): PipelineYaml {
  const lines = new LineCounter();
  const document = parseYaml(text, file, lines);
  const place = new Places(document, lines);
  const faults: PipelineFault[] = [];
  if (document.errors.some((error) => /stack/i.test(error.message))) {
    throw wholeFault(file, tooDeep, 'YAML of a pipeline file');
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
  const wide = wideColons(text, document, lines);
  if (document.errors.some((error) => error.code !== 'DUPLICATE_KEY')) {
    // What YAML finds wrong behind a colon that is none follows from it.
    throw new PipelineFileError(file, wide.length > 0 ? wide : faults);
  }
  faults.push(...wide);
  faults.push(...withoutAliases(document, place));
  const value: unknown = document.toJS();
  if (value === null || value === undefined) {
    throw wholeFault(file, 'an empty file', 'the keys version, name and data at least');
  }
  return { value, place, faults };
}

/** A fault of the file as a whole. */
export function wholeFault(
  file: string,
  found: string,
  expected: string,
  hint: string | null = null,
): PipelineFileError {
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

/** Colons of Chinese and Japanese keyboards behind a word where a key stands, which YAML reads as part of the word. */
function wideColons(text: string, document: Document.Parsed, lines: LineCounter): PipelineFault[] {
  const values: [number, number][] = [];
  visit(document, {
    // Quoted text and blocks of text may say what they like, as may comments.
    Scalar(_, { type, range }) {
      if (type !== 'PLAIN' && range) values.push([range[0], range[1]]);
    },
  });
  return Array.from(text.matchAll(/^[ \t]*(?:- +)?([A-Za-z]\w*)：/gm)).flatMap((match) => {
    const at = match.index + match[0].length - 1;
    if (values.some(([from, to]) => from <= at && at < to)) return [];
    const { line, col } = lines.linePos(at);
    const field = match[1]!;
    return {
      line,
      column: col,
      field,
      found: 'the full-width colon ：',
      expected: 'a plain colon and a space',
      hint: `Write ${field}: and a space.`,
    };
  });
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

/** Puts marks in the place of aliases, which could unfold without end, and says where they were. */
function withoutAliases(document: Document.Parsed, place: Places): PipelineFault[] {
  const faults: PipelineFault[] = [];
  const add = (node: Node, source: string): void => {
    const { line, column } = place.of(node);
    const expected = 'values written out (aliases are not read)';
    const found = `the alias *${source}`;
    faults.push({ line, column, field: '', found, expected, hint: null });
  };
  visit(document, {
    Pair(_, { key }) {
      if (!isAlias(key)) return undefined;
      add(key, key.source);
      return visit.REMOVE;
    },
    Alias(_, node) {
      add(node, node.source);
      const mark = new Scalar(aliasMark);
      mark.range = node.range ?? null;
      return mark;
    },
  });
  return faults;
}

/** Where the nodes of a document stand in its text. */
export class Places {
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
