import iconv from 'iconv-lite';
import { expect, test } from 'vitest';
import type { FileRecord } from '../../corpus/formats/types.ts';
import { inPieces, recordsOf } from './records.ts';

const rows = Array.from({ length: 1000 }, (_, number) => `第${number}列的文字,${number}`);

/** The texts, and the refusals with the numbers of their rows. */
function told(found: readonly FileRecord[]): {
  texts: string[];
  refused: [number | null, string][];
} {
  return {
    texts: found.flatMap((one) => ('text' in one ? [one.text] : [])),
    refused: found.flatMap((one): [number | null, string][] =>
      'reason' in one ? [[one.position, one.reason]] : [],
    ),
  };
}
const textsOf = (some: readonly string[]): string[] => some.map((row) => row.split(',')[0]!);
const table = (...lines: (string | Buffer)[]): Buffer =>
  Buffer.concat(
    ['text,n', ...lines].flatMap((line) => [Buffer.from(line as string), Buffer.from('\n')]),
  );

test('bytes that are no text cost their row alone', async () => {
  const bad = Buffer.concat([
    Buffer.from('中文字'),
    Buffer.of(0xff, 0xfe, 0x80),
    Buffer.from(',3'),
  ]);
  const found = await recordsOf('t.csv', table('中文一,1', '中文二,2', bad, ...rows));
  expect(told(found)).toEqual({
    texts: ['中文一', '中文二', ...textsOf(rows)],
    refused: [[3, 'undecodable']],
  });
  expect(found.at(-1)).toEqual({ position: 1003, text: '第999列的文字', metadata: { n: 999 } });
});

test('bytes that are no text in a field of several lines cost that row alone', async () => {
  const bad = Buffer.concat([
    Buffer.from('"one\ntwo '),
    Buffer.of(0xff),
    Buffer.from('\nthree",1'),
  ]);
  expect(told(await recordsOf('t.csv', table(bad, ...rows)))).toEqual({
    texts: textsOf(rows),
    refused: [[1, 'undecodable']],
  });
});

test.each<[string, string[], [number, string][]]>([
  ['a quote inside a field', ['ok,1', 'the 5" disk,2'], [[2, 'damaged']]],
  ['a field that goes on behind its quotes', ['"a"b,1'], [[1, 'damaged']]],
  ['a quote that has no end', ['ok,1', '"open,2'], [[2, 'damaged']]],
  [
    'two quotes that have no end',
    ['"open,1', 'ok,2', '"open,3', '"open,4'],
    [
      [1, 'damaged'],
      [3, 'damaged'],
      [4, 'damaged'],
    ],
  ],
  [
    'the other lines of a broken field',
    ['"say "hi"', 'and more', 'text",1', 'fine,2'],
    [
      [1, 'damaged'],
      [2, 'damaged'],
      [3, 'damaged'],
    ],
  ],
])('%s is refused with its row, and the rows behind it are read', async (_, broken, refused) => {
  const before = told(await recordsOf('t.csv', table(...broken, ...rows)));
  expect(before.refused).toEqual(refused);
  expect(before.texts.filter((text) => !['ok', 'fine'].includes(text))).toEqual(textsOf(rows));
});

test('a quote without an end breaks where the next quoted field begins, which is read', async () => {
  const quoted = rows.map((row, number) =>
    number % 10 === 0 ? `"${row.replace(',', '",')}` : row,
  );
  expect(told(await recordsOf('t.csv', table('"open,0', ...quoted)))).toEqual({
    texts: textsOf(rows),
    refused: [[1, 'damaged']],
  });
});

test('a table is the same in whatever pieces it comes, whole or broken', async () => {
  const lines = [
    '"a ""b""\r\nc",1\r',
    '',
    'd,2',
    '"x,3',
    'y"z,4',
    '"e',
    'f",5',
    ...rows.slice(0, 20),
  ];
  const content = table(...lines);
  const whole = await recordsOf('t.csv', content);
  expect(told(whole).texts).toEqual(['a "b"\r\nc', 'd', 'e\nf', ...textsOf(rows.slice(0, 20))]);
  for (const length of [1, 7, 64])
    expect(await recordsOf('t.csv', content, inPieces(content, length))).toEqual(whole);
});

test('many quotes that have no end take no longer than few', async () => {
  const half = Array.from({ length: 20_000 }, (_, number) => `"open ${number},`);
  const started = performance.now();
  const { refused } = told(await recordsOf('t.csv', table(...half)));
  expect(refused).toHaveLength(20_000);
  expect(performance.now() - started).toBeLessThan(5000);
});

test.each(['\r', '\r\n', '\n'])('rows may end in %j', async (end) => {
  const content = Buffer.from(['text,n', 'one,1', '"two, three",2', ''].join(end));
  expect(told(await recordsOf('t.csv', content)).texts).toEqual(['one', 'two, three']);
});

test('half a character of UTF-16 costs its row alone', async () => {
  const text = `\uFEFFtext,n\none,1\ntwo \uD800,2\nthree,3\n`;
  const little = Buffer.from(text, 'utf16le');
  for (const content of [little, Buffer.from(little).swap16()]) {
    const expected = { texts: ['one', 'three'], refused: [[2, 'undecodable']] };
    expect(told(await recordsOf('t.csv', content))).toEqual(expected);
    expect(told(await recordsOf('t.csv', content, inPieces(content, 3)))).toEqual(expected);
  }
});

test('a table in Big5 whose separator is part of its characters is read', async () => {
  const content = iconv.encode(
    'text|n\n功育|1\n各位同仁您好|2\n本週五下午三點於會議室召開|3\n',
    'big5',
  );
  expect(told(await recordsOf('t.csv', content)).texts).toEqual([
    '功育',
    '各位同仁您好',
    '本週五下午三點於會議室召開',
  ]);
});
