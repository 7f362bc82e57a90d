/** Measures a configuration of transformers that a pipeline file gives, before a document is read for it. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { ApplicationFailure } from '@temporalio/activity';
import { FailureType } from '../config/failures.ts';
import { givenConfigSchema, type MeasuredModel } from '../config/recipe.ts';
import { measuredOutcomeSchema, measureRunSchema } from '../config/trainer.ts';
import type { Deps } from './deps.ts';
import { withHeartbeats } from './heartbeats.ts';
import { runTrainerModule } from './python.ts';
import { withWorkDir } from './work-dir.ts';

export function createGivenModelActivities(deps: Deps) {
  return {
    /** `config` is a path from the pipeline file's folder on; throws where its model could not be served. */
    async measureModel(input: { config: string; baseDir: string }): Promise<MeasuredModel> {
      const refuse = (message: string) =>
        ApplicationFailure.nonRetryable(message, FailureType.InvalidConfig);
      const place = path.resolve(input.baseDir, input.config);
      const text = await readFile(place, 'utf8').catch(() => null);
      if (text === null) throw refuse(`model.config ${input.config}: found no file to read there.`);
      const parsed = givenConfigSchema.safeParse(parseJson(text));
      if (!parsed.success) {
        throw refuse(`model.config ${input.config}: expected the JSON object of a config.json.`);
      }
      const config = parsed.data;
      const outcome = await withHeartbeats({ kind: 'measure' }, (say) =>
        withWorkDir(deps, (folder) =>
          runTrainerModule(
            deps,
            'measure',
            measureRunSchema.parse({ schemaVersion: 1, config }),
            folder,
            say,
          ),
        ),
      );
      const { unservable, ...measured } = measuredOutcomeSchema.parse(outcome);
      if (unservable !== null) {
        throw refuse(
          `model.config ${input.config}: ${unservable}, so it could be neither evaluated nor served. ` +
            'Take another architecture, such as llama, qwen3, mistral or gemma.',
        );
      }
      return { config, ...measured };
    },
  };
}
export type GivenModelActivities = ReturnType<typeof createGivenModelActivities>;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
