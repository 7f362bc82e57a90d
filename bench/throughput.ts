/**
 * What the pipeline costs the trainer: tokens a second of pretraining under a workflow, watched and uploaded,
 * against the same trainer started by hand on the same files with no stack running. Alternating pairs.
 */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { readPipelineFile } from '../client/pipeline-file.ts';
import { defineBench, say } from './support/bench.ts';
import { medianRatio, tokensPerSecond, type Pair } from './support/figures.ts';
import { withHome, withStack } from './support/stack.ts';
import {
  prepare,
  settleMs,
  shorten,
  skipSteps,
  trainByHand,
  trainInPipeline,
} from './support/training.ts';

export const throughput = defineBench({
  name: 'throughput',
  summary: 'tokens a second of pretraining in the pipeline against the same trainer by hand',
  settings: z.strictObject({
    pipeline: z
      .string()
      .default('config/pipelines/quickstart.yaml')
      .describe('pipeline file whose corpus and model size are used'),
    pairs: z.int().min(1).max(50).default(7).describe('measurements each way'),
    seconds: z.number().positive().max(600).default(25).describe('planned training time of one'),
    keep: z.boolean().default(false).describe('leave the home folder'),
  }),
  async measure({ pipeline: file, pairs: numPairs, seconds, keep }) {
    const source = await readPipelineFile(file);
    return await withHome('throughput', { keep }, async (home) => {
      say('preparing the corpus, and planning');
      const prepared = await withStack(home, (stack) => prepare(stack, source, home));
      const recipe = shorten(prepared.recipe, seconds);
      const { numParameters, machine } = prepared.recipe;
      say(
        `Llama ${(numParameters / 1e6).toFixed(1)}M, ${recipe.numSteps} steps of ${recipe.batchSize} × ${recipe.contextLength} tokens, a save every ${recipe.saveEverySteps}`,
      );
      const pairs: Pair[] = [];
      for (let index = 0; index < numPairs; index += 1) {
        // Another seed each time: the pipeline would reuse a model that it has trained before.
        const seeded = { ...recipe, seed: recipe.seed + index };
        const pair: Partial<Pair> = {};
        const inPipeline = async () => {
          const events = await withStack(
            home,
            (stack) => trainInPipeline(stack, prepared, seeded, `bench-${index}`),
            prepared.stack,
          );
          pair.ours = tokensPerSecond(events, skipSteps);
        };
        const byHand = async () => {
          await sleep(settleMs);
          const events = await trainByHand(path.join(home, 'by-hand'), prepared, seeded);
          pair.theirs = tokensPerSecond(events, skipSteps);
        };
        // The side that comes first changes, so that neither always has the warmer machine.
        for (const side of index % 2 === 0 ? [inPipeline, byHand] : [byHand, inPipeline]) {
          await side();
        }
        const { ours, theirs } = pair as Pair;
        pairs.push({ ours, theirs });
        say(
          `  pair ${index + 1}: pipeline ${ours.toFixed(0)}, by hand ${theirs.toFixed(0)} tokens a second, ratio ${(ours / theirs).toFixed(3)}`,
        );
      }
      const ratio = medianRatio(pairs);
      return {
        figures: {
          ratio,
          pairs: pairs.map(({ ours, theirs }) => ({
            pipeline: ours,
            byHand: theirs,
            ratio: ours / theirs,
          })),
          model: { numParameters, shape: prepared.recipe.model },
          recipe,
          threads: recipe.threads,
          instructionSet: machine.instructionSet,
        },
        bounds: [{ name: 'median ratio of tokens a second', value: ratio, min: 0.95 }],
      };
    });
  },
});
