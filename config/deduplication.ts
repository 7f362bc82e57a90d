/** How duplicates of a corpus are found, as a pipeline file says it: by MinHash with bands of its own, or exact ones alone. */
import { z } from 'zod';
import { share } from './pipeline-values.ts';

/** Bands of a signature, hashes of a band, and the similarity from which on documents that share a band are duplicates. */
export interface Near {
  bands: number;
  rows: number;
  similarity: number;
}

/** FineWeb's (Penedo et al. 2024). */
export const usualNear: Near = { bands: 14, rows: 8, similarity: 0.75 };
/** No signatures: only the same texts are duplicates. */
const exactOnly: Near = { bands: 0, rows: 0, similarity: 1 };

/** Bands that are told apart, of a signature; a bound of what is held in memory of a document, as is that of its hashes. */
export const mostBands = 32;
const mostHashes = 256;

const count = (most: number) => z.number().int().min(1).max(most);

export const deduplicationSchema = z
  .strictObject({
    near: z
      .union(
        [
          z.literal(false),
          z
            .strictObject({
              bands: count(mostBands)
                .default(usualNear.bands)
                .describe('bands of a signature; documents that share one are compared'),
              rows: count(mostHashes)
                .default(usualNear.rows)
                .describe(
                  'hashes of a band; half of the pairs of similarity (1 - 0.5^(1/bands))^(1/rows) share a band',
                ),
              similarity: share
                .pipe(z.number().min(0.1))
                .prefault(usualNear.similarity)
                .describe(
                  'share of their five-grams that documents have in common, as their hashes estimate it, from which on they are duplicates',
                ),
            })
            .refine(({ bands, rows }) => bands * rows <= mostHashes, {
              error: ({ input }) => {
                const { bands, rows } = input as Near;
                return `expected at most ${mostHashes} hashes a document; ${bands} bands of ${rows} rows are ${bands * rows}`;
              },
            }),
        ],
        {
          error:
            'expected false, or how near duplicates are found, such as { bands: 14, rows: 8, similarity: 75% }',
        },
      )
      .optional()
      .describe(
        'near duplicates: false keeps them, and leaves out only what is exactly the same; left out, 14 bands of 8 rows and 75%',
      ),
  })
  .optional()
  .describe('how duplicates are found; left out, exact ones and near ones as usual');
export type Deduplication = z.infer<typeof deduplicationSchema>;

/** What is compared of documents. */
export function nearOf(deduplicate: Deduplication): Near {
  const near = deduplicate?.near;
  return near === false ? exactOnly : (near ?? usualNear);
}
