/**
 * Repairs UTF-8 that was read as Windows-1252 or Latin-1, once or several times over. Only what cannot be
 * meant is changed: whole sequences of UTF-8, at places where nobody writes such characters one after another.
 */

/** Characters of Windows-1252 that are not at their place in Latin-1, by their byte. */
const windows1252 = '€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008DŽ\u008F\u0090‘’“”•–—˜™š›œ\u009DžŸ';
const byteOf = new Map([...windows1252].map((character, index) => [character, 0x80 + index]));
for (let byte = 0x80; byte <= 0xff; byte += 1)
  if (!byteOf.has(String.fromCharCode(byte))) byteOf.set(String.fromCharCode(byte), byte);

const continuation = `[\\u0080-\\u00BF${windows1252}]`;
const sequence = new RegExp(
  `[\\u00C2-\\u00DF]${continuation}|[\\u00E0-\\u00EF]${continuation}{2}|[\\u00F0-\\u00F4]${continuation}{3}`,
);
const runs = new RegExp(`(?:${sequence.source})+`, 'g');
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text with what was misread read rightly. */
export function repairMojibake(text: string): string {
  let repaired = text;
  for (let round = 0; round < 3 && sequence.test(repaired); round += 1) {
    const before = repaired;
    repaired = repairOnce(before);
    if (repaired === before) break;
  }
  return repaired;
}

function repairOnce(text: string): string {
  return text.replaceAll(runs, (run, at: number) => {
    const bytes = Uint8Array.from(run, (character) => byteOf.get(character)!);
    let decoded: string;
    try {
      decoded = decoder.decode(bytes);
    } catch {
      return run;
    }
    return isSure(run, decoded, text[at - 1] ?? '') ? decoded : run;
  });
}

function isSure(run: string, decoded: string, before: string): boolean {
  if (/[\p{Cn}\p{Co}]/u.test(decoded)) return false;
  // Three bytes and more for one character, or several characters in a row.
  if (run.length >= 3 && (run.length > 3 || run[0]! >= '\u00E0')) return true;
  // é was read as Ã©: a capital within a word, or before a sign; Â before a sign of Latin-1.
  if (run[0] === '\u00C3')
    return /\p{Ll}/u.test(before) || /[©®¯°±²³´µ¶·¸¹º¼½¾¿¡¢£¤¥¦§¨ª¬\u0080-\u009F]/.test(run[1]!);
  return run[0] === '\u00C2' && /[ ¡-¿]/.test(run[1]!) && !/\p{Lu}/u.test(before);
}
