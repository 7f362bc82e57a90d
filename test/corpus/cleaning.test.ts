import { describe, expect, test } from 'vitest';
import { cleaningSchema, stepsOf } from '../../config/cleaning.ts';
import { qualitySchema } from '../../config/cleaning-thresholds.ts';
import { cleanShard } from '../../corpus/clean-shard.ts';
import { scriptShares } from '../../corpus/characters.ts';
import { numberOf, standardiseDates, standardiseNumbers } from '../../corpus/cleaning/dates.ts';
import { c4, fineWeb, gopherRepetition, stopWords } from '../../corpus/cleaning/filters.ts';
import {
  keepSentences,
  mendPunctuation,
  removeBoilerplate,
  removeMeaningless,
  removeRepeatedLines,
} from '../../corpus/cleaning/lines.ts';
import { repairMojibake } from '../../corpus/cleaning/mojibake.ts';
import { blocklist, toxicity } from '../../corpus/cleaning/offence.ts';
import { wordsOf } from '../../corpus/words.ts';
import { english, seeded } from './random.ts';

const misread = (text: string, encoding: 'latin1' | 'windows-1252'): string =>
  encoding === 'latin1'
    ? Buffer.from(text).toString('latin1')
    : new TextDecoder('windows-1252').decode(Buffer.from(text));

describe('mojibake', () => {
  test.each([
    'Il a dit « café », déjà vu – “naïve”',
    '我國憲法第一條',
    'Привет, мир',
    '😀 ok',
    '5 µm ± 3 °C',
  ])('what was misread once or twice is read rightly: %s', (text) => {
    for (const encoding of ['latin1', 'windows-1252'] as const) {
      expect(repairMojibake(misread(text, encoding))).toBe(text);
      expect(repairMojibake(misread(misread(text, encoding), encoding))).toBe(text);
    }
  });
  test.each([
    'CAFÉ»',
    'À «l’ÂGE»',
    'MAÇÃ, Â, ã',
    'naïve façade',
    'œuvre – “ÉTÉ”',
    '我國 café',
    'Ångström Ø',
  ])('what is meant stays: %s', (text) => expect(repairMojibake(text)).toBe(text));
});

test.each([
  ['lost and private characters', removeMeaningless, 'a\uFFFDb \uE000c\n=====\nd', 'ab c\nd'],
  ['a space before a comma', mendPunctuation, 'one , two . Three!!!!!', 'one, two. Three!!!'],
  ['commas in rows', mendPunctuation, '一，，二。。三', '一，二。三'],
  [
    'menus and footers',
    removeBoilerplate,
    'Skip to content\nThe law says so.\nRead more »\n© 2020 Acme\n回首頁\n版權所有 甲公司\n本法稱公司者。',
    'The law says so.\n本法稱公司者。',
  ],
  [
    'repeated lines',
    removeRepeatedLines,
    'a\na\nthe same long line again\nb\nthe same long line again\na',
    'a\nthe same long line again\nb\na',
  ],
  [
    'lines that are no sentences',
    keepSentences,
    'Home\nThis is a sentence.\nNo end here at all\n這是一個句子。',
    'This is a sentence.\n這是一個句子。',
  ],
])('%s go', (_, step, text, expected) => {
  expect(step(text)).toBe(expected);
  expect(step(expected)).toBe(expected);
});

