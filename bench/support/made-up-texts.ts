/** Texts of made-up sentences in five languages, the same ones from the same seed: long enough for every filter, no two alike. */
import { pick, seeded } from '../../test/corpus/random.ts';

export const languages = ['en', 'zh-Hant', 'ja', 'zh-Hans', 'de'] as const;
export type Language = (typeof languages)[number];

interface Phrases {
  /** Who, does what, to what, when or where: one of each makes a sentence. */
  parts: readonly (readonly string[])[];
  between: string;
  end: string;
}

const phrases: Record<Language, Phrases> = {
  en: {
    parts: [
      'The harbour office|A retired surveyor|Our evening school|The county library|Every second farmer|A careful librarian|The old observatory|One of the engineers|The river ferry|A travelling theatre|The weather station|That small foundry',
      'has kept a record of|wrote to the council about|was asked to repair|is still proud of|would not part with|learned to measure|will be paid for|quietly replaced|drew a map of|could never find|used to lend out|gave a lecture on',
      'the copper bells|forty crates of oranges|a bridge with nine arches|the minutes of each meeting|several brass instruments|the winter timetable|a collection of seeds|that flooded cellar|two windmills and a barn|the letters of its founder|an atlas of the coast|every lamp on the quay',
      'before the first snow fell|in the year of the long strike|while the road was closed|for as long as anyone remembers|although nobody had asked|with the help of the neighbours|on the last day of the fair|after the fire was put out|and sent a copy to the museum|that had come from the island|because the harvest was late|under the clock in the square',
    ].map((part) => part.split('|')),
    between: ' ',
    end: '. ',
  },
  'zh-Hant': {
    parts: [
      '港務處|退休的測量員|我們的夜校|縣立圖書館|隔壁的農夫|細心的館員|舊天文臺|其中一位工程師|河上的渡船|巡迴劇團|山腰的氣象站|那間小鑄造廠',
      '一直保存著|曾寫信談到|受託修理|至今仍珍惜|不願交出|學會了測量|將要買下|悄悄換掉了|畫過|始終找不到|常常借出|演講時提到',
      '銅鐘與繩索|四十箱柑橘|九孔的石橋|每次會議的紀錄|幾件銅管樂器|冬季的時刻表|各種作物的種子|淹水的地窖|兩座風車|創辦人的書信|海岸的地圖集|碼頭上的燈',
      '，在初雪以前|，那年正逢大罷工|，當時道路還封著|，時間久得無人記得|，雖然沒有人要求|，鄰居們都來幫忙|，就在市集最後一天|，等火撲滅以後|，並送了一份給博物館|，它們來自離島|，因為收成晚了|，放在廣場的鐘下',
    ].map((part) => part.split('|')),
    between: '',
    end: '。',
  },
  ja: {
    parts: [
      '港の事務所は|引退した測量士は|私たちの夜学校は|県の図書館は|となりの農家は|几帳面な司書は|古い天文台は|技師のひとりは|川の渡し舟は|旅まわりの劇団は|山の気象台は|小さな鋳物工場は',
      '初雪の前に|大きなストライキの年に|道が閉ざされている間|だれも覚えていないほど昔から|頼まれもしないのに|近所の人の手を借りて|市の最後の日に|火事がおさまってから|広場の時計の下で|島から来た人と|収穫が遅れたために|冬の朝ごとに',
      '銅の鐘と綱を|四十箱のみかんを|九つの石橋を|会議の記録を|いくつかの楽器を|冬の時刻表を|作物の種を|水につかった地下室を|二つの風車を|創立者の手紙を|海岸の地図を|波止場の明かりを',
      '大切にしまっている|役所に届け出た|直すように頼まれた|今も誇りにしている|手放そうとしない|測ることを覚えた|買い取るつもりだ|そっと取りかえた|図に書き残した|見つけられなかった|人に貸していた|話の中で取り上げた',
    ].map((part) => part.split('|')),
    between: '',
    end: '。',
  },
  'zh-Hans': {
    parts: [
      '港务处|退休的测量员|我们的夜校|县立图书馆|隔壁的农夫|细心的馆员|旧天文台|其中一位工程师|河上的渡船|巡回剧团|山腰的气象站|那间小铸造厂',
      '一直保存着|曾写信谈到|受托修理|至今仍珍惜|不愿交出|学会了测量|将要买下|悄悄换掉了|画过|始终找不到|常常借出|演讲时提到',
      '铜钟与绳索|四十箱柑橘|九孔的石桥|每次会议的记录|几件铜管乐器|冬季的时刻表|各种作物的种子|淹水的地窖|两座风车|创办人的书信|海岸的地图集|码头上的灯',
      '，在初雪以前|，那年正逢大罢工|，当时道路还封着|，时间久得无人记得|，虽然没有人要求|，邻居们都来帮忙|，就在市集最后一天|，等火扑灭以后|，并送了一份给博物馆|，它们来自离岛|，因为收成晚了|，放在广场的钟下',
    ].map((part) => part.split('|')),
    between: '',
    end: '。',
  },
  de: {
    parts: [
      'Das Hafenamt|Ein alter Landvermesser|Unsere Abendschule|Die Kreisbücherei|Jeder zweite Bauer|Eine sorgfältige Bibliothekarin|Die frühere Sternwarte|Einer der Ingenieure|Die Fähre am Fluß|Ein Wandertheater|Die Wetterstation|Jene kleine Gießerei',
      'verwahrt noch immer|beschrieb dem Rat|reparierte auf Wunsch|freut sich über|behält lieber|vermißt jedes Jahr|bezahlt demnächst|ersetzte heimlich|zeichnete sehr genau|sucht vergeblich|verleiht gelegentlich|erklärte den Gästen',
      'die kupfernen Glocken|vierzig Kisten mit Orangen|eine Brücke aus neun Bögen|das Protokoll der Sitzung|mehrere Blechinstrumente|den Fahrplan für den Winter|eine Sammlung von Samen|den überfluteten Keller|zwei Windmühlen und einen Stall|die Briefe des Gründers|einen Atlas der Küste|alle Lampen am Kai',
      'vor dem ersten Schnee|in dem Jahr des großen Streiks|als die Straße gesperrt war|seit man sich erinnern kann|ohne daß jemand darum bat|mit Hilfe der Nachbarn|an dem letzten Tag des Marktes|nachdem das Feuer gelöscht war|und schickte eine Kopie ins Museum|die von der Insel stammen|weil die Ernte spät kam|unter der Uhr am Platz',
    ].map((part) => part.split('|')),
    between: ' ',
    end: '. ',
  },
};

/** A text of so many sentences; another seed gives another text. */
export function madeUpText(language: Language, seed: number, numSentences = 14): string {
  const random = seeded(seed * 8 + languages.indexOf(language));
  const { parts, between, end } = phrases[language];
  const sentences = Array.from(
    { length: numSentences },
    () => parts.map((part) => pick(random, part)).join(between) + end,
  );
  return sentences.join('').trim();
}
