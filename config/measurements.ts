/** What was measured of a machine while it trained something: a recorded input of later plans. */
import { z } from 'zod';
import { machineSchema, modelShapeSchema, type PhaseRecipe, type ModelShape } from './recipe.ts';

const positive = z.number().int().positive();

/** What decides the time and the memory of a step. */
const loadSchema = z.strictObject({
  phase: z.string(),
  shape: modelShapeSchema,
  contextLength: positive,
  batchSize: positive,
  precision: z.string(),
  worldSize: positive,
  threads: positive,
  loraRank: positive.nullable().describe('null: all weights are trained'),
  parallelism: z.literal('fsdp2').optional().describe('left out: each rank holds all weights'),
  packing: z.literal(true).optional().describe('chats share rows; left out: one row each'),
});
export type Load = z.infer<typeof loadSchema>;

/** machines/<machine>/<load>.json */
export const measurementSchema = z.strictObject({
  schemaVersion: z.literal(1),
  machine: machineSchema,
  load: loadSchema,
  microBatchSize: positive
    .optional()
    .describe('the most sequences at once that are left after it ran out of memory'),
  calibration: z
    .strictObject({
      numSteps: positive.describe('that were timed'),
      stepMs: z.number().positive().describe('median'),
      tookMs: positive.describe('with the start of the trainer'),
      at: z.iso.datetime(),
    })
    .optional(),
});
export type Measurement = z.infer<typeof measurementSchema>;

/** The load of a phase of a recipe. */
export function loadOf(recipe: PhaseRecipe, shape: ModelShape): Load {
  const { phase, contextLength, batchSize, precision, worldSize, threads, lora } = recipe;
  const loraRank = lora?.rank ?? null;
  const load = { phase, shape, contextLength, batchSize, precision, worldSize, threads, loraRank };
  return {
    ...load,
    ...(recipe.parallelism === 'fsdp2' && { parallelism: 'fsdp2' as const }),
    ...(recipe.phase === 'sft' && recipe.packing === true && { packing: true as const }),
  };
}
