/** The text that a reader of an HTML page sees: no scripts, styles or navigation; blocks become lines. */
import { Parser } from 'htmlparser2';

const skipped = new Set(
  'script style nav template noscript svg math iframe object select button head'.split(' '),
);
const blocks = new Set(
  (
    'address article aside blockquote body caption center dd details dialog div dl dt fieldset figcaption figure ' +
    'footer form h1 h2 h3 h4 h5 h6 header hr html legend li main ol p pre section summary table tbody tfoot thead tr ul'
  ).split(' '),
);
const cells = new Set(['td', 'th']);

/** Title and text of a page; damaged markup is read as a browser would, never refused. */
export function htmlToText(html: string): { title: string; text: string } {
  const parts: string[] = [];
  let title = '';
  let inTitle = false;
  const skipping: string[] = [];
  let preformatted = 0;
  const parser = new Parser(
    {
      onopentag(name) {
        if (name === 'title' && !skipping.includes('svg')) inTitle = true;
        if (skipped.has(name)) skipping.push(name);
        else if (name === 'body') skipping.length = 0;
        if (skipping.length > 0) return;
        if (name === 'pre') preformatted += 1;
        if (name === 'br' || blocks.has(name)) parts.push('\n');
      },
      ontext(text) {
        if (inTitle) title += text;
        else if (skipping.length === 0)
          parts.push(preformatted > 0 ? text : text.replaceAll(/\s+/g, ' '));
      },
      onclosetag(name) {
        if (name === 'title') inTitle = false;
        if (skipped.has(name)) {
          const opened = skipping.lastIndexOf(name);
          if (opened >= 0) skipping.length = opened;
        }
        if (skipping.length > 0) return;
        if (name === 'pre') preformatted = Math.max(0, preformatted - 1);
        if (blocks.has(name)) parts.push('\n');
        else if (cells.has(name)) parts.push('\t');
      },
    },
    { decodeEntities: true },
  );
  parser.end(html);
  return { title: title.replaceAll(/\s+/g, ' ').trim(), text: parts.join('').trim() };
}
