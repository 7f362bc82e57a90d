/** How hard a text is to foretell, as the record of a corpus says it: what an n-gram model learns of it, by how much it reads. */
import { z } from 'zod';

const count = z.number().int().positive();

export const learningCurveSchema = z.strictObject({
  order: count.describe('tokens that the n-gram model looks at, the foretold one included'),
  numHeldOut: count.describe('held-out tokens that it was measured on'),
  points: z
    .array(
      z.strictObject({
        numTokens: count.describe('of the training text, read once'),
        bitsPerByte: z.number().positive().describe('of the held-out text, after that'),
      }),
    )
    .min(1)
    .describe('fewest tokens first'),
});
export type LearningCurve = z.infer<typeof learningCurveSchema>;
