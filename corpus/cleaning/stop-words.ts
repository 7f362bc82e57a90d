/** Words that nearly every text of a language has, a few for each. */
import { languagesOfScript, scriptNames, type SharedScript } from '../../config/languages.ts';

interface List {
  words: ReadonlySet<string>;
  /** Spaces part the words, so that a word is met whole or not at all. */
  whole: boolean;
}

const spaced: Record<string, string> = {
  en: 'the be to of and that have with is in for as it on',
  de: 'der die das und in zu den von mit ist nicht ein eine auf für',
  fr: 'le la les de des et en un une que est pour dans qui du',
  es: 'de la que el en y a los se del las un por con una',
  it: 'di e il la che in a un per del della è non con le',
  pt: 'de a o que e do da em um para com não uma os no',
  nl: 'de het een van en in is dat op te met voor zijn niet',
  pl: 'i w na z do nie się to że jest o jak za od',
  sv: 'och i att det som en på är av för med den till inte',
  da: 'og i at det er en til på som de med for den ikke',
  no: 'og i at det er en til på som de med for den ikke',
  fi: 'ja on ei se että oli hän mutta ovat kun tai sen myös',
  cs: 'a v na se je že s z do to o jako ve by',
  ro: 'și în de la a cu pe nu este din care un o pentru',
  hu: 'a az és hogy nem is egy ez meg volt csak azt de',
  tr: 've bir bu için de da ile çok olarak gibi daha ne var',
  vi: 'và của là có các cho không được trong một với những người',
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
  return lists.get(language) ?? lists.get(scriptNameOf(language) ?? '') ?? null;
}

/** Of an alphabet whose languages have one list together. */
function scriptNameOf(language: string): string | null {
  const scripts = Object.keys(languagesOfScript) as SharedScript[];
  const script = scripts.find((one) => one !== 'latin' && languagesOfScript[one].has(language));
  return script === undefined ? null : scriptNames[script];
}
