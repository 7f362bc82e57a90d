/**
 * One page of the web: asked for by https, from an address that is public when it is dialled, and kept with what tells
 * whether it changed. The look-up of the connection itself decides, so that no other answer of DNS can come between.
 */
import { createHash, randomUUID } from 'node:crypto';
import { lookup as systemLookup, type LookupAddress } from 'node:dns';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { z } from 'zod';
import { sha256Schema } from '../config/digest.ts';
import type { Refusal } from '../corpus/decode.ts';
import { isoDate } from '../corpus/formats/dates.ts';
import { addressFault, urlFault } from './web-address.ts';

export const userAgent = 'Temper/0.1';
const maxBytes = 128 * 1024 * 1024;
const maxRedirects = 5;
const timeoutMs = 30_000;

export interface WebOptions {
  /** Folder where pages are kept. */
  cache: string;
  /** Of this run: what it fetched before is not asked for again. */
  run: string;
  /** Ends every wait. */
  signal?: AbortSignal;
  /** When the page was changed, as whoever names it says. */
  changedAt?: string | null;
  /** Why a redirect is not followed; null where it may be. */
  redirectRefusal?: (url: string) => Promise<Refusal | null>;
  /** For tests against a server of their own; left out, the system's resolver, public addresses and https. */
  resolve?: (host: string) => Promise<LookupAddress[]>;
  allowAddress?: (address: string) => boolean;
  allowHttp?: boolean;
}

const keptSchema = z.object({
  url: z.string(),
  run: z.string(),
  contentType: z.string(),
  etag: z.string().nullable(),
  lastModified: z.string().nullable(),
  date: z.string().nullable().optional(),
  sha256: sha256Schema.describe('of its bytes, which a power cut may have left without the rest'),
});
type Kept = z.infer<typeof keptSchema>;

export interface FetchedPage {
  /** Where its bytes lie. */
  file: string;
  contentType: string;
  /** When it was changed, as was said when these bytes first came; null where nobody said so. */
  date: string | null;
}

/** Waits that a server asked for are its answer; everything else that failed is a reason. */
export type FetchResult = FetchedPage | Refusal | { retryAfterMs: number };

/** The page as this run fetched it before; null where it did not. */
export async function fetchedInRun(
  url: string,
  { cache, run }: Pick<WebOptions, 'cache' | 'run'>,
): Promise<FetchedPage | null> {
  const file = fileOf(url, cache);
  const kept = await readKept(file);
  return kept?.run === run ? fetched(file, kept) : null;
}

function fileOf(url: string, cache: string): string {
  return path.join(cache, sha256Of(url));
}

/** The page, newly fetched or still as it was. */
export async function fetchPage(url: string, options: WebOptions): Promise<FetchResult> {
  const file = fileOf(url, options.cache);
  const kept = await readKept(file);
  if (kept?.run === options.run) return fetched(file, kept);
  const answer = await follow(url, kept, options);
  if (!('status' in answer)) return answer;
  const { status, headers, bytes } = answer;
  if (status === 304 && kept !== null) {
    await keep(file, { ...kept, run: options.run }, null);
    return fetched(file, kept);
  }
  if (status === 429 || status === 503) return { retryAfterMs: retryAfter(headers['retry-after']) };
  if (status !== 200) return { reason: 'not_a_page', detail: `found status ${status}` };
  const contentType = headers['content-type'] ?? '';
  const header = (field: string): string | null => {
    const value = headers[field];
    return typeof value === 'string' ? value : null;
  };
  // Servers and site maps say of what did not change that it did: the date of these bytes stays the one they came with.
  const sha256 = sha256Of(bytes);
  const isSame = kept?.sha256 === sha256;
  const lastModified = header('last-modified');
  const page = {
    url,
    run: options.run,
    contentType,
    etag: header('etag'),
    lastModified,
    sha256,
    date: isSame
      ? fetched(file, kept).date
      : (options.changedAt ?? dateOf(lastModified, header('date'))),
  };
  await keep(file, page, bytes);
  return fetched(file, page);
}

function fetched(file: string, { contentType, date, lastModified }: Kept): FetchedPage {
  return { file, contentType, date: date === undefined ? dateOf(lastModified, null) : date };
}

const freshMs = 60_000;

/** None of a page that was made when it was asked for. */
function dateOf(lastModified: string | null, now: string | null): string | null {
  if (lastModified === null) return null;
  if (now !== null && Date.parse(now) - Date.parse(lastModified) < freshMs) return null;
  return isoDate(lastModified);
}

/** Null where the page is not there whole, as it was fetched. */
async function readKept(file: string): Promise<Kept | null> {
  try {
    const kept = keptSchema.parse(JSON.parse(await readFile(`${file}.json`, 'utf8')));
    return kept.sha256 === sha256Of(await readFile(file)) ? kept : null;
  } catch {
    return null;
  }
}

const sha256Of = (bytes: string | Buffer): string =>
  createHash('sha256').update(bytes).digest('hex');

/** Bytes first, what is known of them last: a page that is half there is not there. */
async function keep(file: string, kept: Kept, bytes: Buffer | null): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  // Two attempts may keep the same page at once.
  const part = `${file}.${randomUUID()}.part`;
  try {
    if (bytes !== null) {
      await rm(`${file}.json`, { force: true });
      await writeFile(part, bytes);
      await rename(part, file);
    }
    await writeFile(part, JSON.stringify(kept));
    await rename(part, `${file}.json`);
  } finally {
    await rm(part, { force: true });
  }
}

interface Answer {
  status: number;
  headers: IncomingMessage['headers'];
  bytes: Buffer;
}

