/** Where documents come from, as a pipeline file says it. */
import { z } from 'zod';
import type { MixedSource } from './mixture.ts';

const documents = {
  include: z.string().default('**/*').describe('glob of the files to read, relative to the source'),
  license: z.string().min(1).describe('licence of this text, kept in the lineage of every model'),
  textField: z
    .string()
    .default('text')
    .describe('field of a JSON record that holds the text; the others become metadata'),
  weight: z
    .number()
    .positive('expected a number above 0; to leave a source out, remove it')
    .optional()
    .describe(
      'share of the tokens that training reads, relative to the weights of the other sources, such as 3 beside 1; left out by all, each has the share of its text',
    ),
  repeat: z
    .number()
    .positive('expected a number above 0; to leave a source out, remove it')
    .max(100, 'expected at most 100; what is read so often is learnt by heart')
    .optional()
    .describe(
      'how often its documents are read in an epoch, such as 2 for twice or 0.5 for half of them; with weights, how often at most; left out, once',
    ),
};

export const sourceSchema = z.union([
  z.strictObject({
    path: z.string().min(1).describe('file or folder, relative to the pipeline file'),
    ...documents,
  }),
  z.strictObject({
    package: z.string().min(1).describe('npm package that ships text'),
    ...documents,
  }),
  z.strictObject({
    git: z
      .string()
      .min(1)
      .describe('work tree of a git repository, relative to the pipeline file: its tracked files'),
    ...documents,
  }),
  z.strictObject({
    s3: z
      .string()
      .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/.*)?$/, 'expected bucket/prefix')
      .describe('bucket and prefix: the objects under it, by the credentials of the workers'),
    ...documents,
  }),
  z.strictObject({
    url: z
      .string()
      .regex(
        /^https:\/\/[^\s/@]+(\/\S*)?$/,
        'expected an address such as https://example.org/sitemap.xml',
      )
      .describe(
        'a page, or a sitemap with the pages to read; asked for politely, at public addresses alone',
      ),
    ...documents,
  }),
]);
export type Source = z.infer<typeof sourceSchema>;

/** A source as the pipeline file names it. */
export function sourceName(source: Source): string {
  if ('package' in source) return source.package;
  if ('git' in source) return source.git;
  if ('s3' in source) return `s3://${source.s3}`;
  return 'url' in source ? source.url : source.path;
}

/** What is wished of each source where sources are mixed. */
export function mixedSources(sources: readonly Source[]): MixedSource[] {
  return sources.map((source) => ({
    name: sourceName(source),
    ...(source.weight !== undefined && { weight: source.weight }),
    ...(source.repeat !== undefined && { repeat: source.repeat }),
  }));
}
