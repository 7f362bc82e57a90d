/** Files of conversations and preferences: what a pipeline file says of them, and what comes of them. */
import { z } from 'zod';
import { blobRefSchema } from './digest.ts';
import type { PersonalDataOption } from './personal-data.ts';

const count = z.number().int().nonnegative();

export const conversationsSchema = z
  .array(
    z.strictObject({
      path: z
        .string()
        .min(1)
        .describe('.json, .jsonl or .jsonl.gz, or a glob of such files, from the pipeline file on'),
      license: z.string().min(1).describe('licence of these conversations'),
      maxTokens: z
        .number()
        .int()
        .min(32)
        .max(131_072)
        .optional()
        .describe(
          'longer conversations are left out, estimated from their letters; left out, 128 from scratch, whose rows are that long, else 1024',
        ),
    }),
  )
  .min(1)
  .optional()
  .describe(
    'instruction and preference data beside questions: Alpaca, ShareGPT, OpenAI messages, tool calls, HH transcripts, chosen and rejected, KTO; told apart record by record',
  );
/** Tokens of the longest conversation that is kept, where a file does not say it. */
export const longestFromScratch = 128;
export const longestOfAModel = 1024;
export type ConversationSource = NonNullable<z.infer<typeof conversationsSchema>>[number];

/** What was read of the files: lines in one canonical form, and the counts. */
export const conversationsReadSchema = z.strictObject({
  train: blobRefSchema.describe('chat lines {messages: [...]}'),
  preferences: blobRefSchema.describe('lines {prompt, chosen, rejected}'),
  preferencesHeldOut: blobRefSchema.describe('lines {question, chosen, rejected}, not trained on'),
  numTrain: count,
  numPreferences: count,
  numPreferencesHeldOut: count,
  numRecords: count.describe('read'),
  dropped: z.record(z.string(), count).describe('records left out, by reason'),
  redacted: z.record(z.string(), count).describe('personal data replaced, by kind'),
  licenses: z.array(z.string()),
});
export type ConversationsRead = z.infer<typeof conversationsReadSchema>;

/** What the thread that looks at the files of a pipeline file is asked. */
export interface ConversationsRequest {
  baseDir: string;
  sources: ConversationSource[];
  personalData: PersonalDataOption;
  heldOut: number;
  seed: number;
}

/** What it posts. */
export const conversationsReplySchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('done') }),
  z.strictObject({ kind: z.literal('failed'), wrongInput: z.boolean(), message: z.string() }),
]);
export type ConversationsReply = z.infer<typeof conversationsReplySchema>;
