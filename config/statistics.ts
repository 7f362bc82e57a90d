/** How documents spread over languages, lengths, domains, licences and years: counts, which add up. */
import { z } from 'zod';

const count = z.number().int().nonnegative();
const counts = z.record(z.string(), count);

/** Names that are listed, most frequent first; the others are counted. */
export const mostNames = 100;

const topSchema = z.strictObject({
  top: z.array(z.strictObject({ name: z.string(), numDocuments: count })).max(mostNames),
  numOthers: count.describe('further names'),
  numDocumentsOfOthers: count.describe('documents that have one of these'),
});
export type Top = z.infer<typeof topSchema>;

export const distributionsSchema = z.strictObject({
  languages: counts.describe('documents by language, or by script where that is all that is known'),
  lengths: z
    .array(z.strictObject({ from: count, numDocuments: count }))
    .describe('documents by characters: from this power of two to below the next'),
  domains: topSchema.describe('hosts of the web that documents come from, by their own address'),
  licenses: topSchema.describe('as documents state them; the others have that of their source'),
  dates: z
    .strictObject({ first: z.string(), last: z.string(), years: counts })
    .nullable()
    .describe('of documents whose metadata have a date; null: none has'),
});
export type Distributions = z.infer<typeof distributionsSchema>;

/** The lower ends of all lengths from the least to the most, those without a document too: a gap is part of the shape. */
export function lengthStarts(...lengths: readonly Distributions['lengths'][]): number[] {
  const present = lengths.flat().map(({ from }) => from);
  const starts: number[] = [];
  for (let from = Math.max(1, Math.min(...present)); from <= Math.max(...present); from *= 2)
    starts.push(from);
  return starts;
}