test.each([
  ['on May 2, 2024 and 2nd May 2024', 'on 2024-05-02 and 2024-05-02'],
  ['Sept. 3, 1999; 2024/5/2; 2024.05.02', '1999-09-03; 2024-05-02; 2024-05-02'],
  ['民國113年5月2日，中華民國一百一十三年五月二日', '2024-05-02，2024-05-02'],
  ['2024年5月2日、二〇二四年十二月三十一日', '2024-05-02、2024-12-31'],
  ['民國元年1月1日', '1912-01-01'],
  ['中华民国113年5月2日, 民國113/05/02, 民國 113-05-02', '2024-05-02, 2024-05-02, 2024-05-02'],
  ['民國一○三年五月二日、二○二四年五月二日', '2014-05-02、2024-05-02'],
  [
    '民國113年、民國113年度、民國113年5月、民國113年5月底',
    '2024年、2024年度、2024-05、2024年5月底',
  ],
  ['民國112年5月2日至113年3月1日，五年後', '2023-05-02至2024-03-01，五年後'],
  ['民國100年及113年、10年', '2011年及2024年、10年'],
  ['民國89年8月十六\n日、中華民國五年計畫', '2000年8月十六\n日、中華民國五年計畫'],
  ['民國五十年代、大韓民國元年、人民國 3年、民國三年級、中華民國 12年國民基本教育', null],
  ['民國80年、90年代，民國5年和10年期公債', '1991年、90年代，1916年和10年期公債'],
  ['version 2024.5.2, v2024.5.2, 版本2024.5.2', null],
  ['02/05/2024, 2024年13月2日, 五月二日, 113年5月2日, v2024.5.2.1, February 30, 2024', null],
])('dates of %s', (text, expected) => {
  expect(standardiseDates(text)).toBe(expected ?? text);
});

test('numbers lose their separators where the groups are whole', () => {
  expect(standardiseNumbers('1,234,567.89 and $12,000')).toBe('1234567.89 and $12000');
  expect(standardiseNumbers('1,23 and 12,3456, 1,234,56')).toBe('1,23 and 12,3456, 1,234,56');
  expect(numberOf('一千零二十')).toBe(1020);
  expect(numberOf('十')).toBe(10);
});

const judged = (text: string) => ({ text, script: scriptShares(text).main, words: wordsOf(text) });
const prose = (numLines: number): string => {
  const random = seeded(5);
  return Array.from({ length: numLines }, () => english(random, 14)).join('\n');
};

