/** Pretraining against what others would do: the planned recipe against a published one, and its speed against a bare loop. */
import { z } from 'zod';
import { measureBareLoop } from './bare-loop.ts';
import { measureShakespeare, shakespeareFile } from './shakespeare.ts';
import { defineBench } from './support/bench.ts';

export const train = defineBench({
  name: 'train',
  summary:
    "the planned recipe against nanoGPT's on Tiny Shakespeare; its speed against a bare loop",
  settings: z.strictObject({
    part: z
      .enum(['shakespeare', 'speed'])
      .default('shakespeare')
      .describe('shakespeare: losses and time to them; speed: tokens a second'),
    data: z
      .string()
      .optional()
      .describe(`shakespeare: folder of public data with ${shakespeareFile}`),
    pairs: z.int().min(1).max(20).optional().describe('trainings each way [3; speed: 7]'),
    steps: z
      .int()
      .min(20)
      .optional()
      .describe('of nanoGPT, fewer make no comparison; speed: of both [2000; speed: 30]'),
    seconds: z.number().positive().default(72).describe('time that the planner is given'),
    parameters: z.int().min(100_000).default(12_000_000).describe('speed: at most, of the model'),
    threads: z.int().min(1).default(2).describe('of each side'),
  }),
  async measure({ part, data, pairs, steps, seconds, parameters, threads }) {
    if (part === 'speed') {
      return await measureBareLoop({ pairs: pairs ?? 7, steps: steps ?? 30, parameters, threads });
    }
    if (data === undefined) {
      throw new Error(
        `--data: found nothing, expected a folder with ${shakespeareFile}. Nothing was started.`,
      );
    }
    return await measureShakespeare({
      data,
      pairs: pairs ?? 3,
      steps: steps ?? 2000,
      seconds,
      threads,
    });
  },
});
