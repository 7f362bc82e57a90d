/** Two runs side by side: at equal amounts of text, whatever their batches; and the command on a real registry. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compareRuns } from '../../client/compare-runs.ts';
import { digestLine } from '../../client/cli/compare.ts';
import type { RunReport } from '../../client/report/run-report.ts';
import { painter } from '../../client/cli/text.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import { putRunRecord } from '../../registry/runs.ts';
import { runCommand } from '../support/command.ts';
import { digestOf } from '../support/records.ts';
import { machine, recipe } from '../support/recipes.ts';
import { startS3, type TestS3 } from '../support/s3.ts';
import { sampleReport } from './report/sample-report.ts';

const paint = painter(false);
const { plan } = sampleReport();
/** The loss of step n is 10 - n / 100, so that a figure tells where it was read. */
const points = (numSteps: number) =>
  Array.from({ length: numSteps }, (_, index) => ({
    step: index + 1,
    loss: 10 - (index + 1) / 100,
    learningRate: 0.01,
    tokensPerSecond: 1000 + index,
  }));

function runOf(run: string, batchSize: number, numSteps: number, weights: string): RunReport {
  const pretrain = { ...recipe.pretrain, batchSize, contextLength: 10, numSteps };
  const [phase] = sampleReport().phases;
  return sampleReport({
    run,
    plan: { ...plan!, recipe: { ...recipe, pretrain } },
    phases: [{ ...phase!, points: points(numSteps), numSteps }],
    repeat: {
      ...sampleReport().repeat,
      compare: [
        { what: 'dataset', digest: digestOf('d') },
        { what: 'weights of pretrain', digest: digestOf(weights) },
      ],
    },
  });
}

const valueOf = (rows: ReturnType<typeof compareRuns>['rows'], field: string) => {
  const row = rows.find((one) => one.field === field);
  return row && [row.a, row.b];
};

describe('two runs of different batches', () => {
  const { rows, digests } = compareRuns(runOf('one', 10, 100, 'a'), runOf('two', 20, 200, 'c'));

  test('are compared where both had seen as much, up to the end of the shorter', () => {
    const losses = rows
      .filter(({ part, field }) => part === 'loss' && field.includes(' at '))
      .slice(0, 5);
    expect(losses.map(({ field }) => field)).toEqual(
      ['1,000', '2,500', '5,000', '7,500', '10,000'].map((at) => `pretrain at ${at} tokens`),
    );
    // 10,000 tokens are step 100 of one and step 50 of the other; the mean is over the last 500 tokens.
    expect(valueOf(rows, 'pretrain at 10,000 tokens')).toEqual([9.02, 9.51]);
    expect(valueOf(rows, 'pretrain at 5,000 tokens')).toEqual([9.52, 9.76]);
  });

  test('tell recipes, speed, evaluations and digests that differ, and none that is equal as differing', () => {
    expect(valueOf(rows, 'pretrain.batchSize')).toEqual([10, 20]);
    expect(valueOf(rows, 'pretrain: tokens a second')).toEqual([1050, 1100]);
    expect(valueOf(rows, 'evaluate-tuned: questions.accuracy')).toEqual([0.4, 0.4]);
    expect(valueOf(rows, 'dataset')).toEqual(['policy@1', 'policy@1']);
    expect(digests).toEqual({ equal: ['dataset digest'], differing: ['weights of pretrain'] });
    expect(digestLine({ a: '', b: '', rows, digests }, paint)).toBe(
      'other bits: weights of pretrain; equal: dataset digest',
    );
  });
});

test('runs of the same bits are said to be so, with losses that are equal everywhere', () => {
  const comparison = compareRuns(runOf('one', 10, 100, 'a'), runOf('two', 10, 100, 'a'));
  const losses = comparison.rows.filter(({ part }) => part === 'loss');
  expect(losses.length).toBe(6);
  expect(losses.every(({ a, b }) => a === b)).toBe(true);
  expect(digestLine(comparison, paint)).toBe(
    '✓ the same bits: dataset digest, weights of pretrain',
  );
});

test('what only one of them has stands alone, and nothing is said of bits that are not stored', () => {
  const bare = sampleReport({ run: 'bare', plan: null, phases: [], evaluations: [], data: null });
  const empty = { ...bare, repeat: { ...bare.repeat, compare: [] } };
  const comparison = compareRuns(runOf('one', 10, 100, 'a'), empty);
  expect(valueOf(comparison.rows, 'pretrain.batchSize')).toEqual([10, null]);
  expect(
    comparison.rows.some(({ field }) => field.includes('tokens') && field.includes(' at ')),
  ).toBe(false);
  expect(digestLine(comparison, paint)).toBe('no digest is stored of both');
});

describe('temper compare', () => {
  let s3: TestS3;
  beforeAll(async () => {
    s3 = await startS3();
    const pipeline = pipelineSchema.parse({
      version: 1,
      name: 'policy',
      data: { sources: [{ path: './docs', license: 'internal' }] },
    });
    const slower = { ...recipe, pretrain: { ...recipe.pretrain, learningRate: 0.001 } };
    for (const [run, planned] of [
      ['policy-7f3a', recipe],
      ['policy-11aa', slower],
    ] as const) {
      await putRunRecord(s3.store, run, 'spec', { pipeline, machine });
      await putRunRecord(s3.store, run, 'plan', planned);
    }
  });
  afterAll(async () => {
    await s3?.stop();
  });
  const temper = (...args: string[]) => runCommand(s3, args);

  test('prints what differs, and as JSON everything', { timeout: 60_000 }, async () => {
    const { exitCode, stdout } = await temper('compare', 'policy-7f3a', 'policy-11aa');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/recipe +pretrain\.learningRate +\S+ +0\.001/);
    expect(stdout).not.toContain('model.numLayers');
    expect(stdout).toContain('other bits: recipe');
    const { rows, digests } = JSON.parse(
      (await temper('compare', 'policy-7f3a', 'policy-11aa', '--json')).stdout,
    ) as ReturnType<typeof compareRuns>;
    expect(valueOf(rows, 'model.numLayers')).toEqual([
      recipe.model.numLayers,
      recipe.model.numLayers,
    ]);
    expect(digests.differing).toEqual(['recipe']);
  });

  test('answers an unknown run with the nearest, and ends with 2', async () => {
    const { exitCode, stderr } = await temper('compare', 'policy-7f3a', 'policy-11ab');
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining('Did you mean policy-11aa?')]);
  });
});

test('the rate that was found is told beside those that were tried', () => {
  const trial = (number: number, multiple: number, loss: number) => ({
    trial: number,
    multiple,
    learningRate: multiple * 0.02,
    loss,
    valBpb: loss / 2,
  });
  const shared = { phase: 'pretrain', round: 0, at: new Date(0).toISOString() };
  const swept: RunReport = {
    ...runOf('swept', 4, 10, 'a'),
    sweep: [
      {
        ...shared,
        rung: 0,
        step: 10,
        trials: [trial(0, 0.5, 5), trial(1, 1, 4), trial(2, 2, 4.5), trial(3, 4, 6)],
        goesOn: [1, 2],
      },
      { ...shared, rung: 1, step: 20, trials: [trial(1, 1, 4), trial(2, 2, 3.5)], goesOn: [2] },
    ],
  };
  const { rows } = compareRuns(swept, runOf('plain', 4, 10, 'b'));
  expect(rows.find(({ field }) => field === 'pretrain: rate as found')).toEqual({
    part: 'recipe',
    field: 'pretrain: rate as found',
    a: '×2 (0.04) of ×0.5, ×1, ×2, ×4',
    b: null,
  });
});
