/** Bytes to text, strictly: a byte that is no text drops the document instead of becoming a question mark in it. */
import iconv from 'iconv-lite';
import { detectEncoding, isLegacy, utf16Without } from './encodings.ts';

/** Why something was left out: a stable word, and what was found. */
export interface Refusal {
  reason: string;
  detail: string;
}

export type Decoded = { text: string } | Refusal;

/** By a byte-order mark; else UTF-8 where it is that; else what its characters show beyond doubt. */
export function decodeText(bytes: Uint8Array): Decoded {
  const marked = byMark(bytes);
  if (marked === null) {
    const text = utf8(bytes);
    if (text !== null && !text.includes('\0')) return { text };
  }
  const encoding = marked ?? encodingOf(bytes);
  return typeof encoding === 'string' ? decoderFor(encoding)(bytes) : encoding;
}

/**
 * The encoding of a text by its beginning. `lines`: bad bytes in UTF-8 are left to whoever reads line by line.
 * `names`: very short texts, which are taken for what fits best.
 */
export function encodingOf(
  bytes: Uint8Array,
  { lines = false, names = false }: { lines?: boolean; names?: boolean } = {},
): string | Refusal {
  const marked = byMark(bytes);
  if (marked !== null) return marked;
  const whole = lines ? withoutCutEnd(bytes) : bytes;
  const zero = whole.indexOf(0);
  if (zero >= 0) {
    const wide = utf16Without(whole);
    if (wide !== null) return wide;
    return lines ? 'utf-8' : { reason: 'binary', detail: `found a NUL byte at ${zero}` };
  }
  if (utf8(whole) !== null) return 'utf-8';
  const share = damagedShare(whole);
  if (share < 0.1 || (lines && share < 0.5)) {
    return lines ? 'utf-8' : { reason: 'undecodable', detail: 'found bytes that are not utf-8' };
  }
  const found = detectEncoding(whole);
  if (found.length === 0) {
    if (lines) return 'utf-8';
    return { reason: 'undecodable', detail: 'found bytes of no known encoding; save it as UTF-8' };
  }
  if (found.length === 1 || names) return found[0]!;
  return {
    reason: 'ambiguous_encoding',
    detail: `could be ${found.join(' or ')}; save it as UTF-8`,
  };
}

/** Decodes by an encoding that is known; a byte that does not belong to it refuses the text. */
export function decoderFor(encoding: string): (bytes: Uint8Array) => Decoded {
  return (bytes) => {
    const text = isLegacy(encoding)
      ? iconv.decode(
          Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
          nameForIconv(encoding),
        )
      : strict(bytes, encoding);
    if (text === null || (isLegacy(encoding) && text.includes('\uFFFD'))) {
      return unfit(encoding);
    }
    const zero = encoding.startsWith('utf-16') ? -1 : bytes.indexOf(0);
    if (zero >= 0) return { reason: 'binary', detail: `found a NUL byte at ${zero}` };
    return { text };
  };
}

/** As `decodeText`, with what the page or its server says of itself where it is no UTF-8. */
export function decodeHtml(bytes: Uint8Array, declared?: string): Decoded {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 2048));
  const inPage = /<meta[^>]+charset\s*=\s*["']?\s*([\w-]+)/i.exec(head.toString('latin1'))?.[1];
  if (byMark(bytes) === null && utf8(bytes) === null) {
    for (const name of [declared, inPage]) {
      const label = name
        ?.toLowerCase()
        .replace(/^(iso-?8859-?1|latin-?1|us-ascii)$/, 'windows-1252');
      if (label === undefined || label.startsWith('utf')) continue;
      const text = fitting(bytes, label);
      if (text !== null) return { text };
    }
  }
  return decodeText(bytes);
}

/**
 * By the label that mail carries, where the bytes fit it; else as `decodeText`. Latin-1 fits any bytes and is what many
 * programs say of all they send: it counts only where nothing else shows.
 */
