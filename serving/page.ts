/**
 * The chat page at GET /: files beside this module, served without a key because they hold none. The
 * page may load and ask nothing but its own node, runs no inline script, and cannot write HTML.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Hono } from 'hono';

const types = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
} as const;

const files: [route: string, file: string, type: keyof typeof types][] = [
  ['/', 'index.html', 'html'],
  ['/page/chat.css', 'chat.css', 'css'],
  ['/page/icon.svg', 'icon.svg', 'svg'],
  ['/page/main.js', 'main.js', 'js'],
  ['/page/answer.js', 'answer.js', 'js'],
  ['/page/api.js', 'api.js', 'js'],
  ['/page/dom.js', 'dom.js', 'js'],
  ['/page/exchange.js', 'exchange.js', 'js'],
  ['/page/keep.js', 'keep.js', 'js'],
  ['/page/key.js', 'key.js', 'js'],
  ['/page/settings.js', 'settings.js', 'js'],
  ['/page/speech.js', 'speech.js', 'js'],
];

/** The routes that need no key. */
export const pageRoutes: readonly string[] = files.map(([route]) => route);

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

/** Adds the routes of the page; throws when a file of it is missing. */
export function addPage(app: Hono): void {
  for (const [route, file, type] of files) {
    const bytes = readPageFile(file);
    const etag = `"${createHash('sha256').update(bytes).digest('hex').slice(0, 32)}"`;
    const headers = {
      'content-type': types[type],
      'content-security-policy': policy,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'cache-control': 'no-cache',
      etag,
    };
    app.get(route, (context) =>
      context.req.header('if-none-match') === etag
        ? new Response(null, { status: 304, headers })
        : new Response(bytes, { headers }),
    );
  }
}

function readPageFile(file: string): Uint8Array<ArrayBuffer> {
  const place = fileURLToPath(new URL(`./page/${file}`, import.meta.url));
  try {
    return new Uint8Array(readFileSync(place));
  } catch (error) {
    throw new Error(
      `${place} cannot be read, expected a file of the chat page. Install Temper again.`,
      { cause: error },
    );
  }
}
