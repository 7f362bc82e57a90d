/** What the weights of a pipeline start from: nothing, a registered model, or a base model made elsewhere. */
import { z } from 'zod';
import { knownBases } from './base-models.ts';

const baseNames = Object.keys(knownBases).join('|');
const startPattern = new RegExp(
  String.raw`^(scratch|${baseNames}|[a-z][a-z0-9-]{1,38}[a-z0-9]@(champion|[1-9]\d{0,8})|\.{0,2}/.*)$`,
);

export const startFromSchema = z
  .string()
  .regex(
    startPattern,
    `expected scratch, a registered model such as policy@3 or policy@champion, a base model (${Object.keys(knownBases).join(', ')}), or the path of one: ./model.gguf or ./folder`,
  )
  .default('scratch')
  .describe(
    'what the weights start from; scratch: random ones; policy@3 or policy@champion: go on pretraining that model, with its tokenizer and its size; smollm2, ./model.gguf or ./folder: adapt that base model',
  );

/** Whether a `startFrom` means a model that was made elsewhere: a known one, or the path of one. */
export function isBase(startFrom: string): boolean {
  return startFrom in knownBases || /^\.{0,2}\//.test(startFrom);
}