export function decodeLabelled(bytes: Uint8Array, declared?: string): Decoded {
  const label = labelOf(declared);
  const shifted = /^(utf-?7|hz|(csiso|iso-)2022)/.exec(label)?.[1];
  if (shifted !== undefined && (shifted.startsWith('utf') || hasShifts(bytes))) {
    const text = fitting(bytes, label);
    return text === null ? unfit(label) : { text };
  }
  const found = decodeText(bytes);
  if (label === '' || label === latin || byMark(bytes) !== null) {
    const shown = 'text' in found ? null : label === latin ? fitting(bytes, label) : null;
    return shown === null ? found : { text: shown };
  }
  const plain = utf8(bytes);
  // Two bytes of UTF-8 may be a character of another encoding; three seldom are.
  if (plain !== null && !/[^\0-\u007f]/.test(plain)) return found;
  if (plain !== null && /[\u0800-\u{10ffff}]/u.test(plain)) return found;
  const text = label.startsWith('utf-8') ? null : fitting(bytes, label);
  return text === null ? found : { text };
}

const latin = 'windows-1252';

/** A name of an encoding without what programs add to it; '' where none is known by it. */
function labelOf(name: string | undefined): string {
  return (name ?? '')
    .trim()
    .toLowerCase()
    .replace(/^(x-)+|^cs(?!iso)/, '')
    .replace(/^(iso[-_]?8859-?1|latin-?1)$/, latin)
    .replace(/^(gb_?2312.*|gbk|cp936|ms936|windows-936)$/, 'gb18030')
    .replace(/^(shift[-_]?jis|sjis|ms_?kanji|windows-31j)$/, 'cp932')
    .replace(/^(euc-?kr|ks_?c_?5601.*|windows-949)$/, 'cp949');
}

/** The text of the bytes in that encoding; null where they do not fit, or none is known by the name. */
function fitting(bytes: Uint8Array, label: string): string | null {
  if (/^(csiso2022jp|iso-2022-jp)/.test(label)) return strict(bytes, 'iso-2022-jp');
  // These turn bytes into digits, and are no encodings of text.
  if (/^(base64|hex|binary|internal)$/.test(label) || !iconv.encodingExists(label)) return null;
  const text = iconv.decode(
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
    nameForIconv(label),
  );
  return text.includes('\uFFFD') || text.includes('\0') ? null : text;
}

function unfit(encoding: string): Refusal {
  return { reason: 'undecodable', detail: `found bytes that are not ${encoding}` };
}

/** Whether 7-bit bytes say that others follow which are no ASCII. */
function hasShifts(bytes: Uint8Array): boolean {
  return bytes.some(
    (byte, at) => byte === 0x1b || byte === 0x0e || (byte === 0x7e && bytes[at + 1] === 0x7b),
  );
}

export function isUtf8(bytes: Uint8Array): boolean {
  return utf8(bytes) !== null;
}

function byMark(bytes: Uint8Array): string | null {
  const [first, second, third] = bytes;
  if (first === 0xff && second === 0xfe) return 'utf-16le';
  if (first === 0xfe && second === 0xff) return 'utf-16be';
  return first === 0xef && second === 0xbb && third === 0xbf ? 'utf-8' : null;
}

/** Big5 as it is found: with the characters of CP950 and of Hong Kong. */
function nameForIconv(encoding: string): string {
  return /^(big5.*|cp950|x-x-big5)$/.test(encoding) ? 'big5-hkscs' : encoding;
}

const decoders = new Map<string, InstanceType<typeof TextDecoder>>();

function strict(bytes: Uint8Array, encoding: string): string | null {
  const decoder = decoders.get(encoding) ?? new TextDecoder(encoding, { fatal: true });
  decoders.set(encoding, decoder);
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

function utf8(bytes: Uint8Array): string | null {
  return strict(bytes, 'utf-8');
}

/** Of the characters beyond ASCII, those that are no UTF-8. */
function damagedShare(bytes: Uint8Array): number {
  const text = new TextDecoder('utf-8').decode(bytes);
  let others = 0;
  let damaged = 0;
  for (const character of text) {
    if (character === '\uFFFD') damaged += 1;
    else if (character > '\u007F') others += 1;
  }
  return damaged / Math.max(1, others + damaged);
}

/** A beginning that was cut off ends where its last line does. */
function withoutCutEnd(bytes: Uint8Array): Uint8Array {
  if (bytes.length < 64 * 1024) return bytes;
  const end = bytes.lastIndexOf(0x0a);
  return end < 0 ? bytes.subarray(0, bytes.length - (bytes.length % 2)) : bytes.subarray(0, end);
}
