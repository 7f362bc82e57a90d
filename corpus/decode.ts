/** Bytes to text, strictly: a byte that is no text drops the document instead of becoming a question mark in it. */

/** Why something was left out: a stable word, and what was found. */
export interface Refusal {
  reason: string;
  detail: string;
}

/** UTF-8, or UTF-16 where a byte-order mark says so. */
export function decodeText(bytes: Uint8Array): { text: string } | Refusal {
  const [first, second] = bytes;
  const encoding =
    first === 0xff && second === 0xfe
      ? 'utf-16le'
      : first === 0xfe && second === 0xff
        ? 'utf-16be'
        : 'utf-8';
  if (encoding === 'utf-8') {
    const zero = bytes.indexOf(0);
    if (zero >= 0) return { reason: 'binary', detail: `found a NUL byte at ${zero}` };
  }
  try {
    return { text: new TextDecoder(encoding, { fatal: true }).decode(bytes) };
  } catch {
    return { reason: 'undecodable', detail: `found bytes that are not ${encoding}` };
  }
}
