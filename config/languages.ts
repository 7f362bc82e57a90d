/** The languages that are told apart in each alphabet that several share; of another language only its script is known. */

const languages = {
  latin:
    'az ca cs da de en es et eu fi fr hr hu is it ku lt lv ms nl no pl pt ro sk sl sq sr sv tl tr vi yo',
  cyrillic: 'be bg ru sr uk',
  greek: 'el',
  arabic: 'ar fa ku ur',
  hebrew: 'he',
  devanagari: 'hi mr',
  other: 'am bn gu hy ka kn ml or pa ta te',
} as const;
export type SharedScript = keyof typeof languages;

/** As ISO 639-1 names them, by script. */
export const languagesOfScript: Readonly<Record<SharedScript, ReadonlySet<string>>> = {
  latin: new Set(languages.latin.split(' ')),
  cyrillic: new Set(languages.cyrillic.split(' ')),
  greek: new Set(languages.greek.split(' ')),
  arabic: new Set(languages.arabic.split(' ')),
  hebrew: new Set(languages.hebrew.split(' ')),
  devanagari: new Set(languages.devanagari.split(' ')),
  other: new Set(languages.other.split(' ')),
};

/** What a text is called whose letters are known, and whose language is not. */
export const scriptNames: Readonly<Record<SharedScript, string>> = {
  latin: 'Latin script',
  cyrillic: 'Cyrillic script',
  greek: 'Greek script',
  arabic: 'Arabic script',
  hebrew: 'Hebrew script',
  devanagari: 'Devanagari script',
  other: 'another script',
};

/** Languages whose letters alone tell them. */
const byLetters = ['zh', 'zh-Hant', 'zh-Hans', 'ja', 'ko', 'th', 'lo', 'km', 'my'];

/** Every name that a text may get. */
export const languageNames: readonly string[] = [
  ...new Set([
    ...byLetters,
    ...Object.values(languagesOfScript).flatMap((codes) => [...codes]),
    ...Object.values(scriptNames),
    'no letters',
  ]),
];
