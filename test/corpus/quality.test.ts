import { expect, test } from 'vitest';
import type { QualityThresholds } from '../../config/cleaning-thresholds.ts';
import { endOfLetters, scriptShares } from '../../corpus/characters.ts';
import { cleanShard } from '../../corpus/clean-shard.ts';
import { cleanText } from '../../corpus/clean.ts';
import { qualityRefusal } from '../../corpus/quality.ts';
import { WordRoom, wordsOf } from '../../corpus/words.ts';
import { english, seeded, textOf } from './random.ts';

const chinese =
  '中華民國基於三民主義，為民有民治民享之民主共和國。中華民國之主權屬於國民全體。具有中華民國國籍者為中華民國國民。' +
  '中華民國領土，依其固有之疆域，非經國民大會之決議，不得變更之。中華民國各民族一律平等。人民身體之自由應予保障，' +
  '除現行犯之逮捕由法律另定外，非經司法或警察機關依法定程序，不得逮捕拘禁。';
const japanese =
  '日本国民は、正当に選挙された国会における代表者を通じて行動し、われらとわれらの子孫のために、諸国民との協和による成果と、' +
  'わが国全土にわたつて自由のもたらす恵沢を確保し、政府の行為によつて再び戦争の惨禍が起ることのないやうにすることを決意し、この憲法を確定する。';
const korean =
  '유구한 역사와 전통에 빛나는 우리 대한국민은 3·1운동으로 건립된 대한민국임시정부의 법통과 불의에 항거한 4·19민주이념을 계승하고 ' +
  '조국의 민주개혁과 평화적 통일의 사명에 입각하여 정의 인도와 동포애로써 민족의 단결을 공고히 하고 모든 사회적 폐습과 불의를 타파하며 ' +
  '자율과 조화를 바탕으로 자유민주적 기본질서를 더욱 확고히 하여 정치 경제 사회 문화의 모든 영역에 있어서 각인의 기회를 균등히 하고 ' +
  '능력을 최고도로 발휘하게 하며 자유와 권리에 따르는 책임과 의무를 완수하게 하여 안으로는 국민생활의 균등한 향상을 기하고';
const french =
  'Les représentants du peuple français, constitués en Assemblée nationale, considérant que l’ignorance, l’oubli ou le mépris des droits ' +
  'de l’homme sont les seules causes des malheurs publics et de la corruption des gouvernements, ont résolu d’exposer, dans une déclaration ' +
  'solennelle, les droits naturels, inaliénables et sacrés de l’homme, afin que cette déclaration rappelle sans cesse leurs droits et leurs devoirs.';

function reasonOf(raw: string, given: QualityThresholds = {}): string | null {
  const text = cleanText(raw);
  return qualityRefusal(text, scriptShares(text).main, wordsOf(text), given)?.reason ?? null;
}

test.each([
  ['English', english(seeded(1), 120)],
  ['Chinese, which has no spaces and few characters a word', chinese],
  ['Japanese', japanese],
  ['Korean, whose words are short', korean],
  ['French, which has none of the common English words', french],
])('%s is kept', (_, text) => {
  expect(reasonOf(text)).toBe(null);
});

test.each<[reason: string, text: string, given: QualityThresholds]>([
  ['too_short', english(seeded(1), 120), { minDocWords: 121 }],
  ['too_long', english(seeded(1), 120), { maxDocWords: 119 }],
  ['word_length', english(seeded(1), 120), { minAvgWordLength: 9 }],
  ['word_length', english(seeded(1), 120), { maxAvgWordLength: 3 }],
  ['letters', `${english(seeded(1), 120)} 1`, { minAlphaWordsRatio: 1 }],
  ['symbols', `${english(seeded(1), 120)} #`, { maxSymbolWordRatio: 0 }],
  ['common_words', english(seeded(1), 120), { minStopWords: 100 }],
  [
    'bullets',
    `- ${english(seeded(1), 60)}\n${english(seeded(3), 60)}`,
    { maxBulletLinesRatio: 0.4 },
  ],
  ['ellipses', `${english(seeded(1), 120)}\nso ...\nit\nis\n.`, { maxEllipsisLinesRatio: 0.1 }],
  ['repeated_lines', `${english(seeded(1), 120)}\nso\nso\nit\nis`, { dupLineFrac: 0.1 }],
  ['repeated_lines', `${english(seeded(1), 120)}\nso\nso\nit\nis`, { dupLineCharFrac: 0 }],
  [
    'repeated_phrase',
    `as was said ${english(seeded(1), 120)} as was said`,
    { topNGrams: { 3: 0.001 } },
  ],
  ['too_short', chinese, { minDocLetters: 400 }],
  ['too_long', chinese, { maxDocLetters: 100 }],
  ['letters', chinese, { minLetterRatio: 0.99 }],
  ['repeated_characters', chinese, { topCharFrac: 0.01 }],
])('%s by another threshold: %#', (reason, text, given) => {
  expect(reasonOf(text)).toBe(null);
  expect(reasonOf(text, given)).toBe(reason);
});

test('a threshold that is wide enough keeps what the published one leaves out', () => {
  const text = english(seeded(1), 120).replaceAll(/\b(\w+)\b/g, '$1q');
  expect(reasonOf(text)).toBe('common_words');
  expect(reasonOf(text, { minStopWords: 0 })).toBe(null);
});

