/**
 * How documents spread over languages, lengths, domains, licences and years. Counts of parts add up to those of
 * the whole, whatever the parts and their order, and the most frequent names are exact however many there are.
 */
import type { Document } from '../config/manifests.ts';
import { mostNames, type Distributions, type Top } from '../config/statistics.ts';
import { dateOf } from './document-date.ts';
import { languageOf } from './languages.ts';
import { byCodeUnits } from './order.ts';

/** What is counted of one document. What it does not say is left out. */
export interface Traits {
  language: string;
  domain?: string;
  license?: string;
  date?: string;
}

/** Names with their numbers of documents. */
export type Counts = Record<string, number>;

/** Counts of some documents, all of them; those of a corpus hold its most frequent names alone. */
export interface PartCounts {
  languages: Counts;
  /** By the exponent of the power of two. */
  lengths: Counts;
  domains: Counts;
  licenses: Counts;
  years: Counts;
  first: string | null;
  last: string | null;
}

/** Characters of a text that its language is told by here: more would cost time and change little. */
const sampled = 600;

/** The traits of a document, whose text may be a cleaned one. */
export function traitsOf({ source, metadata }: Omit<Document, 'text'>, text: string): Traits {
  const domain = domainOf(source, metadata);
  const date = dateOf(metadata);
  const { license } = metadata;
  // In this order they need not be sorted for their canonical form.
  return {
    ...(date !== null && { date }),
    ...(domain !== null && { domain }),
    language: languageOf(beginMiddleEnd(text)),
    ...(typeof license === 'string' && license !== '' && { license: license.slice(0, 100) }),
  };
}

function beginMiddleEnd(text: string): string {
  if (text.length <= sampled) return text;
  const part = sampled / 3;
  const middle = Math.floor((text.length - part) / 2);
  return `${text.slice(0, part)} ${text.slice(middle, middle + part)} ${text.slice(-part)}`;
}

/** The host that a document came from; never the one of somebody's mail. */
function domainOf(source: string, { url, source: from }: Document['metadata']): string | null {
  for (const place of [url, from, source]) {
    if (typeof place !== 'string' || !/^https?:\/\//i.test(place)) continue;
    const host = URL.parse(place)?.hostname.replace(/^www\./, '') ?? '';
    if (host !== '') return host;
  }
  return null;
}

/** Different names held at once: some tens of megabytes. */
const mostHeld = 200_000;

/** Which of so many parts a name falls into. */
function partOf(name: string, numParts: number): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < name.length; index += 1)
    hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193);
  return (hash >>> 0) % numParts;
}

type Feed = (add: (name: string, numDocuments: number) => void) => Promise<void>;

/** The most frequent names. Where there are too many names to hold, `feed` is asked for them part by part. */
export async function topNames(
  known: ReadonlyMap<string, number> | null,
  feed: Feed,
  held: number = mostHeld,
): Promise<Top> {
  if (known !== null) return topOf([known]);
  for (let numParts = 2; ; numParts *= 2) {
    const parts = await inParts(feed, numParts, held);
    if (parts !== null) return parts;
  }
}

async function inParts(feed: Feed, numParts: number, held: number): Promise<Top | null> {
  let sum: Top = { top: [], numOthers: 0, numDocumentsOfOthers: 0 };
  for (let part = 0; part < numParts; part += 1) {
    const names = new Map<string, number>();
    await feed((name, numDocuments) => {
      if (names.size > held || partOf(name, numParts) !== part) return;
      names.set(name, (names.get(name) ?? 0) + numDocuments);
    });
    if (names.size > held) return null;
    const best = new Map(sum.top.map(({ name, numDocuments }) => [name, numDocuments]));
    const joined = topOf([best, names]);
    sum = {
      top: joined.top,
      numOthers: sum.numOthers + joined.numOthers,
      numDocumentsOfOthers: sum.numDocumentsOfOthers + joined.numDocumentsOfOthers,
    };
  }
  return sum;
}

