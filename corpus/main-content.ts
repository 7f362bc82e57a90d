/**
 * The main content of a page: what its author wrote, without menus, footers, notices and lists of other pages. Blocks of
 * text are weighed and lend their weight to what holds them, as in Arc90's Readability; the heaviest is taken.
 */
import { htmlToText } from './html.ts';
import { parseHtml, type HtmlElement } from './html-tree.ts';

const dropped = new Set(
  'nav footer aside form button select textarea input label dialog figure figcaption menu'.split(
    ' ',
  ),
);
const blocks = new Set(
  (
    'address article aside blockquote body br caption center dd details div dl dt fieldset figure footer form h1 h2 h3 h4 ' +
    'h5 h6 header hr html legend li main ol p pre section summary table tbody tfoot thead tr ul'
  ).split(' '),
);
const unlikely =
  /(^|[\s_-])(ads?|advert\w*|affiliate|agegate|alert|author-?(bio|box|info)|banner|bio|breadcrumbs?|bottom|byline|caption|comments?|commentlist|consent|contact|cookies?|copyright|credits?|cta|disclaimer|disqus|download|embed|follow\w*|foot|footer\w*|gallery|gdpr|head|header|hidden|keywords|legal|login|masthead|menu|meta|metadata|modal|more|most\w*|nav\w*|navigation|newsletter\w*|notice|outbrain|overlay|pagination|pager|paywall|popular|popup|post-?(tags|nav|meta|footer)|print|promo\w*|rail|rating|read-?(more|next)|recirc\w*|recommend\w*|related\w*|replies|respond|reviews?|rss|search|share\w*|sharing|sharedaddy|shop|sidebar\w*|signup|site-?header|skip|social\w*|sponsor\w*|story-?meta|subscri\w*|survey|taboola|tags?|teasers?|timestamp|tools?|toolbar|trending|video|widget\w*|wp-caption)([\s_-]|$)/i;
const likely =
  /(^|[\s_-])(article\w*|body|content|entry|main|page|post|story|text|blog)([\s_-]|$)/i;
const noise =
  /^(advertisement|ad|share( this)?( on .*)?|read more.*|related( articles| stories| content)?:?|sign up.*|subscribe.*|follow us.*|comments?|print|email|tweet|loading.*|photo:.*|image:.*|source:.*|skip to.*)$/i;

interface Weighed {
  element: HtmlElement;
  weight: number;
}

/** Title and main content of a page; all that it says where no part stands out. */
export function mainContent(html: string): { title: string; text: string } {
  const { root, title } = parseHtml(html);
  prune(root, paragraphCharacters(root));
  const best = heaviest(root);
  const all = textOf(root);
  let text = best === null ? all : textOf(best);
  if (text.length < 200 || text.length < all.length * 0.05) text = all;
  return text === '' ? htmlToText(html) : { title, text };
}

/** Takes out what is no content by its tag, by its own words for itself, or because it is hidden. */
function prune(element: HtmlElement, all: number): void {
  element.children = element.children.filter((child) => {
    if (typeof child === 'string') return true;
    // What holds most of the page's paragraphs is no menu, whatever it is called.
    if (isDropped(child) && paragraphCharacters(child) <= all * 0.4) return false;
    prune(child, all);
    return true;
  });
}

function isDropped({ name, attributes, children }: HtmlElement): boolean {
  if (dropped.has(name)) return true;
  const { class: classes = '', id = '', role = '', style = '' } = attributes;
  if ('hidden' in attributes || attributes['aria-hidden'] === 'true') return true;
  if (/display:\s*none|visibility:\s*hidden/i.test(style)) return true;
  if (/^(navigation|banner|complementary|contentinfo|search|menu|dialog|alert)$/i.test(role))
    return true;
  if (name === 'body' || name === 'html' || name === 'article' || name === 'main') return false;
  const words = `${classes} ${id}`;
  if (!unlikely.test(words)) return name === 'header' && !hasParagraphs(children);
  return !likely.test(words);
}

const counted = new WeakMap<HtmlElement, number>();

/** Characters of paragraphs under an element. */
function paragraphCharacters(element: HtmlElement): number {
  const known = counted.get(element);
  if (known !== undefined) return known;
  let sum = element.name === 'p' ? rawLength(element) : 0;
  if (element.name !== 'p') {
    for (const child of element.children)
      if (typeof child !== 'string') sum += paragraphCharacters(child);
  }
  counted.set(element, sum);
  return sum;
}

function rawLength(element: HtmlElement): number {
  return element.children.reduce(
    (sum, child) => sum + (typeof child === 'string' ? child.length : rawLength(child)),
    0,
  );
}

function hasParagraphs(children: HtmlElement['children']): boolean {
  return children.some(
    (child) => typeof child !== 'string' && (child.name === 'p' || hasParagraphs(child.children)),
  );
}

const paragraphs = new Set(['p', 'pre', 'blockquote', 'td', 'li']);

