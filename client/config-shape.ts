/** The shape of a model by the config.json of transformers. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { maxBaseContext } from '../config/base-models.ts';
import { families, type PlainShape } from '../config/recipe.ts';

/** Null where the folder has no configuration of a family that is known here. */
export async function readFolderShape(folder: string): Promise<PlainShape | null> {
  return (
    causalConfigSchema.safeParse(await readJson(path.join(folder, 'config.json'))).data ?? null
  );
}

/** What stands in a JSON file; null where it cannot be read. */
export async function readJson(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch {
    return null;
  }
}

const size = z.number().int().positive();
/** What of a transformers configuration makes the shape; older and newer ones say it in different ways. */
const causalConfigSchema = z
  .object({
    model_type: z.enum(families),
    vocab_size: size,
    hidden_size: size,
    intermediate_size: size,
    num_hidden_layers: size,
    num_attention_heads: size,
    num_key_value_heads: size.nullish(),
    max_position_embeddings: size,
    head_dim: size.multipleOf(16).nullish(),
    rope_theta: z.number().positive().nullish(),
    rope_parameters: z.looseObject({ rope_theta: z.number().positive().nullish() }).nullish(),
    tie_word_embeddings: z.boolean().nullish(),
  })
  .transform((config): PlainShape => ({
    family: config.model_type,
    vocabSize: config.vocab_size,
    hiddenSize: config.hidden_size,
    intermediateSize: config.intermediate_size,
    numLayers: config.num_hidden_layers,
    numHeads: config.num_attention_heads,
    numKvHeads: config.num_key_value_heads ?? config.num_attention_heads,
    contextLength: Math.min(config.max_position_embeddings, maxBaseContext),
    ropeTheta: config.rope_theta ?? config.rope_parameters?.rope_theta ?? 10_000,
    tieEmbeddings: config.tie_word_embeddings ?? false,
    ...(config.head_dim != null &&
      config.head_dim * config.num_attention_heads !== config.hidden_size && {
        headDim: config.head_dim,
      }),
  }));
