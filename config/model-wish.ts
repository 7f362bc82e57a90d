/** What a model from scratch is like: an architecture whose size is planned, or a configuration that is given. */
import { z } from 'zod';
import { families, type Family } from './recipe.ts';

export const modelWishSchema = z
  .union([
    z.strictObject({
      family: z
        .enum(families)
        .describe('architecture: llama, or that of the Qwen models; the planner chooses the size'),
    }),
    z.strictObject({
      config: z
        .string()
        .min(1)
        .describe(
          'config.json of a causal model of transformers, relative to the pipeline file: its architecture and its size',
        ),
    }),
  ])
  .optional()
  .describe('what a model from scratch is like; left out, a Llama');

export type ModelWish = z.infer<typeof modelWishSchema>;

/** The family that a file asks for; undefined where it gives a configuration, or leaves it to the planner. */
export function familyOf({ model }: { model?: ModelWish }): Family | undefined {
  return model !== undefined && 'family' in model ? model.family : undefined;
}

/** The configuration that a file gives, as a path from its folder on; null where it gives none. */
export function configOf({ model }: { model?: ModelWish }): string | null {
  return model !== undefined && 'config' in model ? model.config : null;
}
