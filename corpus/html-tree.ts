/** A page as a tree, read as a browser would; deeper than any honest page, it stays flat. */
import { Parser } from 'htmlparser2';

export interface HtmlElement {
  name: string;
  attributes: Record<string, string>;
  children: (HtmlElement | string)[];
  parent: HtmlElement | null;
}

const maxDepth = 400;
const unread = new Set(
  'script style noscript template svg math iframe object embed canvas audio video map'.split(' '),
);

/** The tree and the title. Scripts, styles and what is embedded are left out. */
export function parseHtml(html: string): { root: HtmlElement; title: string } {
  const root: HtmlElement = { name: 'root', attributes: {}, children: [], parent: null };
  let at = root;
  let depth = 0;
  let flat = 0;
  let title = '';
  let inTitle = false;
  const skipping: string[] = [];
  const parser = new Parser(
    {
      onopentag(name, attributes) {
        if (name === 'title' && !skipping.includes('svg')) inTitle = true;
        if (unread.has(name) || name === 'head') skipping.push(name);
        else if (name === 'body') skipping.length = 0;
        if (skipping.length > 0) return;
        if (depth >= maxDepth) {
          flat += 1;
          return;
        }
        const element = { name, attributes, children: [], parent: at };
        at.children.push(element);
        at = element;
        depth += 1;
      },
      ontext(text) {
        if (inTitle) title += text;
        else if (skipping.length === 0) at.children.push(text);
      },
      onclosetag(name) {
        if (name === 'title') inTitle = false;
        if (unread.has(name) || name === 'head') {
          const opened = skipping.lastIndexOf(name);
          if (opened >= 0) skipping.length = opened;
          return;
        }
        if (skipping.length > 0) return;
        if (flat > 0) {
          flat -= 1;
        } else if (at.parent !== null && at.name === name) {
          at = at.parent;
          depth -= 1;
        }
      },
    },
    { decodeEntities: true },
  );
  parser.end(html);
  return { root, title: title.replaceAll(/\s+/g, ' ').trim() };
}
