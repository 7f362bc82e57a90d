/** The JSON Schema of the pipeline file, which editors complete and check it with. `npm run schema` writes it. */
import { z } from 'zod';
import { pipelineFileSchema } from './pipeline.ts';

/** Draft 7, which every editor's YAML support knows whole. */
export function pipelineJsonSchema(): Record<string, unknown> {
  const { $schema, ...schema } = z.toJSONSchema(pipelineFileSchema, {
    io: 'input',
    target: 'draft-7',
  });
  return {
    $schema,
    title: 'Temper pipeline file',
    description: 'What to make a model of, and how: text in, an own language model out.',
    ...schema,
  };
}
