/**
 * Where GPT-2's pattern ends one pre-token and begins the next:
 * 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * By tables, because a regular expression would take longer than all the rest of encoding.
 */

const other = 0;
const letter = 1;
const number = 2;
const space = 3;
const surrogate = 4;

/** Letters and digits of Unicode 17, which the library's Unicode 16 does not know yet; first and last of each range. */
const newer = [
  [0x88f, 0x88f],
  [0xc5c, 0xc5c],
  [0xcdc, 0xcdc],
  [0xa7ce, 0xa7cf],
  [0xa7d2, 0xa7d2],
  [0xa7d4, 0xa7d4],
  [0xa7f1, 0xa7f1],
  [0x10940, 0x10959],
  [0x10ec5, 0x10ec7],
  [0x11db0, 0x11de9],
  [0x16ea0, 0x16ed3],
  [0x16ff2, 0x16ff6],
  [0x187f8, 0x187ff],
  [0x18d09, 0x18d1e],
  [0x18d80, 0x18df2],
  [0x1e6c0, 0x1e6ff],
  [0x2b73a, 0x2b73f],
  [0x2cea2, 0x2cead],
  [0x323b0, 0x33479],
] as const;

function isNewer(point: number): boolean {
  return newer.some(([first, last]) => point >= first && point <= last);
}

/** Of each UTF-16 code unit; white space is Unicode's property, which is not JavaScript's \s. */
const kindOf = new Uint8Array(0x10000);
for (let unit = 0; unit < 0x10000; unit += 1) {
  if (unit >= 0xd800 && unit <= 0xdfff) kindOf[unit] = surrogate;
  else kindOf[unit] = kindOfCharacter(String.fromCharCode(unit));
}

const astralKinds = new Map<number, number>();

function kindOfCharacter(character: string): number {
  if (isNewer(character.codePointAt(0)!)) return other;
  if (/\p{L}/u.test(character)) return letter;
  if (/\p{N}/u.test(character)) return number;
  return /\p{White_Space}/u.test(character) ? space : other;
}

function kindAt(text: string, index: number): number {
  const kind = kindOf[text.charCodeAt(index)]!;
  if (kind !== surrogate) return kind;
  const point = text.codePointAt(index)!;
  let known = astralKinds.get(point);
  if (known === undefined) {
    known = kindOfCharacter(String.fromCodePoint(point));
    astralKinds.set(point, known);
  }
  return known;
}

/** The end of the pre-token that starts here; the text must be well-formed. */
export function endOfPretoken(text: string, start: number): number {
  let index = start;
  let kind = kindAt(text, start);
  if (text.charCodeAt(start) === 0x27) {
    const length = contraction(text, start);
    if (length > 0) return start + length;
  } else if (kind === space) {
    if (text.charCodeAt(start) === 0x20 && start + 1 < text.length) {
      kind = kindAt(text, start + 1);
      index = start + 1;
    }
    if (kind === space) {
      let end = start + 1;
      while (end < text.length && kindOf[text.charCodeAt(end)] === space) end += 1;
      // The last white space before a word goes with the word, or stands alone.
      return end === text.length || end === start + 1 ? end : end - 1;
    }
  }
  for (;;) {
    index += kindOf[text.charCodeAt(index)] === surrogate ? 2 : 1;
    if (index >= text.length) return text.length;
    const next = kindOf[text.charCodeAt(index)]!;
    if (next === kind) continue;
    if (next !== surrogate || kindAt(text, index) !== kind) return index;
  }
}

/** Units of the 's 't 're 've 'm 'll 'd that starts here, or 0. */
function contraction(text: string, start: number): number {
  if (start + 1 >= text.length) return 0;
  const first = text.charCodeAt(start + 1);
  if (first === 0x73 || first === 0x74 || first === 0x6d || first === 0x64) return 2;
  if (start + 2 >= text.length) return 0;
  const second = text.charCodeAt(start + 2);
  if ((first === 0x72 || first === 0x76) && second === 0x65) return 3;
  return first === 0x6c && second === 0x6c ? 3 : 0;
}
