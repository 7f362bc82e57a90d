/** HTML as a tagged template: what is put in is escaped, unless it is HTML made here. */

export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type Part = Html | string | number | null | undefined | false | readonly Part[];

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text as HTML text or attribute. Controls, which HTML forbids, and marks that turn the direction of a line are shown as �. */
function escapeHtml(text: string): string {
  return text
    .toWellFormed()
    .replaceAll(
      /[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F\u202A-\u202E\u2066-\u2069\uFFFE\uFFFF]/g,
      '�',
    )
    .replaceAll(/[&<>"']/g, (character) => entities[character]!);
}

function put(part: Part): string {
  if (part === null || part === undefined || part === false) return '';
  if (part instanceof Html) return part.text;
  if (typeof part === 'object') return part.map(put).join('');
  return escapeHtml(String(part));
}

/** html`<p>${text}</p>` escapes the text. */
export function html(strings: TemplateStringsArray, ...parts: Part[]): Html {
  return new Html(strings.map((fixed, index) => fixed + put(parts[index])).join(''));
}

const simplifiedOnly = /[这国们时会对说为个来学发务业东车长门问间与从众书习写电云见]/g;
const traditionalOnly = /[這國們時會對說為個來學發務業東車長門問間與從眾書習寫電雲見]/g;

/** Language of a text by its script, so that the right glyphs are drawn; undefined keeps the page's. */
export function langOf(text: string): string | undefined {
  if (/[\u3040-\u30FF]/.test(text)) return 'ja';
  if (/[\uAC00-\uD7AF]/.test(text)) return 'ko';
  if (!/\p{Script=Han}/u.test(text)) return undefined;
  const simplified = text.match(simplifiedOnly)?.length ?? 0;
  const traditional = text.match(traditionalOnly)?.length ?? 0;
  if (simplified > traditional) return 'zh-Hans';
  return 'zh-Hant';
}

/** A text from outside, in its own language and direction. */
export function foreign(text: string, tag: 'span' | 'p' | 'td' | 'q' = 'span'): Html {
  const lang = langOf(text);
  const open = `${tag}${lang === undefined ? '' : ` lang="${lang}"`} dir="auto"`;
  return new Html(`<${open}>${escapeHtml(text)}</${tag}>`);
}
