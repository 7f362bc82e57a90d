import { expect, test } from 'vitest';
import { readCron } from '../../client/cron.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

test.each([
  ['0 3 * * *', 'every day at 03:00', day],
  ['  30 3,15 * *  * ', 'every day at 03:30 and 15:30', 12 * hour],
  ['0 3 * * 1-5', 'at 03:00 on Monday to Friday', day],
  ['0 3 * * MON,wed', 'at 03:00 on Monday and Wednesday', 2 * day],
  ['0 3 * * 0', 'at 03:00 on Sunday', 7 * day],
  ['0 3 * * 7', 'at 03:00 on Sunday', 7 * day],
  ['0 3 * * 5-7', 'at 03:00 on Sunday, Friday and Saturday', day],
  ['0 3 1 * *', 'at 03:00 on day 1 of the month', 28 * day],
  [
    '0 3 1,15 jan-mar,7 *',
    'at 03:00 on day 1 and 15 of the month in January to March and July',
    14 * day,
  ],
  ['0 3 13 * 5', 'at 03:00 on Friday if it is day 13 of the month', 28 * day],
  ['*/15 * * * *', 'every 15 minutes', 15 * minute],
  ['*/15 9-17 * * 1-5', 'every 15 minutes in the hours 9 to 17 on Monday to Friday', 15 * minute],
  ['* * * * *', 'every minute', minute],
  ['5 * * * *', 'every hour at minute 5', hour],
  ['*/7 * * * *', 'every hour at minute 0, 7, 14, 21, 28, 35, 42, 49 and 56', 4 * minute],
  ['0 */6 * * *', 'every 6 hours at minute 0', 6 * hour],
  ['0 1-9 * * *', 'every day at minute 0 of the hours 1 to 9', hour],
  ['0 0 29 2 *', 'at 00:00 on day 29 of the month in February', 4 * 365.25 * day],
])('%s is %s', (expression, words, periodMs) => {
  expect(readCron(expression)).toEqual({
    text: expression.trim().split(/\s+/).join(' '),
    words,
    periodMs,
  });
});

const anyOf = '*, a list, a range or a step such as */2';
test.each([
  ['', 'cron: found "", no fields, expected 5: minute, hour,'],
  ['0 3 * *', 'cron: found "0 3 * *", 4 fields, expected 5:'],
  ['@daily', 'cron: found "@daily", 1 field, expected 5:'],
  ['60 3 * * *', `cron: minute: found "60", expected 0 to 59, ${anyOf}.`],
  ['0 24 * * *', `cron: hour: found "24", expected 0 to 23, ${anyOf}.`],
  ['0 3 0 * *', `cron: day of the month: found "0", expected 1 to 31, ${anyOf}.`],
  ['0 3 * 13 *', `cron: month: found "13", expected 1 to 12 or JAN to DEC, ${anyOf}.`],
  [
    '0 3 * * fir',
    `cron: day of the week: found "fir", expected 0 to 7 or MON to SAT, ${anyOf}. Did you mean FRI?`,
  ],
  ['0 5-3 * * *', `cron: hour: found "5-3", expected 0 to 23, ${anyOf}.`],
  ['*/0 * * * *', `cron: minute: found "*/0", expected 0 to 59, ${anyOf}.`],
  ['0 3,, * * *', `cron: hour: found "", expected 0 to 23, ${anyOf}.`],
  ['0 3 30 2 *', 'cron: found days that never come, expected a day that its months have.'],
])('%s is refused with the field and what it may be', (expression, sentence) => {
  expect(() => readCron(expression)).toThrow(sentence);
  expect(() => readCron(expression)).toThrow('Nothing was started.');
});