async function follow(
  start: string,
  kept: Kept | null,
  options: WebOptions,
): Promise<Answer | Refusal> {
  let url = start;
  for (let redirects = 0; redirects <= maxRedirects; redirects += 1) {
    const fault = faultOf(url, options);
    if (fault !== null) return { reason: 'refused_address', detail: fault };
    const refusal = redirects === 0 ? null : await options.redirectRefusal?.(url);
    if (refusal) return refusal;
    let answer: Answer;
    try {
      answer = await request(url, redirects === 0 ? kept : null, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      if (error instanceof RefusedAddress)
        return { reason: 'refused_address', detail: error.message };
      if (error instanceof TooLarge) return { reason: 'too_large', detail: error.message };
      if (error instanceof Damaged) return { reason: 'damaged', detail: error.message };
      const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
      return { reason: 'unreachable', detail: code };
    }
    const { location } = answer.headers;
    if (![301, 302, 303, 307, 308].includes(answer.status) || location === undefined) return answer;
    if (!URL.canParse(location, url))
      return { reason: 'not_a_page', detail: 'a redirect to no URL' };
    url = new URL(location, url).href;
  }
  return { reason: 'not_a_page', detail: `more than ${maxRedirects} redirects` };
}

function faultOf(url: string, { allowHttp = false, allowAddress }: WebOptions): string | null {
  const fault = urlFault(url, { allowHttp });
  if (fault === null || allowAddress === undefined || !URL.canParse(url)) return fault;
  const { hostname, protocol } = new URL(url);
  const scheme = protocol === 'https:' || allowHttp;
  return scheme && allowAddress(hostname.replaceAll(/^\[|\]$/g, '')) ? null : fault;
}

class RefusedAddress extends Error {}
class TooLarge extends Error {}
class Damaged extends Error {}

/** Judges what a connection is about to dial. */
export function judged(
  addresses: readonly LookupAddress[],
  { allowAddress }: Pick<WebOptions, 'allowAddress'>,
): string | null {
  if (addresses.length === 0) return 'found no address';
  for (const { address } of addresses) {
    const fault = allowAddress?.(address) === true ? null : addressFault(address);
    // One that is not public among others would be dialled when they fail.
    if (fault !== null) return fault;
  }
  return null;
}

async function request(url: string, kept: Kept | null, options: WebOptions): Promise<Answer> {
  const headers: Record<string, string> = {
    'user-agent': userAgent,
    accept: 'text/html, text/plain, application/xhtml+xml, application/pdf, */*;q=0.5',
    'accept-encoding': 'identity',
    ...(kept?.etag && { 'if-none-match': kept.etag }),
    ...(kept?.lastModified && { 'if-modified-since': kept.lastModified }),
  };
  const lookup = (
    host: string,
    asked: { all?: boolean },
    tell: (error: Error | null, address?: string | LookupAddress[], family?: number) => void,
  ): void => {
    const resolved = options.resolve?.(host) ?? resolveHost(host);
    resolved.then(
      (addresses) => {
        const fault = judged(addresses, options);
        if (fault !== null) tell(new RefusedAddress(`${host}: ${fault}`));
        else if (asked.all === true) tell(null, addresses);
        else tell(null, addresses[0]!.address, addresses[0]!.family);
      },
      (error: unknown) => tell(error as Error),
    );
  };
  return new Promise((resolve, reject) => {
    const { get } = url.startsWith('https:') ? https : http;
    // Without an agent: a connection of another name is never taken over.
    const late = AbortSignal.timeout(timeoutMs * 10);
    const signal = options.signal ? AbortSignal.any([late, options.signal]) : late;
    const asked = get(
      url,
      { headers, lookup: lookup as never, agent: false, signal },
      (response) => {
        const parts: Buffer[] = [];
        let length = 0;
        response.on('data', (part: Buffer) => {
          length += part.length;
          if (length > maxBytes)
            response.destroy(new TooLarge(`found more than ${maxBytes} bytes`));
          else parts.push(part);
        });
        response.on('error', reject);
        response.on('end', () => {
          try {
            const whole = Buffer.concat(parts);
            const packed = response.headers['content-encoding'] === 'gzip';
            const bytes = packed ? plainOf(whole) : whole;
            resolve({ status: response.statusCode ?? 0, headers: response.headers, bytes });
          } catch (error) {
            reject(error as Error);
          }
        });
      },
    );
    asked.setTimeout(timeoutMs, () =>
      asked.destroy(Object.assign(new Error('silent'), { code: 'ETIMEDOUT' })),
    );
    asked.on('error', reject);
    asked.on('socket', (socket) => {
      socket.on('connect', () => {
        const address = socket.remoteAddress ?? '';
        const fault = judged([{ address, family: 4 }], options);
        if (fault !== null) asked.destroy(new RefusedAddress(fault));
      });
    });
  });
}

/** A body that was packed for the way alone. */
function plainOf(packed: Buffer): Buffer {
  try {
    return gunzipSync(packed, { maxOutputLength: maxBytes });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    if (code === 'ERR_BUFFER_TOO_LARGE') throw new TooLarge(`found more than ${maxBytes} bytes`);
    throw new Damaged(`not a whole gzip stream (${code})`);
  }
}

async function resolveHost(host: string): Promise<LookupAddress[]> {
  return new Promise((resolve, reject) => {
    systemLookup(host, { all: true, verbatim: true }, (error, addresses) => {
      if (error === null) resolve(addresses);
      else reject(error);
    });
  });
}

const longestWaitMs = 60_000;

/** Seconds or a date; a minute at most, after which the page is asked for again. */
function retryAfter(value: string | undefined): number {
  const seconds = Number(value ?? '5');
  const waitMs = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value ?? '') - Date.now();
  return Math.max(1000, Math.min(longestWaitMs, Number.isFinite(waitMs) ? waitMs : 5000));
}
