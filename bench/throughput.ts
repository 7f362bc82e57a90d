/**
 * What the pipeline costs the trainer: tokens a second of pretraining under a workflow, watched and uploaded, against
 * the same trainer started by hand on the same files with no stack running, and against a bare PyTorch loop. In turn.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { readPipelineFile } from '../client/pipeline-file.ts';
import { planRecipe } from '../recipes/plan.ts';
import { bareLoop } from './bare-loop.ts';
import { defineBench, say } from './support/bench.ts';
import { medianRatio, tokensPerSecond } from './support/figures.ts';
import { withHome, withStack } from './support/stack.ts';
import {
  prepare,
  settleMs,
  shorten,
  skipSteps,
  trainByHand,
  trainInPipeline,
  type Prepared,
} from './support/training.ts';

/** Tokens a second of the three sides, close in time. */
interface Turn {
  pipeline: number;
  byHand: number;
  bareLoop: number;
}

export const throughput = defineBench({
  name: 'throughput',
  summary:
    'tokens a second of pretraining in the pipeline, of the same trainer by hand, and of a bare loop',
  settings: z.strictObject({
    pipeline: z
      .string()
      .default('config/pipelines/quickstart.yaml')
      .describe('pipeline file whose corpus and model size are used'),
    parameters: z
      .int()
      .min(100_000)
      .optional()
      .describe('of the model, at most [as the pipeline file plans it]'),
    pairs: z.int().min(1).max(50).default(7).describe('measurements of each side'),
    seconds: z.number().positive().max(600).default(25).describe('planned training time of one'),
    keep: z.boolean().default(false).describe('leave the home folder'),
  }),
  async measure({ pipeline: file, parameters, pairs: numPairs, seconds, keep }) {
    const source = await readPipelineFile(file);
    return await withHome('throughput', { keep }, async (home) => {
      say('preparing the corpus, and planning');
      const found = await withStack(home, (stack) => prepare(stack, source, home));
      const prepared = parameters === undefined ? found : ofSize(found, parameters);
      const recipe = shorten(prepared.recipe, seconds);
      const { numParameters, machine, model } = prepared.recipe;
      say(
        `Llama ${(numParameters / 1e6).toFixed(1)}M, ${recipe.numSteps} steps of ${recipe.batchSize} × ${recipe.contextLength} tokens, a save every ${recipe.saveEverySteps}`,
      );
      const loop = path.join(home, 'bare-loop.json');
      const tokens = prepared.data.shards[0]!.path;
      writeFileSync(loop, JSON.stringify({ model, recipe, tokens, skipSteps }));
      const turns: Turn[] = [];
      for (let index = 0; index < numPairs; index += 1) {
        // Another seed each time: the pipeline would reuse a model that it has trained before.
        const seeded = { ...recipe, seed: recipe.seed + index };
        const turn: Partial<Turn> = {};
        const inPipeline = async () => {
          const events = await withStack(
            home,
            (stack) => trainInPipeline(stack, prepared, seeded, `bench-${index}`),
            prepared.stack,
          );
          turn.pipeline = tokensPerSecond(events, skipSteps);
        };
        const byHand = async () => {
          await sleep(settleMs);
          const events = await trainByHand(path.join(home, 'by-hand'), prepared, seeded);
          turn.byHand = tokensPerSecond(events, skipSteps);
        };
        const bare = async () => {
          await sleep(settleMs);
          turn.bareLoop = await bareLoop(loop, recipe.threads);
        };
        // The side that comes first changes, so that none always has the warmer machine.
        const sides = [inPipeline, byHand, bare];
        for (let side = 0; side < sides.length; side += 1) {
          await sides[(side + index) % sides.length]!();
        }
        const measured = turn as Turn;
        turns.push(measured);
        const told = Object.entries(measured).map(([name, speed]) => `${name} ${speed.toFixed(0)}`);
        say(`  turn ${index + 1}: ${told.join(', ')} tokens a second`);
      }
      const against = (peer: 'byHand' | 'bareLoop') =>
        medianRatio(turns.map((turn) => ({ ours: turn.pipeline, theirs: turn[peer] })));
      const [byHand, bare] = [against('byHand'), against('bareLoop')];
      return {
        figures: {
          ratio: { byHand, bareLoop: bare },
          turns,
          model: { numParameters, shape: model },
          recipe,
          threads: recipe.threads,
          instructionSet: machine.instructionSet,
        },
        bounds: [
          { name: 'median ratio to the trainer by hand', value: byHand, min: 0.95 },
          { name: 'median ratio to the bare loop', value: bare, min: 0.95 },
        ],
      };
    });
  },
});

/** The same corpus, planned anew for a model of about this size. */
function ofSize(prepared: Prepared, numParameters: number): Prepared {
  const { statistics, vocabSize, recipe } = prepared;
  const planned = planRecipe({
    statistics,
    goal: 'base',
    budgetMs: 3_600_000,
    machine: recipe.machine,
    seed: recipe.pretrain.seed,
    vocabSize,
    numChats: 0,
    numPreferences: 0,
    limits: { numParameters },
  });
  return { ...prepared, recipe: planned };
}
