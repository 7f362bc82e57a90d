import iconv from 'iconv-lite';
import { describe, expect, test } from 'vitest';
import { decodeHtml, decodeText, encodingOf } from '../../corpus/decode.ts';

// The first articles of the Universal Declaration of Human Rights, and sentences of laws.
const texts = {
  hant: '人人生而自由，在尊嚴和權利上一律平等。他們賦有理性和良心，並應以兄弟關係的精神互相對待。關於一定之數量，同時以文字及號碼表示者，其文字與號碼有不符合時，應以文字為準。',
  hans: '人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。人人有资格享受本宣言所载的一切权利和自由，不分种族、肤色、性别、语言、宗教。',
  hongKong: '佢哋喺嗰度嘅𨋢入面食嘢，我哋唔知點解，不過香港人講嘅說話係咁樣寫嘅。',
  ja: 'すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。',
  ko: '모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 천부적으로 이성과 양심을 부여받았으며 서로 형제애의 정신으로 행동하여야 한다.',
  fr: 'Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de conscience et doivent agir les uns envers les autres dans un esprit de fraternité.',
  de: 'Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und sollen einander im Geiste der Brüderlichkeit begegnen.',
  pt: 'Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de razão e de consciência, devem agir uns para com os outros em espírito de fraternidade. “Não”',
  fi: 'Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan. Heille on annettu järki ja omatunto, ja heidän on toimittava toisiaan kohtaan veljeyden hengessä.',
  is: 'Hver maður er borinn frjáls og jafn öðrum að virðingu og réttindum. Menn eru gæddir vitsmunum og samvizku, og ber þeim að breyta bróðurlega hverjum við annan.',
};
type Name = keyof typeof texts;
const wide = (text: string, big: boolean): Buffer => {
  const bytes = Buffer.from(text, 'utf16le');
  return big ? bytes.swap16() : bytes;
};

const cases: [Name, string, string][] = [
  ['hant', 'cp950', 'big5'],
  ['hant', 'gb18030', 'gb18030'],
  ['hongKong', 'big5-hkscs', 'big5'],
  ['hans', 'gbk', 'gb18030'],
  ['hans', 'gb18030', 'gb18030'],
  ['ja', 'shift_jis', 'shift_jis'],
  ['ja', 'cp932', 'shift_jis'],
  ['ja', 'euc-jp', 'euc-jp'],
  ['ko', 'euc-kr', 'euc-kr'],
  ['fr', 'latin1', 'windows-1252'],
  ['de', 'latin1', 'windows-1252'],
  ['pt', 'windows-1252', 'windows-1252'],
  ['fi', 'latin1', 'windows-1252'],
  ['is', 'latin1', 'windows-1252'],
];

describe('encodings that nothing names', () => {
  test.each(cases)('%s in %s is known', (name, encoding, expected) => {
    const bytes = iconv.encode(texts[name], encoding);
    expect(encodingOf(bytes)).toBe(expected);
    expect(decodeText(bytes)).toEqual({ text: texts[name] });
  });
  test.each(Object.keys(texts) as Name[])('%s in UTF-16 of both orders is known', (name) => {
    for (const big of [true, false]) {
      expect(decodeText(wide(`${texts[name]}\n`, big))).toEqual({ text: `${texts[name]}\n` });
      expect(decodeText(wide(`\uFEFF${texts[name]}`, big))).toEqual({ text: texts[name] });
    }
  });
  test('a cut of any such text is known or refused, never misread', () => {
    for (const [name, encoding] of cases) {
      const characters = [...texts[name]];
      for (let at = 0; at + 24 <= characters.length; at += 7) {
        const text = characters.slice(at, at + 24).join('');
        const decoded = decodeText(iconv.encode(text, encoding));
        if ('text' in decoded) expect(decoded.text).toBe(text);
        else expect(decoded.reason).toMatch(/ambiguous_encoding|undecodable/);
      }
    }
  });
});

test('where two encodings fit alike, neither is taken', () => {
  const decoded = decodeText(iconv.encode('北京', 'gbk'));
  expect(decoded).toEqual({
    reason: 'ambiguous_encoding',
    detail: expect.stringMatching(/^could be \S+ or \S+.*; save it as UTF-8$/),
  });
});

test.each([
  ['a byte that no text has', Uint8Array.of(0x61, 0xff, 0xfe, 0x62), 'undecodable'],
  ['UTF-8 with a byte lost', Buffer.from(texts.hant).subarray(1), 'undecodable'],
  [
    'noise',
    Uint8Array.from({ length: 400 }, (_, index) => ((index * 7919) % 251) | 1),
    'undecodable',
  ],
  ['a program', Buffer.from('7f454c4602010100000000000000000003003e00', 'hex'), 'binary'],
  ['half a surrogate', Uint8Array.of(0xff, 0xfe, 0, 0xd8, 0x61, 0), 'undecodable'],
])('%s is no text', (_, bytes, reason) => {
  expect(decodeText(bytes)).toMatchObject({ reason });
});

test('what a page says of its encoding counts where it is no UTF-8', () => {
  const page = (charset: string, text: string) => `<meta charset="${charset}"><p>${text}</p>`;
  for (const [charset, text] of [
    ['big5', '北京'],
    ['windows-1251', 'Все люди'],
    ['iso-8859-2', 'Wszyscy ludzie rodzą się wolni'],
  ] as const)
    expect(decodeHtml(iconv.encode(page(charset, text), charset))).toEqual({
      text: page(charset, text),
    });
  expect(decodeHtml(Buffer.from(page('big5', '北京')))).toEqual({ text: page('big5', '北京') });
  expect(decodeHtml(iconv.encode('Все', 'koi8-r'), 'koi8-r')).toEqual({ text: 'Все' });
});
