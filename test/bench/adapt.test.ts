/** The benchmark of adapting: the laws it writes, the pipeline file beside them, and what it reads of a run. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { writeLaw } from '../../bench/support/corpora.ts';
import { assistantFigures, writeLawAssistant } from '../../bench/support/law-assistant.ts';
import { readPipelineFile } from '../../client/pipeline-file.ts';
import { planPipeline } from '../../client/plan.ts';
import { phasesOf } from '../../config/recipe.ts';
import { surveyFolder } from '../../corpus/survey.ts';
import { machine } from '../support/recipes.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'temper-adapt-bench-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const source = path.join(folder, 'laws.jsonl.gz');
const laws = Array.from({ length: 24 }, (_, number) => ({
  id: `B${number}`,
  title: `Act ${number}`,
  updated: '20210120',
  // The first is too long for anybody's patience.
  text: `Article 1 of act ${number} is as follows.\n`.repeat(number === 0 ? 2000 : 60),
}));
writeFileSync(source, gzipSync(laws.map((law) => JSON.stringify(law)).join('\n')));

test('the assistant is asked about fields of the same laws that the base is adapted to, by a file that plans', async () => {
  const place = path.join(folder, 'assistant');
  const { file, numLaws, bytes } = writeLawAssistant(source, place);
  expect(numLaws).toBe(23);
  expect(bytes).toBe(writeLaw(source, path.join(folder, 'docs')));
  const lines = readFileSync(path.join(place, 'laws.jsonl'), 'utf8').trimEnd().split('\n');
  expect(JSON.parse(lines[0]!)).toMatchObject({
    code: 'B1',
    title: 'Act 1',
    updated: '2021-01-20',
    text: expect.stringMatching(/^Act 1\n\nArticle 1 of act 1 /),
  });
  const { pipeline, baseDir } = await readPipelineFile(file);
  const request = { pipeline, baseDir, projectDir: folder, machine, store: null };
  const { recipe, corpus } = await planPipeline({ ...request, look: surveyFolder });
  expect(phasesOf(recipe).map(({ phase }) => phase)).toEqual(['pretrain', 'sft', 'dpo']);
  expect(phasesOf(recipe).every(({ lora }) => lora !== undefined)).toBe(true);
  expect(corpus.numChats).toBeGreaterThan(0);
});

test('answers and preferences are read of each measurement, and a run without them is refused', () => {
  const evaluation = (value: number) => {
    const metric = { value, stderr: null, count: 36 };
    return { metrics: { 'questions.accuracy': metric, 'preferences.accuracy': metric } };
  };
  const run = {
    state: 'finished',
    stages: [
      { name: 'sft', startedAt: 1000, endedAt: 3500 },
      { name: 'release', startedAt: null, endedAt: null },
    ],
    result: {
      evaluations: [
        { stage: 'evaluate-base', evaluation: evaluation(0) },
        { stage: 'evaluate-tuned', evaluation: evaluation(0.5) },
        { stage: 'evaluate', evaluation: evaluation(0.25) },
      ],
    },
  };
  const { measured, seconds } = assistantFigures(run);
  expect(measured.map(({ answers }) => answers.value)).toEqual([0, 0.5, 0.25]);
  expect(seconds).toEqual({ sft: 2.5 });
  run.result.evaluations.pop();
  expect(() => assistantFigures(run)).toThrow('evaluate: found no answers and preferences');
  expect(() => assistantFigures({ ...run, state: 'failed' })).toThrow('state');
});
