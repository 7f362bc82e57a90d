/** Every pipeline file that is shipped parses, and plans the phases of its goal. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { readPipelineFile } from '../../client/pipeline-file.ts';
import { planPipeline } from '../../client/plan.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import { plannedTimeMs } from '../../recipes/held-budget.ts';
import { surveyFolder } from '../../corpus/survey.ts';
import { phasesOf } from '../../config/recipe.ts';
import { machine } from '../support/recipes.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
const folder = path.join(projectDir, 'config/pipelines');

test.each(readdirSync(folder))('%s is whole, and plans the phases of its goal', async (name) => {
  const { pipeline, baseDir } = await readPipelineFile(path.join(folder, name));
  // Of a registered version the size stands in a registry: it is planned as a first one.
  const startFrom = pipeline.startFrom.includes('@') ? 'scratch' : pipeline.startFrom;
  const plan = await planPipeline({
    pipeline: { ...pipeline, startFrom },
    baseDir,
    projectDir,
    machine,
    store: null,
    look: surveyFolder,
  });
  const wanted = {
    base: ['pretrain'],
    adapt: ['pretrain'],
    assistant: ['pretrain', 'sft', 'dpo'],
    embeddings: ['pretrain'],
  };
  const phases = phasesOf(plan.recipe);
  expect(phases.map(({ phase }) => phase)).toEqual(pipeline.phases ?? wanted[pipeline.goal]);
  const adapters = pipeline.startFrom === 'smollm2';
  for (const { lora } of phases) expect(lora !== undefined).toBe(adapters);
  expect(plan.recipe.estimate.trainingMs).toBeLessThan(pipeline.budget.time * 1.05);
});

test('there is a file for each combination of phases that people ask for', async () => {
  const files = await Promise.all(
    readdirSync(folder).map((name) => readPipelineFile(path.join(folder, name))),
  );
  const found = files.map(({ pipeline: { startFrom, goal, phases } }) => [
    startFrom,
    phases?.join(' ') ?? goal,
  ]);
  expect(found).toEqual(
    expect.arrayContaining([
      ['scratch', 'assistant'],
      ['scratch', 'pretrain'],
      ['speeches@champion', 'pretrain'],
      ['smollm2', 'adapt'],
      ['smollm2', 'sft'],
      ['smollm2', 'sft orpo'],
      ['smollm2', 'pretrain sft dpo'],
      ['scratch', 'embeddings'],
    ]),
  );
});

test('dollars buy time by the price of the machine, and the plan is for the lesser of the two', () => {
  const sources = [{ path: './docs', license: 'internal' }];
  const resolved = (budget: object) =>
    pipelineSchema.parse({ version: 1, name: 'policy', data: { sources }, budget }).budget;
  const hour = 3_600_000;
  expect(resolved({})).toEqual({ time: 240_000 });
  expect(resolved({ usd: 5, usdPerHour: 2.5 }).time).toBe(2 * hour);
  const both = resolved({ time: '4h', usd: 5, usdPerHour: 2.5, whenSpent: 'go-on' });
  expect([both.time, plannedTimeMs(both)]).toEqual([4 * hour, 2 * hour]);
  expect(plannedTimeMs({ ...both, time: hour })).toBe(hour);
  expect(resolved(both)).toEqual(both);
});

test('GPUs are for pretraining alone, on one host or on several', () => {
  const parse = (compute: object, more: object = {}) =>
    pipelineSchema.safeParse({
      version: 1,
      name: 'policy',
      data: { sources: [{ path: './docs', license: 'internal' }] },
      compute,
      ...more,
    }).error?.issues;
  expect(parse({ device: 'cuda' })).toBeUndefined();
  expect(parse({ device: 'cuda', hosts: 4, parallelism: 'fsdp2' })).toBeUndefined();
  expect(parse({ device: 'cuda' }, { budget: { usd: 5, usdPerHour: 2.5 } })).toBeUndefined();
  expect(parse({ parallelism: 'fsdp2' })).toMatchObject([{ path: ['compute'] }]);
  expect(parse({ device: 'tpu' })).toMatchObject([{ path: ['compute'] }]);
  expect(parse({ device: 'cuda' }, { goal: 'adapt', startFrom: 'smollm2' })).toMatchObject([
    { path: ['compute', 'device'], message: expect.stringContaining('expected none with goal') },
  ]);
});

test('phases that leave pretraining out are refused several hosts, which share nothing else', () => {
  const parse = (phases: string[]) =>
    pipelineSchema.safeParse({
      version: 1,
      name: 'policy',
      data: { sources: [{ path: './docs', license: 'internal' }] },
      questions: [{ name: 'who', ask: ['Who?'], askHeldOut: ['And who?'], answer: '{author}' }],
      startFrom: 'policy@champion',
      phases,
      compute: { hosts: 2 },
    });
  expect(parse(['pretrain', 'sft']).error?.issues).toBeUndefined();
  expect(parse(['sft']).error?.issues).toMatchObject([
    { path: ['compute'], message: expect.stringContaining('phases that leave pretrain out') },
  ]);
});

test('chats share rows only where chats are learnt, by a pass that keeps them apart', () => {
  const faults = (file: object) =>
    pipelineSchema
      .safeParse({
        version: 1,
        name: 'policy',
        data: { sources: [{ path: './docs', license: 'internal' }] },
        packing: true,
        ...file,
      })
      .error?.issues.map(({ path, message }) => [path.join('.'), message]);
  const questions = [{ name: 'who', ask: ['Who?'], askHeldOut: ['And who?'], answer: '{author}' }];
  expect(faults({ questions })).toBeUndefined();
  expect(faults({ questions, phases: ['pretrain', 'sft'] })).toBeUndefined();
  const none = [['packing', expect.stringContaining('where no chats are learnt')]];
  expect(faults({})).toEqual(none);
  expect(faults({ questions, startFrom: 'smollm2', phases: ['orpo'] })).toEqual(none);
  expect(faults({ questions, model: { config: './config.json' } })).toEqual([
    ['packing', expect.stringContaining('false with model.config')],
  ]);
  expect(faults({ packing: false })).toBeUndefined();
});

test('a share of older documents is one of a version that reads on', () => {
  const faults = (file: object, replay: unknown = '25%') =>
    pipelineSchema
      .safeParse({
        version: 1,
        name: 'policy',
        data: { sources: [{ path: './docs', license: 'internal' }], replay },
        startFrom: 'policy@3',
        ...file,
      })
      .error?.issues.map(({ path, message }) => [path.join('.'), message]);
  expect(faults({})).toBeUndefined();
  expect(faults({ startFrom: 'smollm2' })).toEqual([
    ['data.replay', expect.stringContaining('it rehearses text of its own instead')],
  ]);
  const questions = [{ name: 'who', ask: ['Who?'], askHeldOut: ['And who?'], answer: '{author}' }];
  expect(faults({ questions, phases: ['sft'] })).toEqual([
    ['data.replay', expect.stringContaining('phases that leave pretrain out')],
  ]);
  for (const wrong of ['0%', '95%', '25'])
    expect(faults({}, wrong)).toMatchObject([['data.replay', expect.any(String)]]);
});

test('originals are kept as they are unless a file says so, then for 30 days, in plain', () => {
  const parsed = (originals?: unknown) =>
    pipelineSchema.safeParse({
      version: 1,
      name: 'policy',
      data: {
        sources: [{ path: './docs', license: 'internal' }],
        ...(originals !== undefined && { originals }),
      },
    });
  const of = (originals?: unknown) => parsed(originals).data?.data.originals;
  expect(of()).toBeUndefined();
  expect(parsed().data?.data).not.toHaveProperty('originals');
  const day = 86_400_000;
  expect(of({})).toEqual({ keep: 30 * day, encrypt: false });
  expect(of({ keep: '90d', encrypt: true })).toEqual({ keep: 90 * day, encrypt: true });
  expect(of({ keep: 'forever' })).toEqual({ keep: 'forever', encrypt: false });
  // What is resolved parses to itself: a history holds it.
  for (const keep of [30 * day, 'forever'] as const) {
    expect(of({ keep, encrypt: true })).toEqual({ keep, encrypt: true });
  }
  for (const wrong of ['30', '59m', '11y', '4000d', 0, -1, true]) {
    const [issue] = parsed({ keep: wrong }).error!.issues;
    expect(issue).toMatchObject({
      path: ['data', 'originals', 'keep'],
      message: 'expected a duration from 1h to 3650d, such as 30d, or forever',
    });
  }
});