/** The element whose paragraphs weigh most, together with those of its kind beside it. */
function heaviest(root: HtmlElement): HtmlElement | null {
  const weights = new Map<HtmlElement, number>();
  const add = (element: HtmlElement | null, weight: number): void => {
    if (element === null) return;
    weights.set(element, (weights.get(element) ?? initialWeight(element)) + weight);
  };
  const visit = (element: HtmlElement): void => {
    const own = paragraphs.has(element.name) ? inlineText(element) : directText(element);
    const length = lengthOf(own);
    if (length >= 25) {
      const links = paragraphs.has(element.name) ? linkShare(element) : 0;
      const commas = own.match(/[,，、;；]/g)?.length ?? 0;
      const weight = (1 + Math.min(commas, 10) + Math.min(length / 100, 3)) * (1 - links);
      const holder = paragraphs.has(element.name) ? element.parent : element;
      add(holder, weight);
      add(holder?.parent ?? null, weight / 2);
      add(holder?.parent?.parent ?? null, weight / 4);
    }
    for (const child of element.children) if (typeof child !== 'string') visit(child);
  };
  visit(root);
  const found = [...weights]
    .map(([element, weight]): Weighed => ({ element, weight: weight * (1 - linkShare(element)) }))
    .toSorted((a, b) => b.weight - a.weight);
  const [best] = found;
  if (best === undefined || best.weight < 8) return null;
  return withSiblings(best, weights);
}

function withSiblings(best: Weighed, weights: ReadonlyMap<HtmlElement, number>): HtmlElement {
  const { parent } = best.element;
  if (parent === null) return best.element;
  const children = parent.children.filter((child) => {
    if (child === best.element) return true;
    if (typeof child === 'string') return false;
    if ((weights.get(child) ?? 0) * (1 - linkShare(child)) >= Math.max(10, best.weight * 0.2))
      return true;
    return child.name === 'p' && inlineText(child).length > 80 && linkShare(child) < 0.25;
  });
  return { ...parent, children };
}

function initialWeight({ name, attributes }: HtmlElement): number {
  const words = `${attributes['class'] ?? ''} ${attributes['id'] ?? ''}`;
  const byName =
    name === 'article'
      ? 15
      : name === 'main' || name === 'section'
        ? 5
        : name === 'div'
          ? 3
          : name === 'ul' || name === 'ol' || name === 'table'
            ? -3
            : 0;
  const byType = /articleBody/i.test(attributes['itemprop'] ?? '') ? 40 : 0;
  return byName + byType + (likely.test(words) ? 12 : 0) - (unlikely.test(words) ? 12 : 0);
}

/** Characters, one of a script without spaces counting as two. */
function lengthOf(text: string): number {
  return text.length + (text.match(/[\u3040-\u30FF\u3400-\u9FFF]/g)?.length ?? 0);
}

function directText(element: HtmlElement): string {
  return element.children
    .filter((child) => typeof child === 'string')
    .join('')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

const texts = new WeakMap<HtmlElement, string>();

function inlineText(element: HtmlElement): string {
  const known = texts.get(element);
  if (known !== undefined) return known;
  const parts = element.children.map((child) =>
    typeof child === 'string' ? child : inlineText(child),
  );
  const text = parts.join('').replaceAll(/\s+/g, ' ').trim();
  texts.set(element, text);
  return text;
}

/** Of the characters, those in links. */
function linkShare(element: HtmlElement): number {
  const total = inlineText(element).length;
  if (total === 0) return 0;
  const linked = (one: HtmlElement): number =>
    one.children.reduce((sum, child) => {
      if (typeof child === 'string') return sum;
      return sum + (child.name === 'a' ? inlineText(child).length : linked(child));
    }, 0);
  return Math.min(1, linked(element) / total);
}

/** The text of an element, a block a line; lists of links and lines that ask for something are left out. */
function textOf(element: HtmlElement): string {
  const parts: string[] = [];
  const write = (one: HtmlElement, preformatted: boolean): void => {
    for (const child of one.children) {
      if (typeof child === 'string') {
        parts.push(preformatted ? child : child.replaceAll(/\s+/g, ' '));
        continue;
      }
      if (isListOfLinks(child)) continue;
      const block = blocks.has(child.name);
      if (block) parts.push('\n');
      write(child, preformatted || child.name === 'pre');
      if (block) parts.push('\n');
      else if (child.name === 'td' || child.name === 'th') parts.push('\t');
    }
  };
  write(element, element.name === 'pre');
  return parts
    .join('')
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line.trim() !== '' && !noise.test(line.trim()))
    .map((line) => (line.startsWith(' ') && !line.startsWith('  ') ? line.slice(1) : line))
    .join('\n')
    .trim();
}

const listLike = new Set([
  'ul',
  'ol',
  'div',
  'section',
  'table',
  'dl',
  'p',
  'h2',
  'h3',
  'h4',
  'li',
]);

function isListOfLinks(element: HtmlElement): boolean {
  if (!listLike.has(element.name)) return false;
  const text = inlineText(element);
  const share = linkShare(element);
  return (text.length < 400 && share > 0.6) || share > 0.85;
}
