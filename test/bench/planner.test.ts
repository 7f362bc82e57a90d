/** The planner's benchmark: what is searched instead, on which texts, and what it asks for first. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { planner } from '../../bench/planner.ts';
import { conclude, printedPlan, type Outcome } from '../../bench/reality.ts';
import { parseSettings } from '../../bench/support/bench.ts';
import { partsOf, requireSources, writeCorpus } from '../../bench/support/corpora.ts';
import { searchGrid } from '../../bench/support/search-grid.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import { pretrainRecipeSchema, type Machine } from '../../config/recipe.ts';
import { planRecipe } from '../../recipes/plan.ts';
import { pretrainingStepMs } from '../../recipes/pretraining.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'temper-planner-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const machine: Machine = {
  device: 'cpu',
  cores: 2,
  memoryBytes: 24e9,
  instructionSet: 'avx512_bf16',
};
const { pretrain } = planRecipe({
  statistics: { numTokens: 4_000_000, bytes: 17_000_000 },
  goal: 'base',
  budgetMs: 25_000,
  machine,
  seed: 1,
  vocabSize: 4096,
  numChats: 0,
  numPreferences: 0,
});

test('sixteen recipes are searched, no two alike, all of them for the same computing time', () => {
  const computeMs = 18_000;
  const grid = searchGrid({ machine, vocabSize: 4096, like: pretrain, computeMs });
  expect(grid).toHaveLength(16);
  expect(new Set(grid.map(({ name }) => name)).size).toBe(16);
  for (const { shape, recipe } of grid) {
    expect(pretrainRecipeSchema.parse(recipe)).toEqual(recipe);
    const stepMs = pretrainingStepMs(machine, shape, recipe);
    expect(recipe.numSteps * stepMs).toBeLessThanOrEqual(computeMs);
    expect((recipe.numSteps + 1) * stepMs).toBeGreaterThan(computeMs);
    expect(recipe.warmupSteps + recipe.decaySteps).toBeLessThanOrEqual(recipe.numSteps);
  }
});

test('a novel is parted between paragraphs, and nothing of it is lost', () => {
  const paragraph = `${'word '.repeat(2000)}\n`;
  const text = `${paragraph.repeat(9)}The end.`;
  const parts = partsOf(text);
  expect(parts.join('')).toBe(text);
  expect(parts).toHaveLength(3);
  expect(parts.slice(0, -1).every((part) => part.endsWith('\n'))).toBe(true);
});

test('the documents of a corpus are the same each time', async () => {
  await mkdir(path.join(folder, 'pretrain/novels'), { recursive: true });
  writeFileSync(path.join(folder, 'pretrain/novels/Nobody_Tale_1850.txt'), 'Once.\n\nTwice.\n');
  const data = requireSources(folder, ['novels']);
  const documents = ['first', 'second'].map((name) => {
    const written = path.join(folder, name);
    writeCorpus('novels', data, written);
    return readdirSync(written).map((file) => [
      file,
      readFileSync(path.join(written, file), 'utf8'),
    ]);
  });
  expect(documents[0]).toEqual([['Nobody_Tale_1850-000.txt', 'Once.\n\nTwice.\n']]);
  expect(documents[1]).toEqual(documents[0]);
});

test('a folder without the texts, a run or a corpus that is not known are refused before anything starts', () => {
  expect(() => requireSources(folder, ['dialogue'])).toThrow(
    '--data: found no dpo/hh_harmless_a.jsonl.gz',
  );
  expect(() => requireSources(undefined, ['novels'])).toThrow('Nothing was started');
  expect(() => parseSettings(planner, ['--runs', 'novel'])).toThrow('expected some of small, ');
  expect(parseSettings(planner, ['--corpora', 'novels'])).toMatchObject({
    part: 'reality',
    corpora: 'novels',
  });
});

test('a run is held to the time that was printed before it, not to that of its own later plan', async () => {
  const documents = path.join(folder, 'printed');
  await mkdir(documents);
  for (let number = 0; number < 20; number += 1) {
    const line = `Of whale ${number} nothing is known but its number.\n`;
    writeFileSync(path.join(documents, `${number}.txt`), line.repeat(200));
  }
  const pipeline = pipelineSchema.parse({
    version: 1,
    name: 'whales',
    data: { sources: [{ path: documents, license: 'public' }], heldOut: 0.1 },
    phases: ['pretrain'],
    budget: { time: '40s' },
  });
  const printed = await printedPlan({ pipeline, baseDir: folder, machine, store: null });
  expect(printed.seconds).toBeGreaterThan(1);
  expect(printed.seconds).toBeLessThan(42);

  const measured = { seconds: 1.4 * printed.seconds, bitsPerByte: 1.7 };
  const outcome: Outcome = {
    name: 'small',
    numParameters: 1e6,
    numSteps: 100,
    epochs: 2,
    printed,
    planned: measured,
    calibrated: null,
    measured,
    parts: { start: 1, steps: 1, scoring: 1, writing: 1, storing: 1, medianStepMs: 1 },
  };
  const { figures, bounds } = conclude([outcome, { ...outcome, printed: measured }]);
  expect(bounds[0]).toMatchObject({ name: 'time, furthest from the first printed plan', max: 0.3 });
  expect(bounds[0]!.value).toBeCloseTo(0.4);
  expect(figures['furthestFromOwnPlan']).toBe(0);
});