describe('filters', () => {
  test('prose passes each of them', () => {
    const text = prose(12);
    expect(gopherRepetition(judged(text))).toBeNull();
    expect(c4(judged(text))).toBeNull();
    expect(fineWeb(judged(text))).toBeNull();
    expect(stopWords(judged(text), 'en')).toBeNull();
    expect(toxicity(text, 168, 0.005)).toBeNull();
  });
  test('Gopher: what repeats itself, in words and in Chinese characters', () => {
    const said = `${english(seeded(2), 30)} `;
    expect(gopherRepetition(judged(said.repeat(6)))?.reason).toBe('gopher_repetition');
    expect(
      gopherRepetition(judged('行政院應於三十日內公告之並送立法院備查'.repeat(6)))?.detail,
    ).toContain('grams');
  });
  test('C4: filler, code, few sentences', () => {
    expect(c4(judged(`${prose(9)} Lorem ipsum`))?.detail).toContain('lorem');
    expect(c4(judged(`${prose(9)} {`))?.detail).toContain('curly');
    expect(c4(judged('One. Two.'))?.detail).toContain('2 sentences');
    expect(c4(judged('第一。第二。第三。第四。第五。'))).toBeNull();
  });
  test('FineWeb: lists, short lines, lines said twice', () => {
    expect(fineWeb(judged('item without an end of it at all\n'.repeat(5)))?.detail).toContain(
      'end a sentence',
    );
    expect(fineWeb(judged('Yes.\nNo.\nSo.\nWell, then.'))?.detail).toContain('30 characters');
    const line = english(seeded(3), 20);
    expect(fineWeb(judged(`${line}\n${line}`))?.detail).toContain('said before');
  });
  test('each threshold that a file gives takes the place of the published one', () => {
    const ofEach: [rule: typeof c4, passes: string, given: object][] = [
      [c4, prose(12), { minNumSentences: 13 }],
      [fineWeb, prose(12), { shortLineLength: 1000 }],
      [fineWeb, prose(12), { newLineRatio: 0.01 }],
      [fineWeb, `${prose(12)}\nno end`, { linePunctThr: 0.99 }],
      [fineWeb, `${prose(200)}\nIt ends.\nIt ends.`, { charDuplicatesRatio: 0 }],
      [fineWeb, `${prose(12)}\nIt ends.`, { shortLineThr: 0.01 }],
      [
        gopherRepetition,
        `${prose(12).replaceAll('\n', '\n\n')}\n\nIt.\n\nIt.`,
        { dupParaCharFrac: 0 },
      ],
      [
        gopherRepetition,
        `${prose(12).replaceAll('\n', '\n\n')}\n\nIt.\n\nIt.`,
        { dupParaFrac: 0.01 },
      ],
      [gopherRepetition, `${prose(12)}\nIt.\nIt.`, { dupLineFrac: 0.01 }],
      [gopherRepetition, `${prose(12)}\nIt.\nIt.`, { dupLineCharFrac: 0.001 }],
      [
        gopherRepetition,
        `a b c d e f g. ${prose(12)} a b c d e f g.`,
        { dupNGrams: { 5: 1, 6: 1, 7: 0.001 } },
      ],
      [(text, given) => stopWords(text, 'en', given), prose(1), { minStopWords: 15 }],
    ];
    for (const [rule, passes, given] of ofEach) {
      expect(rule(judged(passes)), JSON.stringify(given)).toBeNull();
      expect(rule(judged(passes), given), JSON.stringify(given)).not.toBeNull();
    }
    const off = { filterLoremIpsum: false, filterCurlyBracket: false };
    expect(c4(judged(`${prose(9)} Lorem ipsum {`), off)).toBeNull();
    expect(keepSentences('One two three.\nOne two.', { minWordsPerLine: 2 })).toBe(
      'One two three.\nOne two.',
    );
    expect(keepSentences('One two three.\n這是一個句子。', { minWordsPerLine: 4 })).toBe(
      '這是一個句子。',
    );
  });
  test('stop words by language', () => {
    expect(stopWords(judged('zorp glim fazz'), 'en')?.detail).toContain('found 0');
    expect(stopWords(judged('公司應於登記後為之'), 'zh-Hant')).toBeNull();
    expect(stopWords(judged('龘靐齉'), 'zh-Hans')?.reason).toBe('stop_words');
    expect(stopWords(judged('zorp'), 'Latin script')).toBeNull();
  });
  test('a single word never offends; a list is met in any case, Chinese inside a sentence', () => {
    expect(toxicity('one bitch', 2, 0.005)).toBeNull();
    expect(toxicity('slut whore and two more', 5, 0.005)?.reason).toBe('toxicity');
    expect(blocklist('Project ATLAS and atlases', ['atlas'], 0)?.detail).toContain('found 1');
    expect(blocklist('此為機密文件', ['機密'], 0)?.reason).toBe('blocklist');
    expect(blocklist('atlas', ['atlas'], 1)).toBeNull();
  });
});

