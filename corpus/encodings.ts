/**
 * Tells encodings apart that nothing names: each that the bytes are valid in is charged, character by character, what
 * such a character costs in a text of its language (bits, roughly), and the cheapest is taken where it is clearly so.
 */
import iconv from 'iconv-lite';
import { frequentHangul, frequentHans, frequentHant } from './frequent-characters.ts';

const sampleBytes = 64 * 1024;
/** A text of real words costs less than this for a byte, noise more. */
const maxBitsPerByte = 7.5;
/** A lead under this is no verdict. */
const clearBits = 6;
const clearShare = 0.01;

type Cost = (character: string, text: string, at: number, bytes: Buffer) => number;

const ascii = 5;
const [frequent, usual, rare, odd] = [10, 13, 18, 23];

const punctuation = /[\u3000-\u303F\uFF01-\uFF65\u2018-\u201D\u2014\u2026\u00B7]/;
const hiragana = /[\u3041-\u309F]/;
const katakana = /[\u30A0-\u30FF]/;
const han = /\p{Script=Han}/u;
const hangul = /[\uAC00-\uD7A3]/;

/** The place of a character of two bytes in the tables of its standard tells how common it is. */
const candidates: Record<string, Cost> = {
  big5(character, _text, _at, [lead = 0]) {
    if (punctuation.test(character)) return 8;
    if (frequentHant.has(character)) return frequent;
    if (lead >= 0xa4 && lead <= 0xc6 && han.test(character)) return usual;
    return lead >= 0xc9 && lead <= 0xf9 && han.test(character) ? rare : odd;
  },
  gb18030(character, _text, _at, bytes) {
    const [lead = 0, trail = 0] = bytes;
    if (punctuation.test(character)) return 8;
    if (frequentHans.has(character)) return frequent;
    if (trail < 0xa1 || bytes.length !== 2) return frequentHant.has(character) ? usual + 2 : odd;
    if (lead >= 0xb0 && lead <= 0xd7) return usual;
    return lead >= 0xd8 && lead <= 0xf7 ? rare : rare + 1;
  },
  shift_jis(character, _text, _at, bytes) {
    if (bytes.length === 1) return 11;
    return japanese(character, bytes[0]! >= 0x88 && bytes[0]! <= 0x97);
  },
  'euc-jp'(character, _text, _at, bytes) {
    return bytes.length === 2 ? japanese(character, bytes[0]! >= 0xb0 && bytes[0]! <= 0xcf) : odd;
  },
  'euc-kr'(character, _text, _at, [lead = 0, trail = 0]) {
    if (frequentHangul.has(character)) return 9;
    if (hangul.test(character)) return lead >= 0xb0 && trail >= 0xa1 ? usual : odd;
    return punctuation.test(character) ? 9 : rare + 1;
  },
  'windows-1252'(character, text, at) {
    const [before = '', after = ''] = [text[at - 1], text[at + 1]];
    const neighbours = Number(before > '\u007F') + Number(after > '\u007F');
    const crowded = [0, 1.5, 7][neighbours]!;
    const word = /[a-z]/i.test(before) || /[a-z]/i.test(after);
    if (/[àâäáãåæçèéêëìíîïñòóôöõøœùúûüýßÀÂÄÁÃÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÖÕØŒÙÚÛÜÝÐÞðþšžŠŽÿ]/.test(character)) {
      const lone = /[ÿ]/.test(character) || (!word && !/[àéèôÀÉÈÔ]/.test(character));
      return (lone ? 14 : 8) + crowded;
    }
    if (/[‘’“”–—…«»¿¡°§©®€£·\u00A0•ªº²³½¼×´™]/.test(character)) return 9 + crowded;
    return 14 + crowded;
  },
};

function japanese(character: string, level1: boolean): number {
  if (hiragana.test(character)) return 7;
  if (katakana.test(character)) return 8.5;
  if (punctuation.test(character)) return 8;
  if (!han.test(character)) return odd;
  return level1 ? 12 : rare;
}

const names: Record<string, string> = { big5: 'big5-hkscs', 'euc-kr': 'cp949', shift_jis: 'cp932' };

export function isLegacy(encoding: string): boolean {
  return encoding !== 'utf-8' && !encoding.startsWith('utf-16');
}

/** Encodings of the bytes, the likeliest first: none where it is no text, several where that is not certain. */
export function detectEncoding(bytes: Uint8Array): string[] {
  const sample = sampleOf(bytes);
  const wide = couldBeWide(bytes) ? wides : [];
  const found = [
    ...Object.entries(candidates).map(([encoding, cost]) => ({
      encoding,
      bits: bitsOf(sample, encoding, cost),
    })),
    ...wide.map((encoding) => ({ encoding, bits: wideBits(sample, encoding, true, unmarked) })),
  ]
    .flatMap(({ encoding, bits }) => (bits === null ? [] : [{ encoding, bits }]))
    .toSorted((a, b) => a.bits - b.bits || (a.encoding < b.encoding ? -1 : 1));
  const [best] = found;
  if (best === undefined) return [];
  const clear = best.bits + Math.max(clearBits, best.bits * clearShare);
  return found.filter(({ bits }) => bits <= clear).map(({ encoding }) => encoding);
}

