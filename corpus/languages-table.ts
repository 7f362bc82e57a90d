/**
 * The table of the language library in a form that takes a tenth of the memory: the library ships it as one literal of
 * 1.6 MB, of which the engine makes a hundred thousand objects and 160 MB in every thread. Here it is read as a text, and
 * the line of a piece of a word becomes an object when it is looked up.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { eld } from 'eld/small';

/** What the library looks up: by language, the score of a piece of a word. */
export type Scores = Record<string, number>;

export interface LanguageTable {
  type: string;
  languages: Record<string, string>;
  /** Of each piece of a word its scores, as they are written. */
  pieces: ReadonlyMap<string, string>;
}

interface Library {
  createEld: () => { instance: typeof eld; loadData: (data: object) => string };
}

/** The detector of the library in its folder, over its smaller table. */
export function openDetector(folder: string): typeof eld {
  const inFolder = (file: string): string => path.join(folder, 'src', file);
  const { createEld } = createRequire(import.meta.url)(inFolder('languageDetector.js')) as Library;
  const { type, languages, pieces } = readTable(readFileSync(inFolder('ngrams/small.js'), 'utf8'));
  const ngrams = new Proxy({} as Record<string, Scores>, {
    get: (_, piece) => scoresOf(pieces.get(String(piece))),
  });
  const { instance, loadData } = createEld();
  loadData({ type, languages, ngrams });
  return instance;
}

/** `11:123,14:99` as an object. */
export function scoresOf(written: string | undefined): Scores | undefined {
  if (written === undefined) return undefined;
  const scores: Scores = {};
  for (const pair of written.split(',')) {
    const colon = pair.indexOf(':');
    scores[pair.slice(0, colon)] = Number(pair.slice(colon + 1));
  }
  return scores;
}

/** Parses the file of the table, to its end. */
export function readTable(source: string): LanguageTable {
  const head = /ngramsData = \{type:'(\w+)',languages:\{([^}]*)\}[^{]*ngrams:\{/.exec(source);
  if (head === null) throw unknown(source, 0);
  const languages: Record<string, string> = {};
  for (const [, id, tag] of head[2]!.matchAll(/(\d+):'(\w+)'/g)) languages[id!] = tag!;
  const pieces = new Map<string, string>();
  const entry = /(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^\s'",:{}]+)):\{([\d:,]+)\}([,}])/y;
  entry.lastIndex = head.index + head[0].length;
  for (;;) {
    const at = entry.lastIndex;
    const found = entry.exec(source);
    if (found === null) throw unknown(source, at);
    const [, single, double, plain, scores, next] = found;
    const quoted = single ?? double;
    pieces.set(quoted?.replaceAll(/\\(.)/g, '$1') ?? plain!, scores!);
    if (next === '}') return { type: head[1]!, languages, pieces };
  }
}

function unknown(source: string, at: number): Error {
  return new Error(
    `the table of the package eld: found "${source.slice(at, at + 40)}" at ${at}, expected the form of version 2.1.0. Install Temper again.`,
  );
}
