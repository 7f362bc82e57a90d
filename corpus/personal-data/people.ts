/** Where people live and what they are called, as far as the words around tell it: titles, labels, the parts of an address. */
import { matches, type Detector, type Span } from './detector.ts';

const street = String.raw`(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Square|Terrace|Crescent|Close|Parkway|Pkwy|Highway|Hwy)(?![A-Za-z])\.?`;
const unit = String.raw`(?:,?\s(?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|#)\.?\s?[\w-]{1,6})?`;
const postal = String.raw`(?:,?\s(?:[A-Z][\p{L}.'-]+\s?){1,3},\s?[A-Z]{2}(?:\s\d{5}(?:-\d{4})?)?)?`;
const western = new RegExp(
  `(?<![\\w$€£¥.,-])\\d{1,6}(?:-\\d{1,4})?[A-Za-z]?\\s(?:[NSEW]\\.?\\s)?(?:[A-Z][\\p{L}'’-]*\\.?\\s|\\d{1,3}(?:st|nd|rd|th)\\s){1,4}${street}${unit}${postal}`,
  'gu',
);
const box =
  /(?<!\w)(?:(?:PSC \d{1,4}, Box \d{1,5}|Unit \d{1,5} Box \d{1,5}|USN[SV] \p{L}+|USCGC \p{L}+)\s(?:APO|FPO|DPO) A[AEP] \d{5}|P\.? ?O\.? ?Box \d{1,6})/gu;
const han = '\\p{Script=Han}';
const number = '[\\d０-９一二三四五六七八九十百]+';
const eastern = new RegExp(
  `(?:${han}{2,3}[縣市省]${han}{0,6}?(?:[區鄉鎮市]${han}{0,8}?)?|${han}{2,3}[市省]${han}{0,6}?(?:[区乡镇县市]${han}{0,8}?)?)` +
    `${han}{1,6}(?:路|街|大道)(?:${number}段)?(?:${number}巷)?(?:${number}弄)?${number}(?:[-之]${number})?[號号](?:${number}[樓楼层室])?(?:[-之]${number})?`,
  'gu',
);

/** Street addresses with a number and the kind of street; boxes; Chinese ones from the city to the number. */
export const address: Detector = {
  kind: 'address',
  place: 'text',
  mayBe: (text) => /\d|[號号]/.test(text),
  *find(text): Generator<Span> {
    const spans = [western, box, eastern].flatMap((pattern) => [...matches(text, pattern)]);
    yield* apart(spans);
  },
};

const titled =
  /(?<=(?<![\p{L}])(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Herr|Frau|Monsieur|Madame|Señor|Señora)\.? )(?!(?:Vice |Madam |Acting )?(?:President|Speaker|Chairman|Chairwoman|Chair|Chief|Justice|Secretary|Minister|Mayor|Governor|Senator|Ambassador|General|Moderator|Clerk)(?!\p{L}))\p{Lu}[\p{L}'’-]+(?: (?:\p{Lu}\.|(?:de|van|von|der|den|da|del|la|bin|al) \p{Lu}[\p{L}'’-]+|\p{Lu}[\p{L}'’-]+)){0,3}/gu;
const labelled =
  /(?<=(?<![\p{L}])(?:Name|Full name|Customer|Patient|Contact|Attn|Dear)[:,]? )\p{Lu}[\p{L}'’-]+(?: (?:\p{Lu}\.?|\p{Lu}[\p{L}'’-]+)){1,3}(?=[\n,.;]|$)/gu;
const labelledHan =
  /(?<=(?:姓名|聯絡人|联系人|申請人|申请人|負責人|负责人|收件人|承辦人|承办人|病人|患者)[:：] ?)\p{Script=Han}{2,4}(?!\p{Script=Han})/gu;
const surnames =
  '王李張张陳陈劉刘黃黄林楊杨吳吴趙赵周徐孫孙馬马朱胡郭何高羅罗鄭郑梁謝谢宋唐許许鄧邓韓韩馮冯曹彭曾蕭萧田董袁潘蔡蔣蒋余杜葉叶程蘇苏魏呂吕丁任沈姚盧卢姜崔鍾钟譚谭陸陆汪范金石廖賈贾夏韋韦傅方白鄒邹孟熊秦邱江尹薛閻阎段雷侯龍龙史陶黎賀贺顧顾毛郝龔龚邵萬万錢钱嚴严賴赖洪';
const politeHan = new RegExp(
  `(?<![${surnames}])[${surnames}]${han}{1,2}(?=先生|女士|小姐|太太|博士|教授)`,
  'gu',
);

/** Names after a title or a label, and Chinese ones before a title. */
export const name: Detector = {
  kind: 'name',
  place: 'text',
  *find(text): Generator<Span> {
    yield* apart(
      [titled, labelled, labelledHan, politeHan].flatMap((pattern) => [...matches(text, pattern)]),
    );
  },
};

function* apart(spans: readonly Span[]): Generator<Span> {
  let reached = 0;
  for (const [start, end] of spans.toSorted((a, b) => a[0] - b[0] || b[1] - a[1])) {
    if (start < reached) continue;
    reached = end;
    yield [start, end];
  }
}
