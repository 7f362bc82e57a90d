/**
 * Personal data that its form gives away: e-mail addresses, telephone and card numbers become typed
 * placeholders. Money, years and dates must survive, so a number needs the shape of its kind.
 */

export const placeholders = { email: '<EMAIL>', phone: '<PHONE>', card: '<CARD>' } as const;
export type PersonalData = keyof typeof placeholders;

// Each pattern starts only where a run of its characters starts, so a long run is looked at once.
const email =
  /(?<![\w.%+-])[\w.%+-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![\w-])/g;

const before = String.raw`(?<![\w$€£¥+.,/-]|[$€£¥] )`;
const after = String.raw`(?![\w%]|[.,/-]\d)`;

const card = new RegExp(
  `${before}(?:[2-6]\\d{3}([ -]?)\\d{4}\\1\\d{4}\\1\\d{4}(?:\\1?\\d{1,3})?|3\\d{3}([ -]?)\\d{6}\\2\\d{4,5}|[2-6]\\d{12,18})${after}`,
  'g',
);

const phone = new RegExp(
  before +
    '(?:' +
    [
      // +886 2 2345 6789, +1 (415) 555-2671
      String.raw`\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,4}\)?){2,6}`,
      // (415) 555-2671, 1-415-555-2671, 415.555.2671
      String.raw`(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}([.-]))[2-9]\d{2}(?:\1|[.-])\d{4}`,
      // (02) 2345-6789, (020) 7946 0958
      String.raw`\(0\d{1,4}\)[ -]?\d{3,4}[ -]?\d{3,4}`,
      // 0912-345-678, 02-2345-6789, 020 7946 0958, 03-1234-5678
      String.raw`0\d{1,4}[ -]\d{2,4}[ -]\d{3,4}`,
      // 01 23 45 67 89
      String.raw`0\d(?:([ .-])\d{2})(?:\2\d{2}){3}`,
      // 0912345678; 13812345678, 138 1234 5678
      String.raw`09\d{8}`,
      String.raw`1[3-9]\d([ -]?)\d{4}\3\d{4}`,
    ].join('|') +
    `)${after}`,
  'g',
);

/** Replaces personal data and counts what it replaced. A redacted text has nothing left to redact. */
export function redact(text: string): { text: string; counts: Record<PersonalData, number> } {
  const counts = { email: 0, phone: 0, card: 0 };
  let result = text;
  if (result.includes('@')) {
    result = result.replace(email, () => {
      counts.email += 1;
      return placeholders.email;
    });
  }
  if (/\d/.test(result)) {
    result = result.replace(card, (match) => {
      if (!luhn(match)) return match;
      counts.card += 1;
      return placeholders.card;
    });
    result = result.replace(phone, (match) => {
      const digits = match.replaceAll(/\D/g, '').length;
      if (digits < 9 || digits > 15) return match;
      counts.phone += 1;
      return placeholders.phone;
    });
  }
  return { text: result, counts };
}

/** The check digit that every payment card carries (ISO/IEC 7812). */
export function luhn(number: string): boolean {
  const digits = number.replaceAll(/\D/g, '');
  if (digits.length < 13 || digits.length > 19) return false;
  let sum = 0;
  for (let index = 0; index < digits.length; index += 1) {
    const digit = Number(digits[digits.length - 1 - index]);
    const doubled = index % 2 === 1 ? digit * 2 : digit;
    sum += doubled > 9 ? doubled - 9 : doubled;
  }
  return sum % 10 === 0;
}
