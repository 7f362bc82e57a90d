/** Every pipeline file that is shipped parses, and plans the phases of its goal. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { readPipelineFile } from '../../client/pipeline-file.ts';
import { planPipeline } from '../../client/plan.ts';
import { surveyFolder } from '../../corpus/survey.ts';
import { machine } from '../support/recipes.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
const folder = path.join(projectDir, 'config/pipelines');

test.each(readdirSync(folder))('%s is whole, and plans the phases of its goal', async (name) => {
  const { pipeline, baseDir } = await readPipelineFile(path.join(folder, name));
  const plan = await planPipeline({
    pipeline,
    baseDir,
    projectDir,
    machine,
    store: null,
    look: surveyFolder,
  });
  const { pretrain, sft, dpo } = plan.recipe;
  const tuned = pipeline.goal === 'assistant';
  expect([sft !== null, dpo !== null]).toEqual([tuned, tuned]);
  const adapters = pipeline.startFrom === 'smollm2';
  for (const phase of [pretrain, sft, dpo])
    if (phase !== null) expect(phase.lora !== undefined).toBe(adapters);
  expect(plan.recipe.estimate.trainingMs).toBeLessThan(pipeline.budget.time * 1.05);
});

test('there is a file for a model from scratch, one that adapts and one that makes an assistant of a base', () => {
  expect(readdirSync(folder)).toEqual(
    expect.arrayContaining(['quickstart.yaml', 'adapt-smollm2.yaml', 'assistant-smollm2.yaml']),
  );
});
