/** Sources on the web: one page, or every page that a sitemap names, asked for one after the other as robots.txt allows. */
import { setTimeout as sleep } from 'node:timers/promises';
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import path from 'node:path';
import type { Refusal } from '../corpus/decode.ts';
import { CorpusError } from '../corpus/errors.ts';
import type { FoundFile } from '../corpus/files.ts';
import { byCodeUnits } from '../corpus/order.ts';
import { nameOf } from '../corpus/formats/names-of-formats.ts';
import { allowAll, allowNone, parseRobots, type Robots } from './web-robots.ts';
import { fetchPage, userAgent, type FetchedPage, type WebOptions } from './web-fetch.ts';
import { urlFault } from './web-address.ts';

const usualDelayMs = 1000;
const maxPages = 50_000;
const maxSitemaps = 500;
const tries = 3;

/** The pages of a source as files, in the order of their addresses; each is fetched when it is read. */
export async function webFiles(
  url: string,
  include: string,
  options: WebOptions & { delayMs?: number },
): Promise<FoundFile[]> {
  const fault = options.allowAddress === undefined ? urlFault(url, options) : null;
  if (fault !== null)
    throw new CorpusError(`data.sources: url: ${fault}. Correct the pipeline file.`);
  const visit = visitor(options);
  const pages = isSitemap(url) ? await sitemapPages(url, visit) : [url];
  const { host } = new URL(url);
  return [...new Set(pages)]
    .filter((page) => URL.canParse(page) && new URL(page).host === host)
    .map((page) => ({ page, name: nameFor(page) }))
    .filter(({ name }) => path.matchesGlob(name, include))
    .toSorted((a, b) => byCodeUnits(a.page, b.page))
    .slice(0, maxPages)
    .map(({ page, name }): FoundFile => ({
      path: name,
      place: page,
      refusal: null,
      fetch: async () => {
        const found = await visit(page);
        return 'reason' in found ? found : { file: found.file, readAs: readAs(name, found) };
      },
    }));
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

type Visit = (url: string) => Promise<FetchedPage | Refusal>;

/** Asks for pages one at a time, no faster than the host wishes. */
function visitor(options: WebOptions & { delayMs?: number }): Visit {
  const { signal } = options;
  const robots = new Map<string, Promise<Robots>>();
  let lastAt = 0;
  let delayMs = options.delayMs ?? usualDelayMs;
  const patiently = async (url: string): Promise<FetchedPage | Refusal> => {
    for (let attempt = 1; ; attempt += 1) {
      await sleep(Math.max(0, lastAt + delayMs - performance.now()), undefined, { signal });
      lastAt = performance.now();
      const found = await fetchPage(url, options);
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
      return found.reason === 'not_a_page' && !/status 5/.test(found.detail) ? allowAll : allowNone;
    }
    const text = await readFile(found.file, 'utf8');
    const rules = parseRobots(text.slice(0, 512 * 1024), userAgent.split('/')[0]!);
    delayMs = Math.max(delayMs, rules.delayMs ?? 0);
    return rules;
  };
  return async (url) => {
    const { origin, pathname, search } = new URL(url);
    const rules = robots.get(origin) ?? rulesOf(origin);
    robots.set(origin, rules);
    if (!(await rules).allows(`${pathname}${search}`)) {
      return { reason: 'robots', detail: 'robots.txt asks that it is not read' };
    }
    return patiently(url);
  };
}

function isSitemap(url: string): boolean {
  return /sitemap[^/]*\.xml(\.gz)?$|\/sitemap\.txt$/i.test(new URL(url).pathname);
}

/** The pages of a sitemap and of those that it names. */
async function sitemapPages(start: string, visit: Visit): Promise<string[]> {
  const pages: string[] = [];
  const waiting = [start];
  const seen = new Set<string>();
  const { host } = new URL(start);
  while (waiting.length > 0 && seen.size < maxSitemaps && pages.length < maxPages) {
    const url = waiting.shift()!;
    if (seen.has(url) || new URL(url).host !== host) continue;
    seen.add(url);
    const found = await visit(url);
    if ('reason' in found) {
      if (url !== start) continue;
      throw new CorpusError(
        `data.sources: ${start} cannot be read (${found.reason}: ${found.detail}). Correct the address.`,
      );
    }
    const text = sitemapText(await readFile(found.file));
    const places = Array.from(text.matchAll(/<loc>\s*(?:<!\[CDATA\[)?([^<\]]+)/gi), ([, place]) =>
      place!.trim().replaceAll('&amp;', '&'),
    ).filter((place) => URL.canParse(place));
    if (/<sitemapindex[\s>]/i.test(text)) waiting.push(...places);
    else if (places.length > 0) pages.push(...places);
    else pages.push(...text.split(/\s+/).filter((line) => URL.canParse(line)));
  }
  return pages;
}

const maxSitemapBytes = 64 * 1024 * 1024;

function sitemapText(bytes: Buffer): string {
  const packed = bytes[0] === 0x1f && bytes[1] === 0x8b;
  return (packed ? gunzipSync(bytes, { maxOutputLength: maxSitemapBytes }) : bytes).toString(
    'utf8',
  );
}
