/** How much of an epoch each source makes up, as the record of a corpus says it. */
import { z } from 'zod';

const count = z.number().int().nonnegative();

const sizeSchema = z.strictObject({
  numDocuments: count,
  numTokens: count,
  bytes: count.describe('UTF-8 bytes of text'),
});

/** In the record of a corpus, where sources are mixed. */
export const mixtureSchema = z.strictObject({
  sources: z.array(
    z.strictObject({
      source: z.string(),
      weight: z.number().positive().optional().describe('as the pipeline file says it'),
      repeat: z.number().positive().optional().describe('as the pipeline file says it'),
      whole: sizeSchema.describe('to train on, each document once'),
      used: sizeSchema.describe('what of it is read at all, each document once'),
      epoch: sizeSchema.describe('what an epoch reads of it, each document as often as it is read'),
    }),
  ),
});
export type Mixture = z.infer<typeof mixtureSchema>;
