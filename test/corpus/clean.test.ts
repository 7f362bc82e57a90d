import { expect, test } from 'vitest';
import { scriptShares } from '../../corpus/characters.ts';
import { cleanText } from '../../corpus/clean.ts';
import { seeded, textOf } from './random.ts';

const pieces = [
  ...'ab é\u0301eﬀＡ１ｚ，。　中\u3099がｶﾞ한각ä\u0308o\u0323\u0307',
  '\r\n',
  '\r',
  '\n',
  '\n\n\n',
  ' \t ',
  '\u00A0',
  '\u2028',
  '\u0085',
  '\u000B',
  '\u0000',
  '\u001B',
  '\u200B',
  '\u202E',
  '\uFEFF',
  '\uD800',
  '\uDC00',
  '\u{20000}',
  '\u{1F600}',
  '\u{1F468}\u200D\u{1F469}',
  '<|end|>',
  '<|',
  '|>',
  'user',
  '\u2000',
  '\u212B',
  '\u0344',
];

test('cleaning twice changes nothing, whatever the text', () => {
  const random = seeded(7);
  for (let round = 0; round < 3000; round += 1) {
    const text = textOf(random, pieces, 1 + Math.floor(random() * 24));
    const once = cleanText(text);
    expect(cleanText(once), JSON.stringify(text)).toBe(once);
  }
});

test('a clean text has no control characters, lone surrogates, double spaces or long gaps', () => {
  const random = seeded(11);
  for (let round = 0; round < 1000; round += 1) {
    const clean = cleanText(textOf(random, pieces, 30));
    expect(clean.isWellFormed()).toBe(true);
    // oxlint-disable-next-line no-control-regex
    expect(clean).not.toMatch(
      /[\u0000-\u0009\u000B-\u001F\u007F-\u009F\uFEFF\u200B]| {2}|\n{3}| \n|\n /,
    );
    expect(clean.normalize('NFC')).toBe(clean);
  }
});

test.each([
  ['full-width letters, digits and spaces become plain ones', 'ＡＢｃ　１２３', 'ABc 123'],
  ['full-width punctuation stays', '你好，世界。「是」（一）', '你好，世界。「是」（一）'],
  ['every kind of line end becomes a line feed', 'a\r\nb\rc\u2028d', 'a\nb\nc\nd'],
  ['decomposed letters are composed', 'cafe\u0301', 'café'],
  ['paragraphs keep one empty line', 'a\n \n\n\n b', 'a\n\nb'],
  [
    'joiners that emoji and scripts need stay',
    '👨\u200D👩 می\u200Cخواهم',
    '👨\u200D👩 می\u200Cخواهم',
  ],
  ['the control words of the tokenizer cannot be spelled', 'x<|endoftext|>y', 'x<| endoftext |>y'],
  ['an invisible character cannot hide a control word', '<|e\u200Bnd|>', '<| end |>'],
])('%s', (_, raw, clean) => {
  expect(cleanText(raw)).toBe(clean);
});

test.each([
  ['latin', 'Fellow citizens of 1790'],
  ['han', '我國憲法第一條規定'],
  ['han', '𠀀𠀁𠀂'],
  ['kana', '日本国憲法の前文はこう始まる'],
  ['hangul', '대한민국은 민주공화국이다'],
  ['cyrillic', 'Все люди рождаются свободными'],
  ['thai', 'มนุษย์ทั้งหลายเกิดมามีอิสระ'],
  ['none', '1234 5678'],
])('the main script is %s for %s', (script, text) => {
  expect(scriptShares(text).main).toBe(script);
});
