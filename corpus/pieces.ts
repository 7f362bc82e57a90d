/**
 * Cuts a text where a byte-level BPE cuts it anyway, so that the pieces' tokens are the text's tokens.
 * The native encoder is a third faster on short strings, and spreads them over its threads.
 */

import { z } from 'zod';

const pieceLength = 4096;
// GPT-2's pre-tokenizer keeps one space with the letters after it, so a token always starts at such a space.
const boundary = /\S(?= [A-Za-z])/g;

const wordwiseSchema = z.object({
  normalizer: z.null().optional(),
  pre_tokenizer: z.union([
    z.object({
      type: z.literal('ByteLevel'),
      add_prefix_space: z.literal(false),
      use_regex: z.literal(true).default(true),
    }),
    z.object({
      type: z.literal('Sequence'),
      pretokenizers: z
        .array(
          z.union([
            z.object({ type: z.literal('Digits') }),
            z.object({
              type: z.literal('ByteLevel'),
              add_prefix_space: z.literal(false),
              use_regex: z.literal(true).default(true),
            }),
          ]),
        )
        .refine((steps) => steps.some(({ type }) => type === 'ByteLevel')),
    }),
  ]),
});

/** Whether a tokenizer splits words as GPT-2's pattern does, so that pieces have the tokens of the whole text. */
export function cutsWords(tokenizerJson: string): boolean {
  return wordwiseSchema.safeParse(JSON.parse(tokenizerJson)).success;
}

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
