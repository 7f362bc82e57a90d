/**
 * The pipeline file: what an operator writes. Parsing resolves every default and unit, so that what
 * is stored in a run's history is the whole configuration. What a key may hold stands in the file of that key.
 */
import { z } from 'zod';
import { budgetSchema, defaultTimeMs } from './budget.ts';
import { computeSchema } from './compute.ts';
import { evaluateSchema } from './gates.ts';
import { defaultGoal, goalSchema, preferSchema } from './goal.ts';
import { modelWishSchema } from './model-wish.ts';
import { dataSchema, withLengths } from './pipeline-data.ts';
import { pipelineFaults } from './pipeline-faults.ts';
import { name } from './pipeline-values.ts';
import { questionsSchema } from './questions.ts';
import { phaseNames } from './recipe.ts';
import { startFromSchema } from './start-from.ts';
import { sweepWishSchema } from './sweep.ts';
import { tokenizerWishSchema } from './tokenizer.ts';

/** The keys of a pipeline file. */
export const pipelineFileSchema = z.strictObject({
  version: z.literal(1).describe('of this format'),
  name: name.describe('name of the dataset and of the model'),
  data: dataSchema,
  startFrom: startFromSchema,
  tokenizer: tokenizerWishSchema,
  model: modelWishSchema,
  goal: goalSchema,
  prefer: preferSchema,
  phases: z
    .array(z.enum(phaseNames))
    .min(1)
    .optional()
    .describe(
      'exactly these phases, in this order: pretrain reads the documents, sft learns to answer, dpo or orpo to prefer the right answer; left out, those of the goal: pretrain for base and adapt, pretrain, sft, dpo for assistant',
    ),
  questions: z
    .array(questionsSchema)
    .default([])
    .describe('instruction data made from the metadata of the documents'),
  packing: z
    .boolean()
    .optional()
    .describe(
      'several chats in a row while SFT learns from them, each seeing itself alone: the same loss for less padding; left out, where it saves a fifth and more of the time of tuning a model that exists',
    ),
  budget: budgetSchema,
  sweep: sweepWishSchema,
  compute: computeSchema,
  seed: z
    .number()
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(1789)
    .describe('chooses the random numbers: the same seed gives the same bits'),
  evaluate: evaluateSchema,
  deploy: z
    .strictObject({
      endpoint: name.describe('name of the endpoint that serves the model'),
      approval: z
        .enum(['none', 'required'])
        .default('none')
        .describe('required: a version that passed its gates waits until a person approves it'),
    })
    .optional()
    .describe('without it, the model is registered but not served'),
});

/** A pipeline with every default resolved; what is resolved already parses to itself. */
export const pipelineSchema = pipelineFileSchema
  .transform(({ goal, budget, ...rest }) => ({
    ...rest,
    data: withLengths(rest),
    budget: { ...budget, time: budget.time ?? defaultTimeMs(budget) },
    goal: goal ?? defaultGoal(rest),
  }))
  .superRefine((file, context) => {
    for (const fault of pipelineFaults(file)) context.addIssue({ code: 'custom', ...fault });
  });

export type Pipeline = z.infer<typeof pipelineSchema>;
export type PipelineFile = z.input<typeof pipelineSchema>;
