/** How good is good enough: the gates of a pipeline file, by metric. */
import { z } from 'zod';

export const gateMetrics = [
  'valBpb',
  'questions.accuracy',
  'preferences.accuracy',
  'masked.accuracy',
  'masked.loss',
  'retrieval.accuracy',
] as const;
export type GateMetric = (typeof gateMetrics)[number];
const boundSchema = z
  .strictObject({
    min: z.number().optional().describe('at least'),
    max: z.number().optional().describe('at most'),
  })
  .refine(
    (bound) => bound.min !== undefined || bound.max !== undefined,
    'expected min, max or both',
  );

export const evaluateSchema = z
  .strictObject({
    gates: z
      .partialRecord(z.enum(gateMetrics), boundSchema)
      .default({})
      .describe('what a model must reach to be deployed, by metric'),
    onFailure: z
      .strictObject({
        replan: z
          .number()
          .int()
          .min(0)
          .max(5)
          .default(1)
          .describe('how often a run plans and trains again when a gate is missed'),
      })
      .prefault({})
      .describe('what happens when a gate is missed'),
  })
  .prefault({})
  .describe('how good is good enough');
