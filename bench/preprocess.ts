/**
 * Preparing a corpus. Against datatrove: the same text, filters, MinHash parameters, tokenizer and cores, what
 * both keep compared document by document. Then encoding alone, two workers against one, memory and time by
 * size, by the number of documents, and near duplicates against labelled pairs.
 */
import { z } from 'zod';
import { againstDatatrove } from './support/against-datatrove.ts';
import { defineBench } from './support/bench.ts';
import { encodingAlone } from './support/encoding-alone.ts';
import { byDocuments } from './support/join-at-scale.ts';
import { labelledPairs } from './support/labelled-pairs.ts';
import { bySize, byWorkers } from './support/preprocess-scale.ts';
import { withHome } from './support/stack.ts';

const parts = {
  datatrove: againstDatatrove,
  encoding: encodingAlone,
  workers: byWorkers,
  size: bySize,
  join: byDocuments,
  pairs: labelledPairs,
} as const;

export const preprocess = defineBench({
  name: 'preprocess',
  summary:
    'a corpus from text: filtered, deduplicated and tokenized, against datatrove; and its parts',
  settings: z.strictObject({
    data: z.string().describe('folder of public data with pretrain/, tokenizer/ and dedup/'),
    part: z
      .enum(Object.keys(parts) as [keyof typeof parts])
      .default('datatrove')
      .describe(`what to measure: ${Object.keys(parts).join(', ')}`),
    megabytes: z
      .number()
      .positive()
      .default(60)
      .describe(
        'text of the corpus; with --part size of the largest of three, with join of 400 bytes a document',
      ),
    seed: z.int().min(0).default(1).describe('of the corpus'),
    keep: z.boolean().default(false).describe('leave the home folder'),
  }),
  async measure({ part, keep, ...settings }) {
    return await withHome('preprocess', { keep }, async (home) => parts[part](home, settings));
  },
});
