/** `npm run schema`: writes config/temper.schema.json from the schema of the pipeline file. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { pipelineJsonSchema } from '../config/json-schema.ts';
import { projectDir } from './layout.ts';

const file = path.join(projectDir, 'config/temper.schema.json');
writeFileSync(file, `${JSON.stringify(pipelineJsonSchema(), null, 2)}\n`);
