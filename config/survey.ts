/** What a look at a folder finds: how much text of which kind, in which languages, and what will not be read. */
import { z } from 'zod';
import type { Data } from './pipeline-data.ts';

const count = z.number().int().nonnegative();

export const foreseenDropsSchema = z.strictObject({
  numDocuments: count.describe('that a run would take'),
  numDistinct: count.describe('different texts among these'),
  numJudged: count.describe(
    'different texts that were cleaned and compared to foresee: all, or a share by a hash',
  ),
  dropped: z.record(z.string(), count).describe('of these texts, left out, by reason'),
  repeated: z
    .record(z.string(), count)
    .describe('documents whose whole text came before, each of which is left out, by reason'),
});
export type ForeseenDrops = z.infer<typeof foreseenDropsSchema>;

export const surveySchema = z.strictObject({
  numFiles: count.describe('of every kind, hidden ones apart'),
  bytes: count.describe('of all these files'),
  formats: z
    .array(
      z.strictObject({
        format: z.string().describe('as the ending says it: md, jsonl.gz, pdf'),
        numFiles: count.describe('with at least one document in them'),
        numDocuments: count,
        textBytes: count,
      }),
    )
    .describe('what is read, most text first'),
  endings: z.array(z.string()).describe('of the files that are read, as they are spelt'),
  numDocuments: count,
  textBytes: count.describe('UTF-8 bytes of text'),
  languages: z
    .array(z.strictObject({ language: z.string(), numDocuments: count, textBytes: count }))
    .describe('by the main language of each document, most text first'),
  notRead: z
    .array(
      z.strictObject({
        reason: z.string().describe('as ingest records it'),
        kind: z.enum(['image', 'office', 'other']).nullable(),
        count: count.describe('files, or records of files that are read otherwise'),
        detail: z.string().describe('of the first one'),
        examples: z.array(z.string()).describe('the first names'),
      }),
    )
    .describe('what ingest will leave out, most first'),
  hidden: count.describe('files and folders whose names start with a dot, which are left alone'),
  textField: z.string().describe('field of records that holds their text'),
  fields: z
    .array(
      z.strictObject({
        field: z.string(),
        numDocuments: count,
        numValues: count.describe('different ones'),
        meanLength: z.number().nonnegative().describe('characters of a value, on average'),
        words: z.boolean().describe('some value is a text with a letter in it'),
        example: z.string(),
      }),
    )
    .describe('metadata beside the text, by name'),
  foreseen: foreseenDropsSchema.optional().describe('where it was asked for'),
  numAnswering: z
    .array(count)
    .optional()
    .describe('documents that have every field of a list, for each list that was asked for'),
});
export type Survey = z.infer<typeof surveySchema>;
export type SurveyedField = Survey['fields'][number];

/** What the thread that looks posts. */
export const surveyReplySchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('progress'), done: count, total: count }),
  z.strictObject({ kind: z.literal('done'), survey: surveySchema }),
  z.strictObject({
    kind: z.literal('failed'),
    wrongInput: z.boolean(),
    message: z.string(),
  }),
]);
export type SurveyReply = z.infer<typeof surveyReplySchema>;

/** What the thread that looks is asked. */
export interface SurveyRequest {
  /** Or one file. */
  folder: string;
  /** The folder is the work tree of a git repository: its tracked files alone are looked at. */
  git?: true;
  /** What a run calls it, so that of a sample the same documents are taken; left out, the folder. */
  name?: string;
  /** Glob of the files to look at. */
  include: string;
  /** Field of JSON records that holds their text; left out: `text`, or one that looks like it. */
  textField?: string;
  /** Cleans and compares the documents too, to foresee what a run would leave out. */
  judge?: JudgeOptions;
  /** Lists of fields, to count the documents that have all of one. */
  fields?: string[][];
}

/** What a run would clean by; evaluation sets apart. */
export type JudgeOptions = Pick<
  Data,
  'sample' | 'personalData' | 'quality' | 'clean' | 'languages' | 'deduplicate'
>;
