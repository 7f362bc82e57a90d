/** Dates as formats spell them, in ISO 8601; where no zone is said, of UTC, so that they are the same everywhere. */

const day = /^\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?$/;
const dayAndTime =
  /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?)\s*(Z|[+-]\d{2}:?\d{2})?$/i;
const ofMail =
  /^(?:[a-z]{3,9},?\s*)?(\d{1,2}\s+[a-z]{3,9}\s+(?:[12]\d{3}|\d{2})\s+\d{1,2}:\d{2}(?::\d{2})?)\s*([+-]\d{4}|[a-z]{1,4})?/i;
const ofPdf =
  /^(?:D:)?(\d{4})(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\d{2})?(?:(Z|[+-])(?:(\d{2})'?(\d{2})?)?)?/;

/** Of ISO 8601, mail and HTTP; null where it is none of them. */
export function isoDate(value: string): string | null {
  const text = value.trim();
  if (day.test(text)) return inTime(text);
  const [, date, time, zone = 'Z'] = dayAndTime.exec(text) ?? [];
  if (date !== undefined) return isoOf(`${date}T${time!.replace(',', '.')}${zone}`);
  const [, said, place = 'GMT'] = ofMail.exec(text) ?? [];
  if (said === undefined) return null;
  return isoOf(`${said} ${place}`) ?? isoOf(`${said} GMT`);
}

/** Of PDF: `D:20240102030405+08'00'`, of which all behind the year may be missing. */
export function isoDateOfPdf(value: string): string | null {
  const [, year, month = '01', date = '01', hour = '00', minute = '00', second = '00', ...zone] =
    ofPdf.exec(value.trim()) ?? [];
  if (year === undefined) return null;
  const [sign, hours = '00', minutes = '00'] = zone;
  const offset = sign === '+' || sign === '-' ? `${sign}${hours}:${minutes}` : 'Z';
  return isoOf(`${year}-${month}-${date}T${hour}:${minute}:${second}${offset}`);
}

function isoOf(text: string): string | null {
  const time = Date.parse(text);
  return Number.isNaN(time) ? null : inTime(new Date(time).toISOString());
}

/** Clocks that were never set say years that are none of a text. */
function inTime(date: string): string | null {
  return /^(1\d|2[01])\d{2}(-|$)/.test(date) ? date : null;
}
