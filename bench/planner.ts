/** The planner held against reality, and against a search that asks nobody. */
import { z } from 'zod';
import { measureReality, realRuns, type RealRunName } from './reality.ts';
import { measureSearch } from './search.ts';
import { defineBench } from './support/bench.ts';
import type { CorpusName } from './support/corpora.ts';

/** Unlike in language and form. */
const searched = ['novels', 'law-zh', 'dialogue'] as const satisfies readonly CorpusName[];

/** Names that commas part, each one of those that are known. */
function namesOf<Name extends string>(known: readonly Name[]) {
  return z
    .string()
    .default(known.join(','))
    .refine(
      (text) => text.split(',').every((name) => (known as readonly string[]).includes(name)),
      `expected some of ${known.join(', ')}, with commas between`,
    );
}

export const planner = defineBench({
  name: 'planner',
  summary: 'plans against real runs, and planned recipes against the best of sixteen searched',
  settings: z.strictObject({
    part: z
      .enum(['reality', 'search'])
      .default('reality')
      .describe('reality: time and loss of runs; search: the loss of other recipes'),
    data: z.string().optional().describe('folder of public data'),
    runs: namesOf(Object.keys(realRuns) as RealRunName[]).describe('reality: which'),
    corpora: namesOf(searched).describe('search: which'),
    seconds: z
      .number()
      .min(15)
      .default(25)
      .describe('search: training time of a recipe, by the recorded speed of two cores'),
    threads: z.int().min(1).default(1).describe('search: of each training'),
    most: z.int().min(0).default(1000).describe('search: trainings to do now'),
    kept: z
      .string()
      .optional()
      .describe('search: folder in which finished trainings are kept, and found again'),
    keep: z.boolean().default(false).describe('reality: leave the home folder'),
  }),
  async measure({ part, data, runs, corpora: names, seconds, threads, most, kept, keep }) {
    if (part === 'reality') {
      return await measureReality({ data, runs: runs.split(',') as RealRunName[], keep });
    }
    return await measureSearch({
      data,
      corpora: names.split(',') as CorpusName[],
      seconds,
      threads,
      most,
      kept,
    });
  },
});