describe('steps', () => {
  const documents = (...texts: string[]) =>
    texts.map((text, index) => ({
      id: String(index),
      source: `${index}.txt`,
      text,
      metadata: { note: 'a , b' },
    }));
  const parse = (given: unknown) => cleaningSchema.parse(given);

  test('a number in the metadata that is somebody’s is replaced as in a text; another stays a number', () => {
    const [document] = documents('A text of six words at least.');
    const metadata = { card: 4111111111111111, phone: '0912345678', size: 1700000000, at: null };
    const [kept] = cleanShard([{ ...document!, metadata }], {
      personalData: 'redact',
      quality: false,
      clean: parse({}),
    }).documents;
    expect(kept!.metadata).toEqual({
      card: '<CARD>',
      phone: '<PHONE>',
      size: 1700000000,
      at: null,
    });
  });

  test('a preset in its order, less what is switched off, then what is named', () => {
    const steps = stepsOf(
      parse({
        preset: 'web',
        except: ['c4', 'width'],
        steps: ['dates', { step: 'toxicity', maxShare: 0.01 }, { step: 'blocklist', words: ['x'] }],
      }),
    );
    expect(steps.map(({ step }) => step).join(' ')).toBe(
      'mojibake meaningless punctuation boilerplate repeated-lines gopher-repetition fineweb stop-words dates toxicity blocklist',
    );
    expect(steps.find(({ step }) => step === 'toxicity')?.maxShare).toBe(0.01);
    expect(stepsOf(undefined)).toEqual([]);
    expect(stepsOf(parse({}))).toEqual([]);
  });

  test('each step counts the documents that it changed or left out; the text decides, not its fields', () => {
    const texts = documents(
      'one , two. The end of it',
      '這是民國113年5月2日，',
      'The third of these.',
    );
    const cleaned = cleanShard(texts, {
      personalData: 'keep',
      quality: false,
      clean: parse({
        steps: [
          'punctuation',
          { step: 'dates', languages: ['en'] },
          { step: 'language', keep: ['en', 'zh', 'zh-Hant'] },
          { step: 'blocklist', words: ['third'] },
        ],
      }),
    });
    expect(cleaned.cleaned).toEqual({ punctuation: 1, blocklist: 1 });
    expect(cleaned.documents.map(({ text }) => text)).toEqual([
      'one, two. The end of it',
      '這是民國113年5月2日，',
    ]);
    expect(cleaned.dropped).toMatchObject([{ reason: 'blocklist', sample: 'The third of these.' }]);
  });

  test('a step takes other thresholds by language, and one without languages those that none names', () => {
    const clean = (...steps: unknown[]) =>
      cleanShard(
        documents(
          'It is one. It is two. It is three of the sentences.',
          '這是第一句。這是第二句。這是第三句。',
          'Das ist der erste Satz. Das ist der zweite und die Sprache ist Deutsch.',
        ),
        { personalData: 'keep', quality: false, clean: parse({ steps }) },
      ).dropped.map(({ id, detail }) => [id, detail]);
    const c4Of = (minNumSentences: number | undefined, ...languages: string[]) => ({
      step: 'c4',
      ...(languages.length > 0 && { languages }),
      ...(minNumSentences !== undefined && { minNumSentences }),
    });
    const few = (id: number, found: number, least: number) => [
      String(id),
      `found ${found} sentences, expected at least ${least}`,
    ];
    expect(clean('c4')).toEqual([few(0, 3, 5), few(1, 3, 5), few(2, 2, 5)]);
    expect(clean(c4Of(3))).toEqual([few(2, 2, 3)]);
    expect(clean(c4Of(4, 'en'), c4Of(2, 'zh-Hant', 'zh'))).toEqual([few(0, 3, 4)]);
    expect(clean(c4Of(3, 'en'), 'c4')).toEqual([few(1, 3, 5), few(2, 2, 5)]);
    expect(clean(c4Of(9), c4Of(undefined, 'en', 'de'))).toEqual([
      few(0, 3, 5),
      few(1, 3, 9),
      few(2, 2, 5),
    ]);
    // Without a threshold, both are for what both name.
    expect(stepsOf(parse({ steps: [c4Of(undefined, 'en'), 'c4'] }))).toEqual([
      { step: 'c4', languages: ['en'] },
      { step: 'c4' },
    ]);
  });

  test('quality takes other thresholds by language; a language that no entry names is not judged', () => {
    const short = documents(
      `${english(seeded(4), 30)}`,
      '行政院應於三十日內公告之，並送立法院備查。主管機關為辦理前項業務得委託之。',
    );
    const dropped = (quality: unknown) =>
      cleanShard(short, {
        personalData: 'keep',
        quality: qualitySchema.parse(quality),
      }).dropped.map(({ id, detail }) => `${id}: ${detail}`);
    const words = '0: found 30 words, expected at least 50';
    const letters = '1: found 34 letters, expected at least 60';
    expect(dropped(true)).toEqual([words, letters]);
    expect(dropped({})).toEqual([words, letters]);
    expect(dropped({ minDocWords: 20 })).toEqual([letters]);
    expect(dropped({ languages: ['en'] })).toEqual([words]);
    expect(dropped([{ languages: ['en'], minDocWords: 20 }, { minDocLetters: 30 }])).toEqual([]);
    expect(dropped([{ languages: ['en'], minDocWords: 1000 }, {}])).toEqual([
      '0: found 30 words, expected at least 1,000',
      letters,
    ]);
  });

  test('what every text gets is counted too, once a document, and without data.clean', () => {
    const texts = documents(
      'Ａ１\u200B 民國113年5月2日\r\n',
      'cafe\u0301 <|end|>',
      'plain text',
      'a\uFFFE\uE000b \uE000 c',
    );
    const counted = (clean?: ReturnType<typeof parse>) =>
      cleanShard(texts, { personalData: 'keep', quality: false, ...(clean && { clean }) }).cleaned;
    const usual = { width: 1, controls: 1, nfc: 1, 'control-words': 1, 'white-space': 1 };
    expect(counted()).toEqual(usual);
    expect(counted(parse({ except: ['width'], steps: ['dates', 'meaningless'] }))).toEqual({
      controls: 1,
      nfc: 1,
      'control-words': 1,
      // Of the last, what a step left behind.
      'white-space': 2,
      dates: 1,
      meaningless: 1,
    });
  });

  test('what every text gets can be switched off too', () => {
    const clean = (except: string[]) =>
      cleanShard(documents('Ａ１\u200Bｂ'), {
        personalData: 'keep',
        quality: false,
        clean: parse({ except }),
      }).documents[0]?.text;
    expect(clean([])).toBe('A1b');
    expect(clean(['width'])).toBe('Ａ１ｂ');
    expect(clean(['controls'])).toBe('A1\u200Bb');
  });

  test.each([
    [{ steps: ['language'] }, 'language needs keep:'],
    [{ steps: [{ step: 'blocklist' }] }, 'blocklist needs words:'],
    [{ steps: ['polish'] }, 'expected the name of a step'],
    [{ preset: 'wild' }, 'usual'],
  ])('refused: %j', (given, message) => {
    expect(cleaningSchema.safeParse(given).error?.message).toContain(message);
  });
});

