/**
 * `npm run bench -- languages --data <folder>`: whether the language of a text is found, on pieces of the Universal Declaration
 * of Human Rights in the languages that are told apart, and in some that are not.
 */
import path from 'node:path';
import { z } from 'zod';
import { languageOf } from '../corpus/languages.ts';
import { openSource, readSource } from '../corpus/sources.ts';
import { defineBench, say } from './support/bench.ts';

/** Files of the archive, by the language that they are in. */
const known = Object.entries({
  als: 'sq',
  arb: 'ar',
  amh: 'am',
  azj_latn: 'az',
  bel: 'be',
  ben: 'bn',
  bul: 'bg',
  cat: 'ca',
  ces: 'cs',
  cmn_hans: 'zh-Hans',
  cmn_hant: 'zh-Hant',
  dan: 'da',
  deu: 'de',
  ell_monotonic: 'el',
  eng: 'en',
  est: 'et',
  eus: 'eu',
  fin: 'fi',
  fra: 'fr',
  guj: 'gu',
  heb: 'he',
  hin: 'hi',
  hrv: 'hr',
  hun: 'hu',
  hye: 'hy',
  isl: 'is',
  ita: 'it',
  jpn: 'ja',
  kan: 'kn',
  kat: 'ka',
  khm: 'km',
  kor: 'ko',
  lao: 'lo',
  lav: 'lv',
  lit: 'lt',
  mal: 'ml',
  mar: 'mr',
  mya: 'my',
  nld: 'nl',
  nob: 'no',
  pan: 'pa',
  pes_1: 'fa',
  pol: 'pl',
  por_BR: 'pt',
  por_PT: 'pt',
  ron: 'ro',
  rus: 'ru',
  slk: 'sk',
  slv: 'sl',
  spa: 'es',
  srp_cyrl: 'sr',
  swe: 'sv',
  tam: 'ta',
  tgl: 'tl',
  tha: 'th',
  tur: 'tr',
  ukr: 'uk',
  urd: 'ur',
  vie: 'vi',
  yor: 'yo',
});
/** Languages that nobody tells apart here: the best answer is the name of the script. */
const unknown = ['afr', 'bre', 'cym', 'gla', 'hau_NG', 'ind', 'mlt', 'swh', 'kaz', 'kir', 'tat'];
const lengths = [60, 200, 1000];
const piecesEach = 12;

export const languages = defineBench({
  name: 'languages',
  summary: 'the language of texts of 60, 200 and 1,000 characters: how often it is found',
  settings: z.strictObject({
    data: z.string().describe('folder with pretrain/udhr2.zip'),
  }),
  measure: async ({ data }) => {
    const texts = await declarations(path.join(path.resolve(data), 'pretrain/udhr2.zip'));
    const right: Record<string, number> = {};
    const wrong: Record<string, number> = {};
    let characters = 0;
    languageOf('Alle Menschen sind frei und gleich an Würde und Rechten geboren.');
    const began = performance.now();
    for (const length of lengths) {
      let [met, found] = [0, 0];
      for (const [file, language] of known) {
        for (const piece of piecesOf(texts.get(file)!, length)) {
          const answer = languageOf(piece);
          met += 1;
          characters += piece.length;
          if (answer === language) found += 1;
          else if (length === lengths.at(-1)) {
            wrong[`${language} as ${answer}`] = (wrong[`${language} as ${answer}`] ?? 0) + 1;
          }
        }
      }
      right[length] = found / met;
      say(`${length} characters: ${((100 * found) / met).toFixed(1)} % of ${met} pieces`);
    }
    const seconds = (performance.now() - began) / 1000;
    const others = unknown.map((file) => [
      file,
      ...new Set(piecesOf(texts.get(file)!, lengths.at(-1)!).map((piece) => languageOf(piece))),
    ]);
    for (const [file, ...answers] of others) say(`${file}, not known: ${answers.join(', ')}`);
    return {
      figures: {
        languages: new Set(known.map(([, language]) => language)).size,
        right,
        wrong,
        unknown: Object.fromEntries(others.map(([file, ...answers]) => [file, answers])),
        megacharactersPerSecond: characters / 1e6 / seconds,
      },
      bounds: [{ name: 'found in 1,000 characters', value: right[1000]!, min: 0.98 }],
    };
  },
});

/** The text of each file of the archive, by its name. */
async function declarations(archive: string): Promise<Map<string, string>> {
  const source = { path: archive, include: '**/*', license: 'public domain', textField: 'text' };
  const opened = await openSource(source, { baseDir: '/', projectDir: '/' });
  const texts = new Map<string, string>();
  for await (const item of readSource(opened)) {
    if (!('document' in item)) continue;
    const name = /([^/]+)\.txt$/.exec(item.document.source)?.[1];
    if (name !== undefined) texts.set(name, item.document.text.replaceAll(/\s+/g, ' ').trim());
  }
  return texts;
}

/** Pieces at even distances. */
function piecesOf(text: string, length: number): string[] {
  const room = Math.max(0, text.length - length);
  return Array.from({ length: piecesEach }, (_, piece) => {
    const start = Math.floor((room * (piece + 0.5)) / piecesEach);
    return text.slice(start, start + length);
  });
}
