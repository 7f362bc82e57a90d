/** Words that nearly every text of a language has, a few for each. */

interface List {
  words: ReadonlySet<string>;
  /** Spaces part the words, so that a word is met whole or not at all. */
  whole: boolean;
}

const spaced: Record<string, string> = {
  en: 'the be to of and that have with is in for as it on',
  ko: '이 그 것 수 등 및 있다 한다 있는 하는',
  'Cyrillic script': 'и в не на что с по как из от за та у до є се да је',
  'Greek script': 'και το της η του να με για ο των',
  'Arabic script': 'في من على إلى أن هذا هذه التي و لا که از به در این را',
  'Hebrew script': 'של את על לא הוא זה עם כי גם היא',
  'Devanagari script': 'के है में की और से का को हैं पर आहे',
};
const unspaced: Record<string, string> = {
  'zh-Hant': '的 是 在 有 不 之 與 為 於 其 這 個 或 者 應 得',
  'zh-Hans': '的 是 在 有 不 之 与 为 于 其 这 个 或 者 应 了',
  zh: '的 是 在 有 不 之 其 以 而 也 或 者 了',
  ja: 'の に は を が と で た し て',
  th: 'ที่ และ ใน ของ เป็น มี การ ให้ ได้ ไม่',
  lo: 'ແລະ ໃນ ຂອງ ທີ່ ເປັນ ມີ',
  km: 'និង ក្នុង នៃ ដែល ជា មាន',
  my: 'သည် များ တွင် နှင့် ကို ၏',
};

const lists = new Map<string, List>([
  ...Object.entries(spaced).map(([language, words]): [string, List] => [
    language,
    { words: new Set(words.split(' ')), whole: true },
  ]),
  ...Object.entries(unspaced).map(([language, words]): [string, List] => [
    language,
    { words: new Set(words.split(' ')), whole: false },
  ]),
]);

/** The list of a language as `languageOf` names it; null where there is none. */
export function stopWordsOf(language: string): List | null {
  return lists.get(language) ?? null;
}
