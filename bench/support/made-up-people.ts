/** Sentences with identity numbers and keys that nobody has, and as many with numbers that only look like them; the same each time. */
import type { PersonalData } from '../../config/personal-data.ts';

export interface Labelled {
  text: string;
  spans: { kind: PersonalData; start: number; end: number }[];
}

interface Maker {
  kind: PersonalData;
  around: string[];
  make: (random: Random) => string;
  /** Something of the same look that is none: a wrong check digit, or no name beside it. */
  decoy: (random: Random) => string;
}
type Random = (below: number) => number;

const letters = 'ABCDEFGHJKLMNPQRSTUVXYWZIO';
const some = (random: Random, from: string, length: number): string =>
  Array.from({ length }, () => from[random(from.length)]).join('');
const digits = (random: Random, length: number): string => some(random, '0123456789', length);
const base62 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

// Written from the published rules, apart from the detectors that it measures.
function taiwan(head: string, random: Random): string {
  const body = digits(random, 10 - head.length - 1);
  const value = 10 + letters.indexOf(head[0]!);
  const rest = [...`${head.slice(1)}${body}`].map((character) =>
    /\d/.test(character) ? Number(character) : (10 + letters.indexOf(character)) % 10,
  );
  const sum = rest.reduce(
    (total, digit, index) => total + digit * (8 - index),
    Math.floor(value / 10) + (value % 10) * 9,
  );
  return `${head}${body}${(10 - (sum % 10)) % 10}`;
}

function spoilt(id: string): string {
  return id.slice(0, -1) + String((Number(id.at(-1)) + 3) % 10);
}

function company(random: Random, by: 5 | 10): string {
  for (;;) {
    const number = digits(random, 8);
    const sum = [1, 2, 1, 2, 1, 2, 4, 1].reduce((total, weight, index) => {
      const product = Number(number[index]) * weight;
      return total + Math.floor(product / 10) + (product % 10);
    }, 0);
    if (sum % by === 0 && number[6] !== '7') return number;
  }
}

function health(random: Random): string {
  for (;;) {
    const body = digits(random, 9);
    const sum = [...body].reduce((total, digit, index) => total + Number(digit) * (10 - index), 0);
    const check = 11 - (sum % 11);
    if (check !== 10) return body + String(check === 11 ? 0 : check);
  }
}

function china(random: Random): string {
  const date = `19${50 + random(50)}0${1 + random(9)}${10 + random(18)}`;
  const body = `${1 + random(6)}${digits(random, 5)}${date}${digits(random, 3)}`;
  const weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
  const sum = weights.reduce((total, weight, index) => total + weight * Number(body[index]), 0);
  return body + '10X98765432'[sum % 11]!;
}

const grouped = (number: string, ...lengths: number[]): string => {
  let from = 0;
  return lengths.map((length) => number.slice(from, (from += length))).join(' ');
};
/** As it is, or in full-width characters. */
const widened = (random: Random, text: string): string =>
  random(4) === 0
    ? text.replaceAll(/[A-Za-z0-9]/g, (one) => String.fromCharCode(one.charCodeAt(0) + 0xfee0))
    : text;

const makers: Maker[] = [
  {
    kind: 'tw_id',
    around: ['身分證字號：#。', '當事人（#）於民國112年到庭。', 'My ID is #, issued in Taipei.'],
    make: (random) => widened(random, taiwan(letters[random(26)]! + String(1 + random(2)), random)),
    decoy: (random) => spoilt(taiwan(`${letters[random(26)]!}1`, random)),
  },
  {
    kind: 'tw_resident',
    around: ['居留證號碼#，有效期限至2027年。', 'ARC number #.', '外籍人士 # 申請展延'],
    make: (random) => {
      const second = random(2) === 0 ? 'ABCD'[random(4)]! : '89'[random(2)]!;
      return widened(random, taiwan(letters[random(26)]! + second, random));
    },
    decoy: (random) => spoilt(taiwan(`${letters[random(26)]!}C`, random)),
  },
  {
    kind: 'tw_company',
    around: ['統一編號：#', '統編 #，台北市', '買受人統編：# 發票', 'Tax ID # (Taiwan)'],
    make: (random) => widened(random, company(random, random(2) === 0 ? 5 : 10)),
    decoy: (random) => `共${digits(random, 8)}元`,
  },
  {
    kind: 'uk_nino',
    around: ['National Insurance number #.', 'NI: #, tax code 1257L', 'employee # started in May'],
    make: (random) => {
      const number = `${some(random, 'ABCEHJLMPRSW', 1)}${some(random, 'ABCEHJLMPRSW', 1)}${digits(random, 6)}${some(random, 'ABCD', 1)}`;
      return random(2) === 0 ? number : grouped(number, 2, 2, 2, 2, 1);
    },
    decoy: (random) => `D${some(random, 'ABC', 1)}${digits(random, 6)}E`,
  },
  {
    kind: 'uk_nhs',
    around: ['NHS number: #', 'NHS No. #, seen today', 'The patient (NHS #) was discharged.'],
    make: (random) => {
      const number = health(random);
      return random(2) === 0 ? number : grouped(number, 3, 3, 4);
    },
    decoy: (random) => spoilt(health(random)),
  },
  {
    kind: 'cn_id',
    around: ['身份证号码：#。', '公民身份号码#，现住北京', 'id card #'],
    make: (random) => widened(random, china(random)),
    decoy: (random) => `${1 + random(6)}${digits(random, 5)}19991332${digits(random, 4)}`,
  },
  {
    kind: 'secret',
    around: ['aws: #', 'export TOKEN_OF_CI=#', 'Authorization: Bearer #', 'it says # in the log'],
    make: (random) =>
      [
        () => `AKIA${some(random, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', 16)}`,
        () => `gh${'pousr'[random(5)]!}_${some(random, base62, 36)}`,
        () => `xoxb-${digits(random, 12)}-${digits(random, 12)}-${some(random, base62, 24)}`,
        () =>
          `eyJ${some(random, base62, 30)}.eyJ${some(random, base62, 60)}.${some(random, base62, 43)}`,
        () => `AIza${some(random, base62, 35)}`,
        () => `sk_live_${some(random, base62, 24)}`,
        () =>
          `-----BEGIN PRIVATE KEY-----\n${some(random, base62, 64)}\n${some(random, base62, 64)}\n-----END PRIVATE KEY-----`,
        () => `api_key = "${some(random, base62, 32)}"`,
      ][random(8)]!(),
    decoy: (random) =>
      [
        () => `commit ${some(random, '0123456789abcdef', 40)}`,
        () => `password: please-change-me-${random(99)}`,
        () => `${some(random, '0123456789abcdef', 8)}-${some(random, '0123456789abcdef', 4)}`,
        () => `token = get_token_from_environment(${random(9)})`,
      ][random(4)]!(),
  },
];

/** So many sentences of each kind, and as many decoys. */
export function madeUp(each: number): Labelled[] {
  let state = 7;
  const random: Random = (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
  return makers.flatMap(({ kind, around, make, decoy }) =>
    Array.from({ length: each * 2 }, (_, index): Labelled => {
      const frame = around[random(around.length)]!;
      const start = frame.indexOf('#');
      const made = index % 2 === 0 ? make(random) : decoy(random);
      const text = frame.replace('#', () => made);
      if (index % 2 === 1) return { text, spans: [] };
      return { text, spans: [{ kind, start, end: start + made.length }] };
    }),
  );
}
