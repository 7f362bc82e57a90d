/** Payment cards and bank accounts, which carry check digits. */
import { after, before, digitsOf, matches, type Detector, type Span } from './detector.ts';

// Groups of four; American Express and Diners Club 4-6-5 and 4-6-4; or all in one.
const cardPattern = new RegExp(
  `${before}(?:[2-6]\\d{3}([ -]?)\\d{4}\\1\\d{4}\\1\\d{4}(?:\\1?\\d{1,3})?|[13]\\d{3}([ -]?)\\d{6}\\2\\d{4,5}|[2-6]\\d{11,18})${after}`,
  'g',
);
/** Of twelve digits there are only the oldest Maestro cards. */
const maestro = /^(?:5018|5020|5038|5893|6304|67\d\d)/;
/** Of those that begin with 1 or 2 and have fifteen, only JCB's old ones. */
const jcb15 = /^(?:1800|2131)/;

export const card: Detector = {
  kind: 'card',
  place: 'number',
  find: (text) => matches(text, cardPattern, isCard),
};

function isCard(match: string): boolean {
  const digits = digitsOf(match);
  if (digits.length === 12 && !maestro.test(digits)) return false;
  // Seventeen and eighteen digits are UnionPay's alone; others of that length are identity numbers.
  if ((digits.length === 17 || digits.length === 18) && !digits.startsWith('62')) return false;
  if (digits.startsWith('1') && !jcb15.test(digits)) return false;
  // One digit again and again fills a form; it is nobody's card.
  return luhn(digits) && !/^(\d)\1+$/.test(digits);
}

/** The check digit that every payment card carries (ISO/IEC 7812). */
export function luhn(number: string): boolean {
  const digits = digitsOf(number);
  if (digits.length < 12 || digits.length > 19) return false;
  let sum = 0;
  for (let index = 0; index < digits.length; index += 1) {
    const digit = Number(digits[digits.length - 1 - index]);
    const doubled = index % 2 === 1 ? digit * 2 : digit;
    sum += doubled > 9 ? doubled - 9 : doubled;
  }
  return sum % 10 === 0;
}

/** Length of an account number by its country (SWIFT's registry of IBANs). */
const ibanLengths = new Map(
  (
    'AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ' +
    'ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 ' +
    'LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 ' +
    'PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30'
  )
    .split(' ')
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))]),
);
const ibanStart = /(?<![A-Za-z0-9-])[A-Za-z]{2}\d{2}(?= ?[A-Za-z0-9]{4})/g;

export const iban: Detector = {
  kind: 'iban',
  place: 'number',
  *find(text): Generator<Span> {
    for (const { 0: start, index } of text.matchAll(ibanStart)) {
      const length = ibanLengths.get(start.slice(0, 2).toUpperCase());
      if (length === undefined) continue;
      let end = index;
      let account = '';
      while (account.length < length && end < text.length) {
        const character = text[end]!;
        if (/[A-Za-z0-9]/.test(character)) account += character;
        // One space after each group of four, none elsewhere.
        else if (character !== ' ' || account.length % 4 !== 0 || text[end - 1] === ' ') break;
        end += 1;
      }
      const whole = account.length === length && !/[A-Za-z0-9]/.test(text[end] ?? ' ');
      if (whole && mod97(account)) yield [index, end];
    }
  },
};

/** The check of ISO 13616: the country and check digits last, letters as numbers, remainder 1. */
export function mod97(account: string): boolean {
  let remainder = 0;
  for (const character of account.slice(4) + account.slice(0, 4)) {
    const value = Number.parseInt(character, 36);
    remainder = (remainder * (value > 9 ? 100 : 10) + value) % 97;
  }
  return remainder === 1;
}
