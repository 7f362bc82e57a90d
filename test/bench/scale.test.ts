/** The plan of a large cluster on paper, against published figures and against the page that tells of it. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { clusterOf, dataRates, plansOnPaper, renderPlans, scale } from '../../bench/scale.ts';
import { runBench } from '../../bench/support/bench.ts';
import {
  dataBounds,
  dataOnPaper,
  planData,
  renderBounds,
  renderData,
} from '../../bench/support/data-at-scale.ts';
import type { PlainShape } from '../../config/recipe.ts';
import { planOnCluster } from '../../recipes/cluster.ts';

const shape: PlainShape = {
  family: 'llama',
  vocabSize: 32_768,
  hiddenSize: 4096,
  intermediateSize: 14_336,
  numLayers: 32,
  numHeads: 32,
  numKvHeads: 8,
  contextLength: 4096,
  ropeTheta: 10_000,
  tieEmbeddings: false,
};
const job = { shape, tokens: 1e11, batchTokens: 2 ** 22, lossChunk: 512, mfu: 0.34 };

test('the page shows the table that the bench prints', () => {
  const page = readFileSync(path.resolve(import.meta.dirname, '../../docs/scale.md'), 'utf8');
  const table = renderPlans(plansOnPaper({ uploadMb: 137, usd: 4.92, mfu: 0.34 }));
  expect(page).toContain(table.join('\n'));
});

test('the page shows what preparing terabytes would take, and what breaks first', () => {
  const page = readFileSync(path.resolve(import.meta.dirname, '../../docs/scale.md'), 'utf8');
  const rates = dataRates.parse({});
  expect(page).toContain(renderData(dataOnPaper(rates)).join('\n'));
  expect(page).toContain(renderBounds(rates).join('\n'));
});

test('the history of a corpus does not grow with it, and its activities do', () => {
  const rates = dataRates.parse({});
  const [small, large] = [7e9, 1e12].map((bytes) => planData(bytes, rates));
  expect(small!.shards).toBe(10_000);
  expect(small!.events).toBeCloseTo(2729, -2);
  expect(large!.events).toBe(small!.events);
  expect(large!.activityMinutes / small!.activityMinutes).toBeCloseTo(143, 0);
  // A faster core takes less time, and an ingest of two hours then reads more.
  const faster = { ...rates, ingestMb: rates.ingestMb * 2, coreMb: rates.coreMb * 2 };
  expect(planData(1e12, faster).hours).toBeCloseTo(large!.hours / 2, 5);
  const ingests = [rates, faster].map((of) => dataBounds(of).find(({ what }) => /read/.test(what)));
  expect(ingests[1]!.bytes).toBe(ingests[0]!.bytes * 2);
});

test('what a GPU holds is within 10 % of what torchtitan reports', async () => {
  const report = await runBench(scale, { uploadMb: 137, usd: 4.92, mfu: 0.34 });
  expect(report.bounds).toHaveLength(2);
  expect(report.ok).toBe(true);
});

describe('the layout', () => {
  test('splits matrices only where sharding no longer hides behind the arithmetic', () => {
    const near = planOnCluster(job, clusterOf(8, 137, 5));
    expect(near).toMatchObject({ tensorParallel: 1, dataParallel: 64 });
    const cluster = clusterOf(8, 137, 5);
    const slow = { ...cluster, gpu: { ...cluster.gpu, networkBytesPerS: 10e9 } };
    const far = planOnCluster(job, slow);
    expect(far.tensorParallel).toBeGreaterThan(1);
    expect(far.stepS).toBeLessThan(planOnCluster({ ...job, tensorParallel: 1 }, slow).stepS);
  });

  test('trains every token once, and costs the same on fewer GPUs', () => {
    const [eight, one] = [8, 1].map((hosts) => planOnCluster(job, clusterOf(hosts, 137, 5)));
    const tokens = (plan: typeof eight) =>
      plan!.numSteps *
      plan!.accumulation *
      plan!.microBatch *
      plan!.dataParallel *
      shape.contextLength;
    expect(tokens(eight) / job.tokens).toBeCloseTo(1, 3);
    expect(one!.hours / eight!.hours).toBeCloseTo(8, 0);
    expect(one!.usd / eight!.usd).toBeCloseTo(1, 1);
  });

  test('that fits in no way says by how much, and how many GPUs would do', () => {
    const cluster = clusterOf(1, 137, 5);
    const small = { ...cluster, gpu: { ...cluster.gpu, memoryBytes: 16e9 } };
    expect(() => planOnCluster(job, small)).toThrow(
      /^a GPU would hold \d+ GB, expected at most 14 of its 16: \d+ GPUs, shorter rows/,
    );
    expect(() => planOnCluster({ ...job, batchTokens: 4096 }, clusterOf(8, 137, 5))).toThrow(
      /too few for 64 GPUs/,
    );
  });
});

test('checkpoints are further apart the rarer failures and the dearer they are, and uploads never overlap', () => {
  const cluster = clusterOf(8, 137, 5);
  const every = (gpu: object, rest: object = {}) =>
    planOnCluster(job, { ...cluster, ...rest, gpu: { ...cluster.gpu, ...gpu } }).checkpoint;
  const often = every({ hoursPerFailure: 500 });
  expect(often.everyS).toBeLessThan(every({ hoursPerFailure: 5000 }).everyS);
  expect(often.everyS).toBeLessThan(every({ hoursPerFailure: 500 }, { usdPerGbKept: 1 }).everyS);
  const slow = every({ hoursPerFailure: 1 }, { uploadBytesPerS: 20e6 });
  expect(slow.everyS).toBe(2 * slow.uploadS);
});
