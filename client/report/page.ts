/** The frame of every page: one HTML file that loads nothing and runs nothing. */
import { html, type Html } from './html.ts';
import { style } from './style.ts';

const policy = `default-src 'none'; style-src 'unsafe-inline'`;

/** The whole file. With `refreshS` the browser reads it again after so many seconds. */
export function renderPage(title: string, body: Html, refreshS: number | null = null): string {
  const head = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="referrer" content="no-referrer">
${refreshS !== null && html`<meta http-equiv="refresh" content="${refreshS}" /> `}<title>${title}</title>
<style>`.text;
  const rest = html`</style>
</head>
<body>
${body}
</body>
</html>
`.text;
  return head + style + rest;
}