const random = seeded(2);
const long = english(random, 300);
test.each([
  ['too_short', english(random, 30)],
  ['too_short', chinese.slice(0, 40)],
  ['too_long', english(random, 100_001)],
  ['word_length', 'a b c I '.repeat(30)],
  [
    'word_length',
    'the of internationalizationalism '.repeat(5) + 'antidisestablishmentarianism '.repeat(60),
  ],
  ['letters', `${long} ${Array.from({ length: 120 }, (_, index) => 1000 + index).join(' ')}`],
  ['letters', `${chinese}${'，、；：「」『』（）'.repeat(40)}`],
  ['symbols', long.replaceAll(' ', ' # ')],
  ['common_words', long.replaceAll(/\b(\w+)\b/g, '$1q')],
  ['bullets', long.replaceAll(' ', '\n- ')],
  ['ellipses', long.replaceAll(/( \w+){15}/g, '$&...\n')],
  ['repeated_lines', `${`${english(random, 60)}\n`.repeat(3)}${english(random, 60)}`],
  ['repeated_phrase', `${english(random, 60)} ${'call our helpful office today '.repeat(30)}`],
  ['repeated_phrase', `${chinese}${'歡迎加入我們'.repeat(20)}`],
  ['repeated_characters', `${chinese}${'哈'.repeat(90)}`],
])('dropped as %s', (reason, text) => {
  expect(reasonOf(text)).toBe(reason);
});

test('quality: false keeps what has a letter or digit, and personal data: keep leaves it', () => {
  const documents = ['short, ann@example.com', '…—!'].map((text, index) => ({
    id: String(index),
    source: 's',
    text,
    metadata: {},
  }));
  const cleaned = cleanShard(documents, { personalData: 'keep', quality: false });
  expect(cleaned.documents.map(({ text }) => text)).toEqual(['short, ann@example.com']);
  expect(cleaned.dropped).toMatchObject([{ id: '1', reason: 'empty' }]);
});

test('metadata is cleaned and redacted like the text', () => {
  const document = {
    id: '1',
    source: 's',
    text: 'a',
    metadata: { by: 'Ａnn  ann@example.com', n: 3 },
  };
  const cleaned = cleanShard([document], { personalData: 'redact', quality: false });
  expect(cleaned.documents[0]!.metadata).toEqual({ by: 'Ann <EMAIL>', n: 3 });
  expect(cleaned.redacted).toEqual({ email: 1 });
});

test('only documents in the languages that are asked for stay, and nothing else of them changes', () => {
  const texts = {
    en: 'If there is no applicable act for a civil case, the case shall be decided by customs.',
    de: 'Alle Menschen sind frei und gleich an Würde und Rechten geboren und mit Vernunft begabt.',
    'zh-Hant': '關於一定之數量，同時以文字及號碼表示者，其文字與號碼有不符合時，應以文字為準。',
    'zh-Hans': '关于一定之数量，同时以文字及号码表示者，其文字与号码有不符合时，应以文字为准。',
  };
  const documents = Object.entries(texts).map(([id, text]) => ({
    id,
    text,
    source: `docs/${id}`,
    metadata: {},
  }));
  const all = cleanShard(documents, { personalData: 'keep', quality: false });
  const languages = ['zh-Hant', 'en'];
  const some = cleanShard(documents, { personalData: 'keep', quality: false, languages });
  expect(some.documents.map(({ id }) => id)).toEqual(['en', 'zh-Hant']);
  expect(some.documents).toEqual(all.documents.filter(({ id }) => languages.includes(id)));
  expect(some.dropped).toMatchObject([
    { id: 'de', reason: 'language', detail: 'found de, expected zh-Hant, en' },
    { id: 'zh-Hans', reason: 'language', detail: 'found zh-Hans, expected zh-Hant, en' },
  ]);
});

/** Letters, marks and digits of several planes, halves of pairs, and what stands between words. */
const pieces =
  "a É ß ǅ и 中 한 \u{20000} \u{1D400} \u{10400} \u{1F600} \u0301 \uD800 \uDC00 7 ٣ _ - ’ ' ．"
    .split(' ')
    .concat(' ', '\n');

test('letters end where the regular expression ends them', () => {
  const random = seeded(7);
  for (let round = 0; round < 300; round += 1) {
    const text = textOf(random, pieces, 40);
    const found: string[] = [];
    for (let index = 0; index < text.length;) {
      const end = endOfLetters(text, index);
      if (end > index) found.push(text.slice(index, end));
      index = Math.max(end, index + 1);
    }
    expect(found).toEqual(Array.from(text.matchAll(/\p{L}+/gu), ([word]) => word));
  }
});

test('words split in a room that held others are the words of the text alone', () => {
  const random = seeded(8);
  const room = new WordRoom();
  for (let round = 0; round < 200; round += 1) {
    const text = textOf(random, pieces, Math.floor(random() * 60));
    expect(wordsOf(text, room)).toEqual(wordsOf(text));
  }
  expect(wordsOf('a b c', room)).toMatchObject({
    numAlphabetic: 3,
    lengths: Uint32Array.of(1, 1, 1),
  });
});
