/** One way to write dates and numbers: ISO 8601, and digits without separators of thousands. What can be read in two ways stays. */

const months =
  'January February March April May June July August September October November December'.split(
    ' ',
  );
const monthOf = new Map(
  months.flatMap((name, index) => [
    [name.toLowerCase(), index + 1],
    [name.slice(0, 3).toLowerCase(), index + 1],
  ]),
);
const month = `(${months.join('|')}|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec)\\.?)`;
/** ○ is how Big5, which has no 〇, writes it. */
const numeral = '[\\d〇○零一二三四五六七八九十百千元]';
const monthFirst = new RegExp(
  `(?<![\\w-])${month} (\\d{1,2})(?:st|nd|rd|th)?,? (\\d{4})(?![\\w-])`,
  'g',
);
const dayFirst = new RegExp(
  `(?<![\\w-])(\\d{1,2})(?:st|nd|rd|th)? ${month},? (\\d{4})(?![\\w-])`,
  'g',
);
const yearFirst =
  /(?<![\w./-]|\b(?:v|ver|version|release|build)[.: ]{0,2}|版本?[.: ]{0,2})(\d{4})([/.])(\d{1,2})\2(\d{1,2})(?![\w/-]|\.\d)/gi;
/** That of Korea, and 人民國家, are others. */
const republic = '(?:中華|中华|(?<![韓韩人國国蘭兰]))(?:民國|民国)';
const republicFirst = new RegExp(
  `${republic} ?(\\d{1,3})([/.-])(\\d{1,2})\\2(\\d{1,2})(?![\\w/-]|\\.\\d)`,
  'g',
);
const chinese = new RegExp(
  `(?:(${republic})|(?<!${numeral})) ?(${numeral}{1,6}) ?(年)(?![代級级期]|國民|國教|計畫|计划)(?: ?(${numeral}{1,3}) ?月(?: ?(${numeral}{1,3}) ?[日號号]|(?!\\s*${numeral}|[份底初中上下間间])))?`,
  'g',
);
/** From one date of the Republic to another, whose year is of the Republic too without a word. */
const andUntil = /^ ?[至到迄~～—–、及與和-] ?$/;

/** Dates as year, month, day: of English, of Chinese, and of the Republic of China, whose first year was 1912. */
export function standardiseDates(text: string): string {
  if (!/\d{4}|年|民[國国]/.test(text)) return text;
  let result = text;
  if (/\d (?:\d|[A-Z])|[a-z.] \d/.test(result)) {
    result = result
      .replaceAll(monthFirst, (all, name: string, day: string, year: string) =>
        iso(Number(year), monthNumber(name), Number(day), all),
      )
      .replaceAll(dayFirst, (all, day: string, name: string, year: string) =>
        iso(Number(year), monthNumber(name), Number(day), all),
      );
  }
  result = result.replaceAll(yearFirst, (all, year: string, _, of: string, day: string) =>
    iso(Number(year), Number(of), Number(day), all),
  );
  result = result.replaceAll(republicFirst, (all, since: string, _, of: string, day: string) =>
    iso(Number(since) + 1911, Number(of), Number(day), all),
  );
  return result.includes('年') ? standardiseChinese(result) : result;
}

/** A year of the Republic alone keeps its 年; one of the common era is a date with its month and day only. */
function standardiseChinese(text: string): string {
  let last = { until: -1, year: 0 };
  return text.replaceAll(
    chinese,
    (
      all,
      era: string | undefined,
      year: string,
      sign: string,
      of: string | undefined,
      day: string | undefined,
      at: number,
    ) => {
      const isNamed = era !== undefined;
      const since = numberOf(year);
      // Years go up; a smaller number after one is a time of so many years.
      const follows = last.until >= 0 && since >= last.year && since < 1000;
      if (!isNamed && !(follows && andUntil.test(text.slice(last.until, at)))) {
        const isWhole = /^(?:\d{4}|[〇○零一二三四五六七八九]{4})$/.test(year);
        return isWhole && day !== undefined ? iso(since, numberOf(of!), numberOf(day), all) : all;
      }
      last = { until: at + all.length, year: since };
      const common = since + 1911;
      if (Number.isNaN(common) || common > 2999) return all;
      if (day !== undefined) return iso(common, numberOf(of!), numberOf(day), all);
      if (of === undefined) {
        // 中華民國五年計畫 is a plan of five years.
        const isTime = era?.startsWith('中') === true && since < 10 && year !== '元';
        return isTime ? all : `${common}${sign}`;
      }
      return iso(common, numberOf(of), 1, all).replace(/-01$/, '');
    },
  );
}

const monthNumber = (name: string): number =>
  monthOf.get(name.toLowerCase().replace('.', '').replace('sept', 'sep')) ??
  monthOf.get(name.toLowerCase()) ??
  0;

function iso(year: number, of: number, day: number, otherwise: string): string {
  const date = new Date(Date.UTC(2000, of - 1, day));
  date.setUTCFullYear(year, of - 1, day);
  const exists =
    date.getUTCFullYear() === year && date.getUTCMonth() === of - 1 && date.getUTCDate() === day;
  if (!exists || year < 1000 || year > 2999) return otherwise;
  return `${year}-${String(of).padStart(2, '0')}-${String(day).padStart(2, '0')}`;
}

const values = new Map([...'〇一二三四五六七八九'].map((character, index) => [character, index]));
values.set('零', 0);
values.set('○', 0);

/** 113, 一百一十三, 一一三 and 元, which is the first; NaN for what is none. */
export function numberOf(text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  if (text === '元') return 1;
  if (!/[十百千]/.test(text)) {
    const digits = [...text].map((character) => values.get(character) ?? Number.NaN);
    return digits.reduce((sum, digit) => sum * 10 + digit, 0);
  }
  let sum = 0;
  let digit = -1;
  for (const character of text) {
    const unit = { 十: 10, 百: 100, 千: 1000 }[character];
    if (unit === undefined) digit = values.get(character) ?? Number.NaN;
    else {
      sum += (digit < 0 ? 1 : digit) * unit;
      digit = -1;
    }
  }
  return sum + Math.max(0, digit);
}

/** 1,234,567 becomes 1234567. Groups must be whole, and no list of numbers begins or ends there. */
export function standardiseNumbers(text: string): string {
  if (!/\d,\d{3}/.test(text)) return text;
  return text.replaceAll(/(?<![\w,.])[1-9]\d{0,2}(?:,\d{3})+(?![\w,]|\.\d{4})/g, (all) =>
    all.replaceAll(',', ''),
  );
}
