/** Sources on the web: one page, or every page that a sitemap names, asked for one after the other as robots.txt allows. */
import { setTimeout as sleep } from 'node:timers/promises';
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import path from 'node:path';
import type { Refusal } from '../corpus/decode.ts';
import { CorpusError } from '../corpus/errors.ts';
import type { FoundFile } from '../corpus/files.ts';
import { isoDate } from '../corpus/formats/dates.ts';
import { byCodeUnits } from '../corpus/order.ts';
import { nameOf } from '../corpus/formats/names-of-formats.ts';
import { allowAll, allowNone, parseRobots, type Robots } from './web-robots.ts';
import {
  fetchedInRun,
  fetchPage,
  userAgent,
  type FetchedPage,
  type WebOptions,
} from './web-fetch.ts';
import { sweepStale } from './stale-files.ts';
import { urlFault } from './web-address.ts';

const usualDelayMs = 1000;
export interface Limits {
  pages: number;
  sitemaps: number;
  /** Of one sitemap, unpacked. */
  sitemapBytes: number;
}
const usualLimits: Limits = { pages: 50_000, sitemaps: 500, sitemapBytes: 64 * 1024 * 1024 };
const tries = 3;

/** The pages of a source as files, in the order of their addresses; each is fetched when it is read. */
export async function webFiles(
  url: string,
  include: string,
  options: WebOptions & { delayMs?: number },
  given: Partial<Limits> = {},
): Promise<FoundFile[]> {
  const limits = { ...usualLimits, ...given };
  const fault = options.allowAddress === undefined ? urlFault(url, options) : null;
  if (fault !== null)
    throw new CorpusError(`data.sources: url: ${fault}. Correct the pipeline file.`);
  await sweepStale(options.cache, '.part');
  const visit = visitor(options);
  const { pages, lost } = isSitemap(url)
    ? await sitemapPages(url, visit, limits)
    : { pages: new Map([[url, null]]), lost: [] };
  const fileOf = (page: string, name: string, changedAt: string | null): FoundFile => ({
    path: name,
    place: page,
    refusal: null,
    fetch: async () => {
      const found = await visit(page, changedAt);
      if ('reason' in found) return found;
      const { file, date } = found;
      return { file, readAs: readAs(name, found), ...(date !== null && { date }) };
    },
  });
  const { host } = new URL(url);
  let numPages = 0;
  const inOrder = [...pages].toSorted(([a], [b]) => byCodeUnits(a, b));
  const files = inOrder.flatMap(([page, changedAt]): FoundFile[] => {
    const name = nameFor(page);
    if (!path.matchesGlob(name, include)) return [];
    if (new URL(page).host !== host) return [lostFile({ page, refusal: elsewhere })];
    numPages += 1;
    return [
      numPages <= limits.pages
        ? fileOf(page, name, changedAt)
        : lostFile({ page, refusal: tooMany(limits.pages, 'pages') }),
    ];
  });
  return [...files, ...lost.map(lostFile)].toSorted((a, b) => byCodeUnits(a.place!, b.place!));
}

/** What a sitemap names and what is not read: it is dropped with its reason, never without a word. */
interface Lost {
  page: string;
  refusal: Refusal;
}

function lostFile({ page, refusal }: Lost): FoundFile {
  return { path: nameFor(page), place: page, refusal };
}

const elsewhere: Refusal = {
  reason: 'other_host',
  detail: 'on another host than its sitemap; give it as a source of its own',
};

function tooMany(limit: number, of: string): Refusal {
  return {
    reason: 'too_many',
    detail: `beyond the first ${limit} ${of}; give smaller sitemaps as sources of their own`,
  };
}

/** Without scheme and host, which the source says. */
function nameFor(page: string): string {
  const { pathname, search } = new URL(page);
  const name = `${pathname.slice(1)}${search}`;
  return name === '' ? 'index' : name;
}

const types: Record<string, string> = {
  'text/html': 'html',
  'application/xhtml+xml': 'html',
  'text/plain': 'txt',
  'text/markdown': 'md',
  'text/csv': 'csv',
  'application/json': 'json',
  'application/pdf': 'pdf',
  'application/epub+zip': 'epub',
  'application/zip': 'zip',
};

/** By what the server says it is; the ending of its name where that says more. */
function readAs(name: string, { contentType }: FetchedPage): string {
  const type = types[contentType.split(';')[0]!.trim().toLowerCase()];
  const byName = name.split('?')[0]!;
  const plainly = type === undefined || type === 'txt';
  return plainly && nameOf(byName) !== null ? byName : `page.${type ?? 'unknown'}`;
}

type Visit = (url: string, changedAt?: string | null) => Promise<FetchedPage | Refusal>;

