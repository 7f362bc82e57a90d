/** Steps that take away lines and signs that say nothing. Each returns the very same string where there is nothing to do. */
import { c4Lines } from '../../config/cleaning-thresholds.ts';

/** Lost and private characters, and lines of nothing but strokes. */
export function removeMeaningless(text: string): string {
  let result = text;
  if (/[\uFFFD\uE000-\uF8FF\uFFF0-\uFFFC\uFDD0-\uFDEF]|\uDB40/.test(result))
    result = result.replaceAll(
      /[\uFFFD\uE000-\uF8FF\uFFF0-\uFFFC\uFDD0-\uFDEF]|[\u{E0000}-\u{E007F}]/gu,
      '',
    );
  if (/^[^\p{L}\p{N}\n]{4,}$/mu.test(result))
    result = result.replaceAll(/^(?=[^\p{L}\p{N}\n]{4,}$)[-=_*~#+.·•■□◆◇★☆─━│┃┄┅═║\s]+$\n?/gmu, '');
  return result === text ? text : tidied(result);
}

/** Spaces before a comma or full stop, commas in rows, and shouting. */
export function mendPunctuation(text: string): string {
  if (!/[\p{L}\p{N})] [,.](?=\s|$)|[,，、;；]{2}|[!?！？]{4}|。{2}/u.test(text)) return text;
  return text
    .replaceAll(/(?<=[\p{L}\p{N})]) (?=[,.](?:\s|$))/gu, '')
    .replaceAll(/([,，、;；])\1+/g, '$1')
    .replaceAll(/([!?！？])\1{3,}/g, '$1$1$1')
    .replaceAll(/(?<!。)。{2}(?!。)/g, '。');
}

const boilerplate = new RegExp(
  `^(?:${[
    String.raw`skip to (?:main )?(?:content|navigation).*`,
    String.raw`(?:we|this (?:web)?site) uses? cookies.*`,
    String.raw`(?:accept|manage|reject)(?: all)? cookies\.?`,
    String.raw`(?:©|\(c\)|copyright)(?!\w).{0,80}`,
    String.raw`.{0,60}all rights reserved\.?.{0,30}`,
    String.raw`(?:terms (?:of|and) (?:use|service|conditions)|privacy policy|cookie policy|sitemap|contact us|about us)(?: ?[|·•-] ?.{0,80})?`,
    String.raw`(?:read|learn|show|see|view) (?:more|less|all)(?: ?[»›→>.…]{0,3})`,
    String.raw`(?:click here|sign in|sign up|log ?in|log ?out|register|subscribe|follow us|print|share)(?: (?:now|here|to .{0,40}|on .{0,30}|this .{0,30}))?[.!]?`,
    String.raw`(?:previous|next|older|newer)(?: (?:post|page|article|entry)s?)?(?: ?[»›→>«‹←]{0,3})`,
    String.raw`(?:subscribe to|sign up for) (?:our|the) newsletter.{0,60}`,
    String.raw`(?:advertisement|sponsored(?: content)?|loading)\.{0,3}`,
    String.raw`(?:please )?enable javascript.{0,80}`,
    String.raw`(?:版權所有|版权所有|著作權所有).{0,60}`,
    String.raw`(?:隱私權政策|隱私權聲明|隐私政策|網站安全政策|使用條款|使用条款|服務條款|服务条款|網站導覽|网站地图|聯絡我們|联系我们|關於我們|关于我们)(?: ?[|｜·-] ?.{0,60})?`,
    String.raw`(?:回首頁|回到首頁|返回首页|回頂部|返回顶部|跳到主要內容區?塊?|跳转到内容|繼續閱讀|继续阅读|閱讀更多|阅读更多|更多|上一篇|下一篇|上一頁|下一頁|上一页|下一页|分享到|轉寄友人|友善列印|列印本頁|登入|登录|註冊|注册|點此|点击这里)[.。!！>»：:]{0,2}`,
    String.raw`本網站使用.{0,10}cookies?.{0,80}`,
  ].join('|')})$`,
  'i',
);

/** Lines of menus, banners and footers. */
export function removeBoilerplate(text: string): string {
  return withoutLines(text, (line) => line.length <= 160 && boilerplate.test(line));
}

/** A line that stood in the text before is left out, if it is long or stands right below itself. */
export function removeRepeatedLines(text: string): string {
  const seen = new Set<string>();
  let last = '';
  return withoutLines(text, (line) => {
    if (line === '') return false;
    const repeated = line === last || (line.length >= 20 && seen.has(line));
    seen.add(line);
    last = line;
    return repeated;
  });
}

const terminal = /[.!?"'”’。！？」』…]$/;
const policy =
  /terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies|javascript/i;

/** C4's rules on lines (Raffel et al. 2020): an end of a sentence, three words, neither scripts nor policies. */
export function keepSentences(
  text: string,
  { minWordsPerLine: least = c4Lines.minWordsPerLine }: Partial<typeof c4Lines> = {},
): string {
  // A word of Chinese has one and a half characters on average.
  const characters = new RegExp(
    `[\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}]{${Math.round(least * 1.5)}}`,
    'u',
  );
  const hasWords = (line: string): boolean =>
    characters.test(line) || (line.match(/\S+/g)?.length ?? 0) >= least;
  return withoutLines(
    text,
    (line) => line !== '' && (!terminal.test(line) || !hasWords(line) || policy.test(line)),
  );
}

function withoutLines(text: string, left: (line: string) => boolean): string {
  const lines = text.split('\n');
  const kept = lines.filter((line) => !left(line));
  return kept.length === lines.length ? text : tidied(kept.join('\n'));
}

function tidied(text: string): string {
  return text.replaceAll(/\n{3,}/g, '\n\n').trim();
}