/** Of maps that share no name. */
function topOf(maps: readonly ReadonlyMap<string, number>[]): Top {
  const all = maps
    .flatMap((map) => [...map])
    .toSorted(([a, one], [b, other]) => other - one || byCodeUnits(a, b));
  const others = all.slice(mostNames);
  return {
    top: all.slice(0, mostNames).map(([name, numDocuments]) => ({ name, numDocuments })),
    numOthers: others.length,
    numDocumentsOfOthers: others.reduce((sum, [, numDocuments]) => sum + numDocuments, 0),
  };
}

/** Adds up what documents are like. */
export class Tally {
  readonly #languages = new Map<string, number>();
  readonly #lengths = new Map<string, number>();
  readonly #years = new Map<string, number>();
  /** Null once there were too many to hold. */
  readonly #names: Record<'domains' | 'licenses', Map<string, number> | null> = {
    domains: new Map(),
    licenses: new Map(),
  };
  #first: string | null = null;
  #last: string | null = null;
  readonly #held: number;

  constructor(held: number = mostHeld) {
    this.#held = held;
  }

  /** One document. */
  add({ language, domain, license, date }: Traits, characters: number): void {
    plus(this.#languages, language, 1);
    plus(this.#lengths, String(exponentOf(characters)), 1);
    if (domain !== undefined) this.#addName('domains', domain, 1);
    if (license !== undefined) this.#addName('licenses', license, 1);
    if (date === undefined) return;
    plus(this.#years, date.slice(0, 4), 1);
    this.#addDates(date, date);
  }

  /** What was counted elsewhere. */
  addPart({ languages, lengths, domains, licenses, years, first, last }: PartCounts): void {
    for (const [name, count] of Object.entries(languages)) plus(this.#languages, name, count);
    for (const [name, count] of Object.entries(lengths)) plus(this.#lengths, name, count);
    for (const [name, count] of Object.entries(years)) plus(this.#years, name, count);
    for (const [name, count] of Object.entries(domains)) this.#addName('domains', name, count);
    for (const [name, count] of Object.entries(licenses)) this.#addName('licenses', name, count);
    this.#addDates(first, last);
  }

  /** Everything, for a part that is small enough. */
  part(): PartCounts {
    return {
      languages: Object.fromEntries(inOrder(this.#languages)),
      lengths: Object.fromEntries(inOrder(this.#lengths)),
      domains: Object.fromEntries(inOrder(this.#names.domains ?? new Map())),
      licenses: Object.fromEntries(inOrder(this.#names.licenses ?? new Map())),
      years: Object.fromEntries(inOrder(this.#years)),
      first: this.#first,
      last: this.#last,
    };
  }

  /** The whole; `again` gives every name once more, where there were too many to hold. */
  async summary(again: (kind: 'domains' | 'licenses') => Feed): Promise<Distributions> {
    return {
      languages: Object.fromEntries(inOrder(this.#languages)),
      lengths: [...this.#lengths]
        .map(([exponent, numDocuments]) => ({ from: 2 ** Number(exponent), numDocuments }))
        .toSorted((a, b) => a.from - b.from),
      domains: await topNames(this.#names.domains, again('domains'), this.#held),
      licenses: await topNames(this.#names.licenses, again('licenses'), this.#held),
      dates:
        this.#first === null || this.#last === null
          ? null
          : {
              first: this.#first,
              last: this.#last,
              years: Object.fromEntries(inOrder(this.#years)),
            },
    };
  }

  #addName(kind: 'domains' | 'licenses', name: string, numDocuments: number): void {
    const names = this.#names[kind];
    if (names === null) return;
    plus(names, name, numDocuments);
    if (names.size > this.#held) this.#names[kind] = null;
  }

  #addDates(first: string | null, last: string | null): void {
    if (first !== null && (this.#first === null || first < this.#first)) this.#first = first;
    if (last !== null && (this.#last === null || last > this.#last)) this.#last = last;
  }
}

/** Of the power of two that a length lies above; a text without characters counts as one of one. */
function exponentOf(characters: number): number {
  return 31 - Math.clz32(Math.max(1, characters));
}

function plus(counts: Map<string, number>, name: string, count: number): void {
  counts.set(name, (counts.get(name) ?? 0) + count);
}

function inOrder(counts: ReadonlyMap<string, number>): [string, number][] {
  return [...counts].toSorted(([a], [b]) => byCodeUnits(a, b));
}
