/** A search for the learning rate: what a pipeline file asks for, what the plan says of it, and what was decided on the way. */
import { z } from 'zod';

const count = z.number().int().nonnegative();
const positive = z.number().int().positive();

/** In a pipeline file. */
export const sweepWishSchema = z
  .strictObject({
    learningRate: z
      .array(z.number().min(0.01).max(100).describe('multiple of the planned rate'))
      .min(2)
      .max(32)
      .refine(
        (values) => new Set(values).size === values.length,
        'expected multiples of which none comes twice',
      )
      .describe('learning rates to try, as multiples of the planned one, such as [0.5, 1, 2, 4]'),
    halving: z
      .number()
      .int()
      .min(2)
      .max(32)
      .default(2)
      .describe('of so many trials one goes on after each rung; 2: the better half'),
    phase: z
      .literal('pretrain')
      .default('pretrain')
      .describe('the phase whose rate is searched: the one that measures held-out text on its way'),
  })
  .optional()
  .describe(
    'tries several learning rates within the budget and goes on with the best; left out, the planned one alone',
  );

/** Of one trial, named by its place in the list: the same recipe at another rate. */
const sweepTrialSchema = z.strictObject({
  multiple: z.number().positive().describe('of the planned rate'),
  learningRate: z.number().positive(),
  adamLearningRate: z.number().positive(),
});

/** In a recipe: which rates pretraining tries, and when the worse of them end. */
export const sweepPlanSchema = z.strictObject({
  trials: z.array(sweepTrialSchema).min(2),
  rungs: z
    .array(
      z.strictObject({
        step: positive.describe('to which every trial trains that is left'),
        goOn: positive.describe('how many of them go on'),
      }),
    )
    .min(1)
    .describe('the last leaves one, which trains to the end'),
});
export type SweepPlan = z.infer<typeof sweepPlanSchema>;

/** What came of the trials of a rung, and which of them go on. */
export const rungOutcomeSchema = z.strictObject({
  step: positive,
  trials: z.array(
    z.strictObject({
      trial: count,
      multiple: z.number().positive(),
      learningRate: z.number().positive(),
      loss: z.number().nullable().describe('nats a token of held-out text; null: it diverged'),
      valBpb: z.number().nullable(),
      failure: z.string().optional().describe('why it has no loss'),
    }),
  ),
  goesOn: z.array(count).describe('trials, the best first'),
});
export type RungOutcome = z.infer<typeof rungOutcomeSchema>;

/** As `decisions.json` keeps it. */
export const sweepDecisionSchema = z.strictObject({
  phase: z.string(),
  round: count,
  rung: count.describe('0, then one more for each'),
  ...rungOutcomeSchema.shape,
  at: z.iso.datetime(),
});
export type SweepDecision = z.infer<typeof sweepDecisionSchema>;

/** runs/<run>/decisions.json: what was decided while it ran and stands in no other record. */
export const decisionsSchema = z.looseObject({
  schemaVersion: z.literal(1),
  sweep: z.array(sweepDecisionSchema).optional(),
});
export type Decisions = z.infer<typeof decisionsSchema>;

/** The trial that stands for a phase: the best of the last rung; 0 where nothing was tried or decided. */
export function bestTrial(
  decisions: readonly Pick<SweepDecision, 'phase' | 'round' | 'goesOn'>[],
  { phase, round }: { phase: string; round: number },
): number {
  const own = decisions.filter((one) => one.phase === phase && one.round === round);
  return own.at(-1)?.goesOn[0] ?? 0;
}