test('repeated n-grams are counted as datatrove counts them, decision for decision', () => {
  const bounds = [0.15, 0.14, 0.13, 0.12, 0.11, 0.1];
  /** Characters in n-grams met before, each passed over whole, as a share of the text. */
  const shareOf = (words: readonly string[], length: number): number => {
    const seen = new Set<string>();
    let repeated = 0;
    for (let at = 0; at + length <= words.length;) {
      const gram = words.slice(at, at + length).join('');
      if (seen.has(gram)) {
        repeated += gram.length;
        at += length;
      } else {
        seen.add(gram);
        at += 1;
      }
    }
    return repeated / words.join(' ').length;
  };
  const random = seeded(21);
  const found = { kept: 0, dropped: 0 };
  for (let round = 0; round < 150; round += 1) {
    const words = english(random, 120).replace('.', '').split(' ');
    const from = Math.floor(random() * 60);
    const phrase = words.slice(from, from + 4 + Math.floor(random() * 10));
    const text = [...words.slice(0, 80), ...phrase, ...words.slice(80), ...phrase].join(' ');
    const wanted = bounds.findIndex((bound, at) => shareOf(text.split(' '), 5 + at) > bound);
    const refusal = gopherRepetition({ text, script: 'latin', words: wordsOf(text) });
    expect(refusal?.detail.match(/repeated (\d+)-grams/)?.[1]).toBe(
      wanted === -1 ? undefined : String(5 + wanted),
    );
    found[refusal === null ? 'kept' : 'dropped'] += 1;
  }
  expect(Math.min(found.kept, found.dropped)).toBeGreaterThan(20);
});