/** Asks for pages one at a time, no faster than the host wishes. */
function visitor(options: WebOptions & { delayMs?: number }): Visit {
  const { signal } = options;
  const robots = new Map<string, Promise<Robots>>();
  let lastAt = 0;
  let delayMs = options.delayMs ?? usualDelayMs;
  const patiently = async (
    url: string,
    more: Pick<WebOptions, 'redirectRefusal' | 'changedAt'> = {},
  ): Promise<FetchedPage | Refusal> => {
    // Nobody is asked for what is here: an ingest that goes on waits for the pages that it lacks alone.
    const here = await fetchedInRun(url, options);
    if (here !== null) return here;
    for (let attempt = 1; ; attempt += 1) {
      await sleep(Math.max(0, lastAt + delayMs - performance.now()), undefined, { signal });
      lastAt = performance.now();
      const found = await fetchPage(url, { ...options, ...more });
      if (!('retryAfterMs' in found)) return found;
      if (attempt === tries)
        return { reason: 'unreachable', detail: 'the server asked to wait, again and again' };
      await sleep(found.retryAfterMs, undefined, { signal });
    }
  };
  const rulesOf = async (origin: string): Promise<Robots> => {
    const found = await patiently(`${origin}/robots.txt`);
    // A file that is not there allows all; one that cannot be had now allows nothing.
    if ('reason' in found) {
      // Of an address that is not dialled, the page itself is refused, and as that.
      const refused = found.reason === 'refused_address';
      return refused || (found.reason === 'not_a_page' && !isPassing(found)) ? allowAll : allowNone;
    }
    const text = await readFile(found.file, 'utf8');
    const rules = parseRobots(text.slice(0, 512 * 1024), userAgent.split('/')[0]!);
    delayMs = Math.max(delayMs, rules.delayMs ?? 0);
    return rules;
  };
  const closed = async (url: string): Promise<Refusal | null> => {
    const { origin, pathname, search } = new URL(url);
    const rules = robots.get(origin) ?? rulesOf(origin);
    robots.set(origin, rules);
    const allowed = (await rules).allows(`${pathname}${search}`);
    return allowed ? null : { reason: 'robots', detail: 'robots.txt asks that it is not read' };
  };
  // A redirect leads to another page, whose own host says whether it may be read.
  return async (url, changedAt = null) =>
    (await closed(url)) ?? patiently(url, { redirectRefusal: closed, changedAt });
}

function isSitemap(url: string): boolean {
  return /sitemap[^/]*\.xml(\.gz)?$|\/sitemap\.txt$/i.test(new URL(url).pathname);
}

/** The pages of a sitemap and of those that it names, with when they were changed, and which of them are not read. */
async function sitemapPages(
  start: string,
  visit: Visit,
  limits: Limits,
): Promise<{ pages: Map<string, string | null>; lost: Lost[] }> {
  const pages = new Map<string, string | null>();
  const lost: Lost[] = [];
  const named = new Set([start]);
  const { host } = new URL(start);
  let numRead = 0;
  // A set hands out what is added to it while it is walked.
  for (const url of named) {
    if (new URL(url).host !== host) {
      lost.push({ page: url, refusal: elsewhere });
      continue;
    }
    if (numRead >= limits.sitemaps || pages.size >= limits.pages) {
      const full = numRead >= limits.sitemaps;
      const refusal = full ? tooMany(limits.sitemaps, 'sitemaps') : tooMany(limits.pages, 'pages');
      lost.push({ page: url, refusal });
      continue;
    }
    numRead += 1;
    const found = await visit(url);
    const read = 'reason' in found ? found : sitemapText(await readFile(found.file), limits);
    if (typeof read !== 'string') {
      const said = `${url} cannot be read (${read.reason}: ${read.detail})`;
      if (url === start) throw new CorpusError(`data.sources: ${said}. Correct the address.`);
      // Without it a dataset would lack pages that the next try may find.
      if (isPassing(read)) throw new Error(`data.sources: ${said}, expected a sitemap`);
      lost.push({ page: url, refusal: read });
      continue;
    }
    const isIndex = /<sitemapindex[\s>]/i.test(read);
    for (const { place, changedAt } of entriesOf(read)) {
      if (!URL.canParse(place)) continue;
      if (isIndex) named.add(place);
      else if (!pages.has(place)) pages.set(place, changedAt);
    }
  }
  return { pages, lost };
}

/** What a sitemap names, each with the time that it says; one that is no XML has a name a line. */
function entriesOf(text: string): { place: string; changedAt: string | null }[] {
  if (!/<loc>/i.test(text)) return text.split(/\s+/).map((place) => ({ place, changedAt: null }));
  return text.split(/<\/(?:url|sitemap)>/i).flatMap((entry) => {
    const places = Array.from(entry.matchAll(/<loc>\s*(?:<!\[CDATA\[)?([^<\]]+)/gi), ([, place]) =>
      place!.trim().replaceAll('&amp;', '&'),
    );
    const said = /<lastmod>\s*(?:<!\[CDATA\[)?([^<\]]+)/i.exec(entry)?.[1];
    const changedAt = said === undefined || places.length !== 1 ? null : isoDate(said);
    return places.map((place) => ({ place, changedAt }));
  });
}

/** Whether another try may find it. */
function isPassing({ reason, detail }: Refusal): boolean {
  return reason === 'unreachable' || (reason === 'not_a_page' && /status 5/.test(detail));
}

/** The text of a sitemap, unpacked where it is packed. */
function sitemapText(bytes: Buffer, { sitemapBytes }: Limits): string | Refusal {
  const tooLarge = {
    reason: 'too_large',
    detail: `found a sitemap of more than ${sitemapBytes} bytes; split it`,
  };
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b)
    return bytes.length > sitemapBytes ? tooLarge : bytes.toString('utf8');
  try {
    return gunzipSync(bytes, { maxOutputLength: sitemapBytes }).toString('utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    if (code === 'ERR_BUFFER_TOO_LARGE') return tooLarge;
    return { reason: 'damaged', detail: `not a whole gzip stream (${code})` };
  }
}