/** What the sample costs in an encoding; null where it is not valid in it, or as dear as noise. */
function bitsOf(sample: Buffer, encoding: string, cost: Cost): number | null {
  const text = iconv.decode(sample, names[encoding] ?? encoding);
  // A last character that the sample cuts is no fault.
  const fault = text.indexOf('\uFFFD');
  if (fault >= 0 && (fault < text.length - 3 || sample.length < sampleBytes)) return null;
  let bits = 0;
  let otherBytes = 0;
  let otherBits = 0;
  let place = 0;
  let at = 0;
  for (const character of text) {
    const code = character.codePointAt(0)!;
    if (code < 0x80) {
      bits += code < 0x20 && code !== 9 && code !== 10 && code !== 13 ? 20 : ascii;
      place += 1;
    } else {
      const length = lengthAt(sample, place, encoding);
      const price =
        code >= 0xe000 && code <= 0xf8ff
          ? odd * 1.5
          : cost(character, text, at, sample.subarray(place, place + length));
      bits += price + (isAlone(text, at, character.length) ? (alone[encoding] ?? lonely) : 0);
      otherBits += price;
      otherBytes += length;
      place += length;
    }
    at += character.length;
  }
  const perByte = encoding === 'windows-1252' ? maxBitsPerByte + 4.5 : maxBitsPerByte;
  return otherBytes > 0 && otherBits / otherBytes > perByte ? null : bits;
}

/** What a character between signs of ASCII costs besides: common in Latin script, seldom in others. */
const lonely = 10;
const alone: Record<string, number> = { 'windows-1252': 0 };

function isAlone(text: string, at: number, length: number): boolean {
  return !(text[at - 1]! > '\u007F') && !(text[at + length]! > '\u007F');
}

/** Bytes of the character beyond ASCII that begins there. */
function lengthAt(sample: Buffer, place: number, encoding: string): number {
  const lead = sample[place]!;
  if (encoding === 'windows-1252') return 1;
  if (encoding === 'shift_jis') return lead >= 0xa1 && lead <= 0xdf ? 1 : 2;
  if (encoding === 'euc-jp') return lead === 0x8f ? 3 : 2;
  if (encoding === 'gb18030') {
    const trail = sample[place + 1] ?? 0;
    return trail >= 0x30 && trail <= 0x39 ? 4 : lead === 0x80 ? 1 : 2;
  }
  return 2;
}

/** From the first byte beyond ASCII on, from the beginning of its line. */
function sampleOf(bytes: Uint8Array): Buffer {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (all.length <= sampleBytes) return all;
  const first = all.findIndex((byte) => byte >= 0x80);
  const start = Math.max(0, all.lastIndexOf(0x0a, Math.max(0, first)) + 1);
  return all.subarray(first - start > sampleBytes / 2 ? first : start).subarray(0, sampleBytes);
}

/** Which UTF-16 without a mark the bytes are, if any. */
export function utf16Without(bytes: Uint8Array): string | null {
  if (bytes.length % 2 !== 0 || bytes.length < 4) return null;
  const sample = bytes.subarray(0, sampleBytes);
  const costs = wides.flatMap((encoding) => {
    const bits = wideBits(sample, encoding, sample.length === bytes.length);
    return bits === null ? [] : [{ encoding, bits }];
  });
  const [best, other] = costs.toSorted((a, b) => a.bits - b.bits);
  if (best === undefined || (other !== undefined && other.bits - best.bits < clearBits))
    return null;
  return best.encoding;
}

/** Not so where it is nearly all ASCII, of which two letters make a rare character. */
function couldBeWide(bytes: Uint8Array): boolean {
  if (bytes.length < 8 || bytes.length > sampleBytes || bytes.length % 2 !== 0) return false;
  return bytes.reduce((sum, byte) => sum + Number(byte < 0x80), 0) < bytes.length * 0.85;
}

/** Text in UTF-16 without a mark and without one sign of ASCII is rare. */
const unmarked = 14;
const wides = ['utf-16le', 'utf-16be'];

/** As `bitsOf`, of UTF-16. */
function wideBits(sample: Uint8Array, encoding: string, whole: boolean, before = 0): number | null {
  let text: string;
  try {
    text = new TextDecoder(encoding, { fatal: whole }).decode(sample);
  } catch {
    return null;
  }
  let bits = before;
  for (const character of text) bits += wideCost(character);
  return (bits - before) / sample.length > maxBitsPerByte ? null : bits;
}

function wideCost(character: string): number {
  const code = character.codePointAt(0)!;
  if (code < 0x20 && code !== 9 && code !== 10 && code !== 13) return 40;
  if (code < 0x80) return 6;
  if (frequentHant.has(character) || frequentHans.has(character)) return frequent;
  if (code < 0x250 || (code >= 0x370 && code < 0x600)) return 9;
  if (punctuation.test(character) || hiragana.test(character) || katakana.test(character)) return 8;
  if (hangul.test(character)) return frequentHangul.has(character) ? 9 : 15;
  return code >= 0x4e00 && code <= 0x9fff ? 14 : 25;
}
