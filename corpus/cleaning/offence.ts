/** Obscene and hateful words, and words that a pipeline file names, counted in a text. */
import type { Refusal } from '../decode.ts';

// Words that hardly have another meaning; what is only rude, or also harmless, is not among them.
const offensive =
  'fuck fucker fucking motherfucker cunt cocksucker blowjob handjob cumshot creampie gangbang milf porn porno pornhub xxx ' +
  'asshole bitch bitches slut sluts whore whores dildo nigger niggers faggot faggots kike spic wetback tranny';
const offensiveHan =
  '操你媽 肏你 幹你娘 干你娘 傻逼 操你妈 雞巴 鸡巴 口交 肛交 內射 内射 無碼 无码 成人影片 成人视频 色情片 援交 一夜情 裸聊 支那豬 支那猪 婊子';

const word = new RegExp(
  `(?<![\\p{L}\\p{N}])(?:${offensive.split(' ').join('|')})(?![\\p{L}\\p{N}])`,
  'giu',
);
const han = new RegExp(offensiveHan.split(' ').join('|'), 'g');

/** Left out where more than a share of the words offends; one word alone never does. */
export function toxicity(text: string, numWords: number, maxShare: number): Refusal | null {
  const hits = numberOf(text, word) + numberOf(text, han);
  const share = hits / Math.max(1, numWords);
  if (hits < 2 || share <= maxShare) return null;
  const percent = (value: number): string => `${Math.round(value * 10_000) / 100} %`;
  return {
    reason: 'toxicity',
    detail: `offensive words are ${percent(share)}, expected at most ${percent(maxShare)}`,
  };
}

/** Left out where the words of a list come more often than the file allows. */
export function blocklist(text: string, words: readonly string[], maxHits: number): Refusal | null {
  let pattern = patterns.get(words);
  if (pattern === undefined) {
    const escaped = words.map((one) => one.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`));
    // Where spaces part words, a listed word is a whole one; Chinese has no such bounds.
    const bounded = escaped.map((one, index) =>
      /^[\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}\p{N} '’-]+$/u.test(words[index]!)
        ? `(?<![\\p{L}\\p{N}])${one}(?![\\p{L}\\p{N}])`
        : one,
    );
    pattern = new RegExp(bounded.join('|'), 'giu');
    patterns.set(words, pattern);
  }
  const hits = numberOf(text, pattern);
  if (hits <= maxHits) return null;
  return { reason: 'blocklist', detail: `found ${hits} listed words, expected at most ${maxHits}` };
}

const patterns = new WeakMap<readonly string[], RegExp>();

function numberOf(text: string, pattern: RegExp): number {
  return text.match(pattern)?.length ?? 0;
}
