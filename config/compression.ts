/** How well the tokenizer of a corpus packs held-out text of each language, as the record of the corpus says it. */
import { z } from 'zod';

const count = z.number().int().nonnegative();
const spentFields = {
  tokens: count,
  bitsPerToken: z.number().describe('entropy of which token comes, whatever stands before it'),
};

export const compressionSchema = z.strictObject({
  reference: z
    .string()
    .nullable()
    .describe('the base model whose tokenizer it is compared with; null: none was imported yet'),
  languages: z.array(
    z.strictObject({
      language: z.string(),
      numDocuments: count,
      bytes: count,
      characters: count,
      words: count.nullable().describe('null: no spaces part them'),
      ...spentFields,
      reference: z.strictObject(spentFields).optional(),
    }),
  ),
});
export type Compression = z.infer<typeof compressionSchema>;
