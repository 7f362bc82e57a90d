/** How to reach people: e-mail addresses, telephone numbers, IP addresses. */
import { isIPv6 } from 'node:net';
import { after, before, digitsOf, follows, matches, type Detector, type Span } from './detector.ts';

// Each pattern starts only where a run of its characters starts, so a long run is looked at once.
const emailPattern =
  /(?<![\w.%+-])[\w.%+-]{1,64}(?:@| ?[([](?:at|@)[)\]] ?)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.| ?[([]dot[)\]] ?))+[A-Za-z]{2,24}(?![\w-])/g;

export const email: Detector = {
  kind: 'email',
  place: 'at',
  find: (text) => matches(text, emailPattern),
};

const extension = String.raw`(?:,? ?(?:x|ext\.?|extension|轉|分機|分机) ?\d{1,6})?`;
const phonePattern = new RegExp(
  before +
    '(?:' +
    [
      // +886 2 2345 6789, +1 (415) 555-2671, +46 (0)8 928 571 38, 001-415-555-2671
      String.raw`\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,4}\)?){2,6}`,
      String.raw`00[1-9]\d{0,2}(?:[ .-]\(?\d{1,4}\)?){2,5}`,
      // (415) 555-2671, 1-415-555-2671, 415.555.2671
      String.raw`(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}([.-]))[2-9]\d{2}(?:\1|[.-])\d{4}`,
      // (02) 2345-6789, (020) 7946 0958
      String.raw`\(0\d{1,4}\)[ -]?\d{3,4}[ -]?\d{3,4}`,
      // 0912-345-678, 02-2345-6789, 020 7946 0958, 03-1234-5678
      String.raw`0\d{1,4}[ -]\d{2,4}[ -]\d{3,4}`,
      // 01 23 45 67 89, 0490 75 40 81, 056 590 36 33
      String.raw`0\d(?:([ .-])\d{2})(?:\2\d{2}){3}`,
      String.raw`0\d{2,3}([ .-])\d{2,3}\3\d{2}\3\d{2}`,
      // 0393 1144137
      String.raw`0\d{2,4}[ -]\d{6,8}`,
      // 0912345678; 13812345678, 138 1234 5678
      String.raw`09\d{8}`,
      String.raw`1[3-9]\d([ -]?)\d{4}\4\d{4}`,
    ].join('|') +
    `)${extension}${after}`,
  'gi',
);

const phoneWords =
  /(?:(?<!<)\b(?:phone|telephone|tele?|mobile|cell|fax|desk|whatsapp|hotline|call (?:(?:me|us|him|her|them) )?(?:at|on)?|(?:messages?|text|sms) to|answering at|reach (?:me|us|him|her|them) (?:at|on)|registered|contact number)(?![A-Za-z])|電話|手機|行動|傳真|聯絡|专线|專線|洽|电话|手机|传真|联系|热线|電話番号|전화)[^\d\n()+]{0,12}\n?\s?$/i;
const phoneUse = /^[ -](?:office|fax|mobile|home|work|cell)\b/i;
// Any grouping at all, where the words around say what it is.
const loosePattern = new RegExp(
  `${before}\\+?\\(?\\d{1,4}\\)?(?:[ .-]?\\(?\\d{1,4}\\)?){1,6}${extension}(?![\\w%=*×÷+]|\\.\\d|\\/(?![\\d ]))`,
  'gi',
);

export const phone: Detector = {
  kind: 'phone',
  place: 'number',
  *find(text): Generator<Span> {
    const surely = [...matches(text, phonePattern, (match) => hasDigits(match, 9))];
    const named = [
      ...matches(text, loosePattern, (match, start) => {
        const end = start + match.length;
        const said =
          follows(text, start, phoneWords, 40) || phoneUse.test(text.slice(end, end + 10));
        return said && hasDigits(match, 7) && !looksLikeDate(match);
      }),
    ];
    let reached = 0;
    for (const [start, end] of [...surely, ...named].toSorted(
      (a, b) => a[0] - b[0] || b[1] - a[1],
    )) {
      if (start < reached) continue;
      reached = end;
      yield [start, end];
    }
  },
};

function hasDigits(match: string, least: number): boolean {
  const digits = digitsOf(match.replace(/(?:x|ext).*$/i, '')).length;
  return digits >= least && digits <= 15;
}

const looksLikeDate = (match: string): boolean =>
  /^(?:1[6-9]|20)\d{2}[-. ]\d{1,2}[-. ]\d{1,2}\b/.test(match);

const octet = String.raw`(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)`;
const ipv4 = new RegExp(`(?<![\\w.])(?:${octet}\\.){3}${octet}(?!\\w|\\.\\d)`, 'g');
const ipv6 = /(?<![\w:.])[0-9A-Fa-f:]{6,45}(?![\w:])/g;
const versionWords =
  /(?:\b(?:v|ver|version|release|build|firmware|section|chapter|rev)|版本|版|第|節)[.: ]{0,2}$/i;

/** Addresses that anybody on the internet could have; those of private networks and small numbers of versions are nobody's. */
export const ip: Detector = {
  kind: 'ip',
  place: 'text',
  mayBe: (text) => /\d\.\d{1,3}\.\d|:[0-9A-Fa-f]{0,4}:/.test(text),
  *find(text): Generator<Span> {
    yield* matches(
      text,
      ipv4,
      (match, start) => isPublic(match) && !follows(text, start, versionWords, 12),
    );
    if (/:[0-9A-Fa-f]{0,4}:/.test(text))
      yield* matches(text, ipv6, (match) => isIPv6(match) && isPublic6(match));
  },
};

function isPublic(address: string): boolean {
  const [a, b, ...rest] = address.split('.').map(Number) as [number, number, number, number];
  if (a === 0 || a === 10 || a === 127 || a >= 224) return false;
  if ((a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168) || (a === 169 && b === 254))
    return false;
  if (a === 100 && b >= 64 && b < 128) return false;
  return Math.max(a, b, ...rest) >= 32;
}

function isPublic6(address: string): boolean {
  const groups = address.split(':').filter((group) => group !== '');
  return groups.length >= 3 && /\d/.test(address) && !/^(?:fe[89ab]|f[cd]|ff|0*:)/i.test(address);
}
