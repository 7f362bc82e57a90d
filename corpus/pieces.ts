/**
 * Cuts a text where a byte-level BPE cuts it anyway, so that the pieces' tokens are the text's tokens.
 * The native encoder is a third faster on short strings, and spreads them over its threads.
 */

const pieceLength = 4096;
// GPT-2's pre-tokenizer keeps one space with the letters after it, so a token always starts at such a space.
const boundary = /\S(?= [A-Za-z])/g;

/** Pieces of about 4,096 characters; joined, they are the text. */
export function piecesOf(text: string): string[] {
  const pieces: string[] = [];
  let start = 0;
  while (text.length - start > pieceLength) {
    boundary.lastIndex = start + pieceLength;
    const found = boundary.exec(text);
    if (found === null) break;
    const end = found.index + 1;
    pieces.push(text.slice(start, end));
    start = end;
  }
  pieces.push(text.slice(start));
  return pieces;
}
