/** Identity numbers of people and companies, by the check digits that their issuers publish. */
import { after, before, digitsOf, follows, matches, type Detector } from './detector.ts';

const anyId = /[A-Z][A-D1289]\d{8}/;
const taiwanPattern =
  /(?<![A-Za-z0-9])(?:[A-Za-z][A-Da-d1289]\d{8}|[A-Z][ -][1289]\d{8})(?![A-Za-z0-9])/g;

/** Taiwan's national identity number: a letter of the county, 1 or 2, eight digits. */
export const twId: Detector = {
  kind: 'tw_id',
  place: 'number',
  find: (text) =>
    matches(text, taiwanPattern, (match) => /^[A-Z][12]/i.test(plain(match)) && taiwanCheck(match)),
};

/** Taiwan's resident certificate: two letters until 2020, then a letter and 8 or 9. */
export const twResident: Detector = {
  kind: 'tw_resident',
  place: 'number',
  find: (text) =>
    matches(
      text,
      taiwanPattern,
      (match) => /^[A-Z][A-D89]/i.test(plain(match)) && taiwanCheck(match),
    ),
};

const plain = (match: string): string => match.replaceAll(/[ -]/g, '').toUpperCase();

/** What a letter counts: A 10, B 11 …; I, O, W and Z were added out of order. */
const letterValue = (letter: string): number => 10 + 'ABCDEFGHJKLMNPQRSTUVXYWZIO'.indexOf(letter);

/** The check digit of Taiwan's identity numbers, old and new. */
export function taiwanCheck(given: string): boolean {
  const id = plain(given);
  if (!anyId.test(id) || id.length !== 10) return false;
  const first = letterValue(id[0]!);
  let sum = Math.floor(first / 10) + (first % 10) * 9;
  for (let index = 1; index < 10; index += 1) {
    const character = id[index]!;
    const value = /\d/.test(character) ? Number(character) : letterValue(character) % 10;
    sum += value * (index === 9 ? 1 : 9 - index);
  }
  return sum % 10 === 0;
}

const companyWords =
  /(?:統一編號|統編|统一编号|统编|營利事業登記證?(?:號碼|字號)?|扣繳單位|business (?:account )?(?:no|number)|unified business (?:no|number)|tax id|VAT|UBN|GUI)[\s:#().號碼号码為为是NO-]{0,8}$/i;

/** Taiwan's company number. One number in five or ten passes its check, so it must be named as one. */
export const twCompany: Detector = {
  kind: 'tw_company',
  place: 'number',
  mayBe: (text) => /編號|統編|编号|统编|營利|扣繳|business|tax id|VAT|UBN|GUI/i.test(text),
  find: (text) =>
    matches(
      text,
      new RegExp(`${before}\\d{8}${after}`, 'g'),
      (match, start) => follows(text, start, companyWords) && companyCheck(match),
    ),
};

/** By 10 until 2023 and by 5 since, the numbers of before included; a 7 in the seventh place may count 0 or 1. */
export function companyCheck(number: string): boolean {
  if (!/^\d{8}$/.test(number)) return false;
  const weights = [1, 2, 1, 2, 1, 2, 4, 1];
  let sum = 0;
  for (const [index, weight] of weights.entries()) {
    const product = Number(number[index]) * weight;
    sum += Math.floor(product / 10) + (product % 10);
  }
  return sum % 5 === 0 || (number[6] === '7' && (sum + 1) % 5 === 0);
}

const ssnWords = /(?:\bSSNs?\b|social security|taxpayer id|\bITIN\b)[^\d\n]{0,24}$/i;

/** United States: three, two and four digits; without hyphens only where it is named. */
export const usSsn: Detector = {
  kind: 'us_ssn',
  place: 'number',
  find: (text) =>
    matches(
      text,
      new RegExp(`${before}\\d{3}([ -]?)\\d{2}\\1\\d{4}${after}`, 'g'),
      (match, start) => {
        const digits = digitsOf(match);
        // Areas 000, 666 and 9xx, group 00 and serial 0000 are never given out.
        if (/^(?:000|666|9)|^\d{3}00|0000$/.test(digits)) return false;
        return match[3] === '-' || follows(text, start, ssnWords, 48);
      },
    ),
};

/** United Kingdom: two letters, six digits, A to D. */
export const ukNino: Detector = {
  kind: 'uk_nino',
  place: 'number',
  find: (text) =>
    matches(
      text,
      /(?<![A-Za-z0-9])(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]( ?)\d\d\1\d\d\1\d\d\1[A-D](?![A-Za-z0-9])/g,
    ),
};

const nhsWords = /\bNHS\b[^\d\n]{0,24}$/i;

/** United Kingdom's health service: ten digits, the last a check by 11; one number in eleven passes, so it must be named. */
export const ukNhs: Detector = {
  kind: 'uk_nhs',
  place: 'number',
  mayBe: (text) => text.includes('NHS') || text.includes('nhs'),
  find: (text) =>
    matches(
      text,
      new RegExp(`${before}\\d{3}([ -]?)\\d{3}\\1\\d{4}${after}`, 'g'),
      (match, start) => follows(text, start, nhsWords, 40) && nhsCheck(digitsOf(match)),
    ),
};

export function nhsCheck(number: string): boolean {
  let sum = 0;
  for (let index = 0; index < 9; index += 1) sum += Number(number[index]) * (10 - index);
  const check = (11 - (sum % 11)) % 11;
  return check !== 10 && check === Number(number[9]);
}

/** China: region, date of birth, order, check digit by ISO 7064 (mod 11-2). */
export const cnId: Detector = {
  kind: 'cn_id',
  place: 'number',
  find: (text) =>
    matches(
      text,
      /(?<![A-Za-z0-9])[1-8]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?![A-Za-z0-9])/g,
      chinaCheck,
    ),
};

export function chinaCheck(number: string): boolean {
  const weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
  const sum = weights.reduce((total, weight, index) => total + weight * Number(number[index]), 0);
  return '10X98765432'[sum % 11] === number[17]!.toUpperCase();
}
