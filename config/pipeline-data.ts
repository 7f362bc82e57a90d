/** The `data` of a pipeline file: the documents, and what to do with them. */
import { z } from 'zod';
import { qualitySchema } from './cleaning-thresholds.ts';
import { cleaningSchema } from './cleaning.ts';
import { conversationsSchema, longestFromScratch, longestOfAModel } from './conversations.ts';
import { deduplicationSchema } from './deduplication.ts';
import { unitMs } from './durations.ts';
import { languageNames } from './languages.ts';
import { personalDataSchema } from './personal-data.ts';
import { durationMs, share } from './pipeline-values.ts';
import { sourceSchema } from './sources.ts';

const leastKeptMs = unitMs.h;
const mostKeptMs = 3650 * unitMs.d;
const keptExpected = 'expected a duration from 1h to 3650d, such as 30d, or forever';
const datasetPattern = /^[a-z][a-z0-9-]{1,38}[a-z0-9](@[1-9]\d{0,8})?$/;

export const dataSchema = z
  .strictObject({
    sources: z
      .array(sourceSchema)
      .min(1)
      .optional()
      .describe('where the documents are; left out, they are those of a registered dataset'),
    dataset: z
      .string()
      .regex(
        datasetPattern,
        'expected a registered dataset such as policy, or policy@3 for one version',
      )
      .optional()
      .describe(
        'a registered dataset in place of sources: policy, its newest version when a run begins, or policy@3',
      ),
    sample: share
      .pipe(z.number().positive())
      .prefault('100%')
      .describe('share of the documents to take, by a hash of their text: the same ones each time'),
    originals: z
      .strictObject({
        keep: z
          .union([z.literal('forever'), durationMs], { error: keptExpected })
          .refine(
            (kept) => kept === 'forever' || (kept >= leastKeptMs && kept <= mostKeptMs),
            keptExpected,
          )
          .prefault('30d')
          .describe(
            'how long the documents as they were read and the texts that were dropped are kept; then they are deleted',
          ),
        encrypt: z
          .boolean()
          .default(false)
          .describe('encrypt them in the store, with the data key of the workers'),
      })
      .optional()
      .describe(
        'what becomes of the documents as they were read, and of what was dropped; left out, they are kept as they are',
      ),
    personalData: personalDataSchema,
    clean: cleaningSchema,
    languages: z
      .array(
        z
          .string()
          .refine(
            (language) => languageNames.includes(language),
            'expected a language that is told apart, such as en, de, zh-Hant, zh-Hans or ja',
          ),
      )
      .min(1)
      .optional()
      .describe(
        'only documents in these languages, such as [zh-Hant, en]; the others are left out, with the language that was found; left out, all',
      ),
    deduplicate: deduplicationSchema,
    decontaminate: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe(
        'evaluation sets, as paths or globs from this file on: documents that say 13 words of them in a row are left out',
      ),
    conversations: conversationsSchema,
    heldOut: share
      .pipe(z.number().positive().max(0.5))
      .prefault('2%')
      .describe('share of documents never trained on'),
    replay: share
      .pipe(z.number().positive().max(0.9))
      .optional()
      .describe(
        'share of what is read that the model of startFrom was trained on before, such as 25%, the rest being new to it; left out, all documents in random order',
      ),
    quality: qualitySchema
      .default(true)
      .describe(
        'Gopher quality filters, by the script of the text; or their thresholds, such as { minDocWords: 20 }, in a list by languages',
      ),
    maxDropped: share
      .prefault('50%')
      .describe('the run stops when a larger share of what was found is not read or dropped'),
  })
  .describe('the documents, and what to do with them');

export type Data = z.infer<typeof dataSchema>;

/** With a length for each source of conversations that has none: the longest that suits the model. */
export function withLengths({ data, startFrom }: { data: Data; startFrom: string }) {
  const { conversations } = data;
  if (conversations === undefined) return data;
  const longest = startFrom === 'scratch' ? longestFromScratch : longestOfAModel;
  const each = conversations.map((source) => ({ maxTokens: longest, ...source }));
  return { ...data, conversations: each };
}

/** The name of the dataset that a pipeline reads. */
export function datasetNameOf({
  name: own,
  data,
}: {
  name: string;
  data: Pick<Data, 'dataset'>;
}): string {
  return data.dataset?.split('@')[0] ?? own;
}

/** What of it contradicts itself. */
export function dataFaults({
  sources,
  dataset,
  sample,
  originals,
}: Data): { field: string; message: string }[] {
  const fault = (key: string, message: string) => [{ field: `data.${key}`, message }];
  if (sources === undefined && dataset === undefined) {
    return fault(
      'sources',
      'expected where the documents are, or dataset: policy in its place, which is registered',
    );
  }
  if (dataset === undefined) return [];
  if (sources !== undefined) {
    return fault('dataset', 'expected none beside sources, one of the two says what is read');
  }
  if (sample < 1) {
    return fault(
      'sample',
      'expected none with dataset: a version is taken whole; a share is taken of sources',
    );
  }
  if (originals === undefined) return [];
  return fault(
    'originals',
    'expected none with dataset: a version is kept and encrypted as it was registered',
  );
}
