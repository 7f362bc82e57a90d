import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { LookupAddress } from 'node:dns';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { fetchedInRun, fetchPage, type WebOptions } from '../../activities/web-fetch.ts';
import { webFiles } from '../../activities/web-source.ts';
import { readSource } from '../../corpus/sources.ts';

let cache: string;
let server: http.Server;
let port: number;
let asked: string[] = [];
let busy = 0;
let lastmod = '2024-01-02';
let lastModified = 'Wed, 03 Jan 2024 04:05:06 GMT';
let oldText = 'old';

beforeAll(async () => {
  cache = await mkdtemp(path.join(tmpdir(), 'temper-web-'));
  server = http.createServer((request, response) => {
    const url = request.url ?? '';
    asked.push(`${url}${request.headers['if-none-match'] ? ' again' : ''}`);
    const page = (text: string) =>
      response
        .writeHead(200, { 'content-type': 'text/html; charset=utf-8', etag: '"1"' })
        .end(`<p>${text}</p>`);
    if (request.headers['if-none-match'] === '"1"') response.writeHead(304).end();
    else if (url === '/robots.txt') response.writeHead(200).end('User-agent: *\nDisallow: /secret');
    else if (url === '/sitemap.xml') {
      const places = ['/b', '/a', '/secret', '/gone', '/moved', '/inside', '/busy', '/file.csv'];
      const own = places.map((place) => `<url><loc>http://web.test:${port}${place}</loc></url>`);
      response.end(`<urlset>${own.join('')}<url><loc>http://other.test/x</loc></url></urlset>`);
    } else if (url === '/index/sitemap.xml') {
      const places = ['/one/sitemap.xml', '/gone', '/last/sitemap.xml'];
      const own = places.map(
        (place) => `<sitemap><loc>http://web.test:${port}${place}</loc></sitemap>`,
      );
      response.end(
        `<sitemapindex>${own.join('')}<sitemap><loc>http://other.test/s.xml</loc></sitemap></sitemapindex>`,
      );
    } else if (url === '/one/sitemap.xml') {
      const own = ['/1', '/2', '/3'].map((place) => `<loc>http://web.test:${port}${place}</loc>`);
      response.end(`<urlset>${own.join('')}</urlset>`);
    } else if (url === '/broken/sitemap.xml') {
      response.end(`<sitemapindex><loc>http://web.test:${port}/away</loc></sitemapindex>`);
    } else if (url === '/packed/sitemap.xml') {
      const places = ['/cut/sitemap.xml.gz', '/large/sitemap.xml.gz', '/way/sitemap.xml'];
      const own = [...places, '/dated/sitemap.xml'].map(
        (place) => `<sitemap><loc>http://web.test:${port}${place}</loc></sitemap>`,
      );
      response.end(`<sitemapindex>${own.join('')}</sitemapindex>`);
    } else if (url === '/cut/sitemap.xml.gz') response.end(gzipSync('<urlset/>').subarray(0, 20));
    else if (url === '/large/sitemap.xml.gz') response.end(gzipSync(Buffer.alloc(100_000)));
    else if (url === '/way/sitemap.xml') {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('x').subarray(0, 15));
    } else if (url === '/dated/sitemap.xml') {
      const entry = (place: string, changedAt = '') =>
        `<url><loc>http://web.test:${port}${place}</loc>${changedAt}</url>`;
      const changedAt = `<lastmod>${lastmod}</lastmod>`;
      response.end(
        `<urlset>${entry('/told', changedAt)}${entry('/old')}${entry('/new')}${entry('/rows.csv')}</urlset>`,
      );
    } else if (url === '/old') {
      response.writeHead(200, { 'content-type': 'text/html', 'last-modified': lastModified });
      response.end(`<p>${oldText}</p>`);
    } else if (url === '/new') {
      const now = new Date().toUTCString();
      response
        .writeHead(200, { 'content-type': 'text/html', 'last-modified': now })
        .end('<p>n</p>');
    } else if (url === '/rows.csv') {
      response.writeHead(200, { 'content-type': 'text/csv', 'last-modified': lastModified });
      response.end('text,year\nrow,1999\n');
    } else if (url === '/away') response.writeHead(500).end();
    else if (url === '/gone') response.writeHead(404).end();
    else if (url === '/moved') response.writeHead(301, { location: '/a?from=moved' }).end();
    else if (url === '/inside')
      response.writeHead(302, { location: 'http://metadata.test/latest' }).end();
    else if (url === '/busy' && (busy += 1) < 2)
      response.writeHead(429, { 'retry-after': '0' }).end();
    else if (url === '/file.csv')
      response.writeHead(200, { 'content-type': 'text/csv' }).end('text\nrow\n');
    else if (url === '/to-secret')
      response.writeHead(302, { location: `http://friend.test:${port}/secret` }).end();
    else if (url === '/circle') response.writeHead(301, { location: '/circle' }).end();
    else page(`page ${url}`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
});
beforeEach(() => {
  asked = [];
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(cache, { recursive: true, force: true });
});

const here: LookupAddress = { address: '127.0.0.1', family: 4 };
const options = (
  run: string,
  more: Partial<WebOptions> = {},
): WebOptions & { delayMs: number } => ({
  cache,
  run,
  delayMs: 0,
  allowHttp: true,
  allowAddress: (address) => address === '127.0.0.1',
  resolve: async (host) => [
    host === 'metadata.test' ? { address: '169.254.169.254', family: 4 } : here,
  ],
  ...more,
});

async function read(run: string) {
  const url = `http://web.test:${port}/sitemap.xml`;
  const files = await webFiles(url, '**/*', options(run));
  const source = { name: url, license: 'x', textField: 'text', root: '', files, single: false };
  const found: [string, string][] = [];
  for await (const item of readSource(source)) {
    const [{ source: origin }, said] =
      'document' in item
        ? [item.document, item.document.text]
        : [item.dropped, item.dropped.reason];
    found.push([origin.replace(`http://web.test:${port}`, ''), said]);
  }
  return found;
}

test('the pages of a sitemap are read politely, each problem with its reason, and never twice in a run', async () => {
  const expected = [
    ['http://other.test/x', 'other_host'],
    ['/a', 'page /a'],
    ['/b', 'page /b'],
    ['/busy', 'page /busy'],
    ['/file.csv#1', 'row'],
    ['/gone', 'not_a_page'],
    ['/inside', 'refused_address'],
    ['/moved', 'page /a?from=moved'],
    ['/secret', 'robots'],
  ];
  expect(await read('one')).toEqual(expected);
  expect(asked).not.toContain('/secret');
  expect(asked.filter((url) => url === '/busy')).toHaveLength(2);
  asked = [];
  // The same run again, as after a crash: only what was not kept is asked for.
  expect(await read('one')).toEqual(expected);
  expect(asked.toSorted()).toEqual(['/gone', '/inside']);
  asked = [];
  // Another run asks whether the pages changed.
  expect(await read('two')).toEqual(expected);
  expect(asked).toContain('/a again');
  expect(asked).not.toContain('/a');
});

test('an answer of DNS that changes between two look-ups is judged when it is dialled', async () => {
  const answers = [here, { address: '10.0.0.1', family: 4 }];
  const rebinding = options('rebinding', { resolve: async () => [answers.shift()!] });
  const url = (place: string) => `http://rebind.test:${port}${place}`;
  expect(await fetchPage(url('/one'), rebinding)).toMatchObject({
    contentType: expect.stringContaining('html'),
  });
  expect(await fetchPage(url('/two'), rebinding)).toMatchObject({
    reason: 'refused_address',
    detail: expect.stringContaining('10.0.0.1 is no public address'),
  });
  expect(asked).toEqual(['/one']);
});

test('without an allowance neither http nor this machine is asked', async () => {
  const { allowHttp: _http, allowAddress: _address, ...plain } = options('plain');
  expect(await fetchPage(`http://web.test:${port}/a`, plain)).toMatchObject({
    reason: 'refused_address',
  });
  expect(await fetchPage(`https://web.test:${port}/a`, plain)).toMatchObject({
    reason: 'refused_address',
  });
  await expect(webFiles('http://web.test/', '**/*', plain)).rejects.toThrow(/expected https/);
  expect(asked).toEqual([]);
});

test('a page that leads to itself ends, and a fetched page lies whole on the disk', async () => {
  expect(await fetchPage(`http://web.test:${port}/circle`, options('circle'))).toMatchObject({
    reason: 'not_a_page',
  });
  const found = await fetchPage(`http://web.test:${port}/kept`, options('kept'));
  expect('file' in found && (await readFile(found.file, 'utf8'))).toBe('<p>page /kept</p>');
});

test('a page that a power cut left without its bytes is fetched again, in the same run too', async () => {
  const url = `http://web.test:${port}/kept`;
  const found = await fetchPage(url, options('cut'));
  if (!('file' in found)) throw new Error('found no page');
  await writeFile(found.file, '');
  expect(await fetchedInRun(url, options('cut'))).toBeNull();
  await fetchPage(url, options('cut'));
  expect(await readFile(found.file, 'utf8')).toBe('<p>page /kept</p>');
  expect(await fetchedInRun(url, options('cut'))).toEqual(found);
});

test('a cancellation ends the wait for a host', async () => {
  const slow = { ...options('slow', { signal: AbortSignal.timeout(200) }), delayMs: 600_000 };
  await expect(webFiles(`http://web.test:${port}/sitemap.xml`, '**/*', slow)).rejects.toThrow(
    /aborted/,
  );
});

test('what a sitemap names and what is not read is dropped with its reason', async () => {
  const url = (place: string) => `http://web.test:${port}${place}`;
  const refusals = async (limits: { pages: number; sitemaps: number }) =>
    (await webFiles(url('/index/sitemap.xml'), '**/*', options('lost'), limits)).map(
      ({ path: name, refusal }) => [name, refusal?.reason ?? null],
    );
  expect(await refusals({ pages: 2, sitemaps: 9 })).toEqual([
    ['s.xml', 'other_host'],
    ['1', null],
    ['2', null],
    ['3', 'too_many'],
    ['gone', 'too_many'],
    ['last/sitemap.xml', 'too_many'],
  ]);
  expect(await refusals({ pages: 9, sitemaps: 3 })).toEqual([
    ['s.xml', 'other_host'],
    ['1', null],
    ['2', null],
    ['3', null],
    ['gone', 'not_a_page'],
    ['last/sitemap.xml', 'too_many'],
  ]);
});

test('a sitemap that an index names and that cannot be had now is asked for again, not left out', async () => {
  const failed: unknown = await webFiles(
    `http://web.test:${port}/broken/sitemap.xml`,
    '**/*',
    options('broken'),
  ).catch((error: unknown) => error);
  expect(failed).toMatchObject({ name: 'Error', message: expect.stringContaining('status 500') });
});

test('an ingest that goes on waits for no page that it has', async () => {
  const url = `http://web.test:${port}/one/sitemap.xml`;
  await webFiles(url, '**/*', options('resumed'));
  asked = [];
  const politely = {
    ...options('resumed', { signal: AbortSignal.timeout(1000) }),
    delayMs: 600_000,
  };
  expect(await webFiles(url, '**/*', politely)).toHaveLength(3);
  expect(asked).toEqual([]);
});

test('two attempts that fetch one page at once both have it', async () => {
  const url = `http://web.test:${port}/twice`;
  for (let round = 0; round < 10; round += 1) {
    const once = () => fetchPage(url, options(`twice-${round}`));
    const found = await Promise.all([once(), once(), once(), once()]);
    for (const page of found) expect(page).toMatchObject({ file: expect.any(String) });
  }
});

test('a redirect to what robots.txt of its host closes is not followed', async () => {
  const [file] = await webFiles(`http://web.test:${port}/to-secret`, '**/*', options('led'));
  expect(await file!.fetch!()).toMatchObject({ reason: 'robots' });
  expect(asked).toEqual(['/robots.txt', '/to-secret', '/robots.txt']);
});

test('a packed sitemap that is cut off or too large is dropped with its reason, and the others are read', async () => {
  const url = (place: string) => `http://web.test:${port}${place}`;
  const found = await webFiles(url('/packed/sitemap.xml'), '**/*', options('packed'), {
    sitemapBytes: 50_000,
  });
  expect(found.map(({ path: name, refusal }) => [name, refusal?.reason ?? null])).toEqual([
    ['cut/sitemap.xml.gz', 'damaged'],
    ['large/sitemap.xml.gz', 'too_large'],
    ['new', null],
    ['old', null],
    ['rows.csv', null],
    ['told', null],
    ['way/sitemap.xml', 'damaged'],
  ]);
});

test.each(['/cut/sitemap.xml.gz', '/large/sitemap.xml.gz', '/way/sitemap.xml'])(
  'a source whose own sitemap is %s is refused, and not tried again',
  async (place) => {
    const asked = webFiles(`http://web.test:${port}${place}`, '**/*', options('start'), {
      sitemapBytes: 50_000,
    });
    await expect(asked).rejects.toMatchObject({
      name: 'InvalidCorpus',
      message: expect.stringMatching(/\((damaged|too_large): .*Correct the address/),
    });
  },
);

test('a page has the date that its sitemap or its server says, until its text is another', async () => {
  const documents = async (run: string) => {
    const name = `http://web.test:${port}/dated/sitemap.xml`;
    const files = await webFiles(name, '**/*', options(run));
    const source = { name, license: 'x', textField: 'text', root: '', files, single: false };
    const found: Record<string, unknown> = {};
    for await (const item of readSource(source))
      if ('document' in item) found[item.document.text] = item.document;
    return found;
  };
  const dates = (found: Record<string, unknown>) =>
    Object.fromEntries(
      Object.entries(found).map(([text, one]) => [
        text,
        (one as { metadata: Record<string, unknown> }).metadata,
      ]),
    );
  const first = await documents('dated-1');
  expect(dates(first)).toEqual({
    'page /told': { date: '2024-01-02' },
    old: { date: '2024-01-03T04:05:06.000Z' },
    // Made when it was asked for.
    n: {},
    // What a row says of its own time goes before that of its file.
    row: { year: 1999 },
  });
  expect(await documents('dated-1')).toEqual(first);
  lastmod = '2025-05-05';
  lastModified = 'Mon, 05 May 2025 05:05:05 GMT';
  expect(await documents('dated-2')).toEqual(first);
  oldText = 'changed';
  expect(dates(await documents('dated-3'))['changed']).toEqual({
    date: '2025-05-05T05:05:05.000Z',
  });
});
