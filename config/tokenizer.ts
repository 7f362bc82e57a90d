/** Where the tokenizer of a corpus comes from, as a pipeline file says it. */
import { z } from 'zod';

export const tokenizerKinds = ['bpe', 'unigram'] as const;

export const trainedTokenizerWishSchema = z.strictObject({
  train: z
    .enum(tokenizerKinds)
    .describe(
      'bpe: byte pairs that come together most often are joined; unigram: of many pieces those that explain the text best are kept. Both know every byte',
    ),
  vocabSize: z
    .number()
    .int()
    .min(512)
    .max(262_144)
    .optional()
    .describe('tokens at most; left out, as many as suit the size of the text'),
});
export type TrainedWish = z.infer<typeof trainedTokenizerWishSchema>;

export const tokenizerWishSchema = z
  .union(
    [
      trainedTokenizerWishSchema,
      z.strictObject({
        from: z
          .string()
          .min(1)
          .describe(
            'tokenizer.json of Hugging Face, or the folder that holds it, relative to the pipeline file: byte-level, or SentencePiece’s with byte fallback; the special tokens that it lacks are added behind its own',
          ),
      }),
    ],
    { error: 'expected train: bpe or train: unigram, or from: the path of a tokenizer.json' },
  )
  .optional()
  .describe(
    'what cuts text into tokens; left out, byte-level BPE that is trained on the documents, or the tokenizer of the model in startFrom',
  );
export type TokenizerWish = NonNullable<z.infer<typeof tokenizerWishSchema>>;

/** The tokenizer of a pipeline file that names one, and the folder of that file. */
export interface TokenizerRequest {
  baseDir: string;
  from: string;
}

/** What the thread that looks at it posts. */
export const tokenizerReplySchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('done'),
    vocabSize: z.number().int().positive().describe('with the special tokens that were added'),
  }),
  z.strictObject({ kind: z.literal('failed'), wrongInput: z.boolean(), message: z.string() }),
]);
export type TokenizerReply = z.infer<typeof tokenizerReplySchema>;
