/** What several hosts change of a plan: its price, and what of it they could not share. */
import { expect, test } from 'vitest';
import { loadOf, type Load, type Measurement } from '../../config/measurements.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import { holding, plannedTimeMs } from '../../recipes/held-budget.ts';
import type { GivenShape, Recipe } from '../../config/recipe.ts';
import { planMeasured } from '../../recipes/measured.ts';
import { availableBytes, DoesNotFit, trainingBytes } from '../../recipes/memory.ts';
import { planRecipe, type PlanInputs } from '../../recipes/plan.ts';
import { machineFor, onHosts, ranksOf } from '../../recipes/several-hosts.ts';
import { machine, recipe } from '../support/recipes.ts';

const gib = 2 ** 30;

const pipeline = (budget: object, hosts: number) =>
  pipelineSchema.parse({
    version: 1,
    name: 'policy',
    data: { sources: [{ path: './docs', license: 'internal' }] },
    budget,
    compute: { hosts },
  });
const hour = 3_600_000;

/** A plan of about this many parameters on hosts with so much memory each. */
const planned = (memoryBytes: number, compute: object) => {
  const file = pipelineSchema.parse({ ...pipeline({ time: '30d' }, 4), compute });
  const inputs: PlanInputs = {
    statistics: { numTokens: 1e9, bytes: 4e9 },
    goal: 'base',
    budgetMs: 30 * 24 * hour,
    machine: { ...machine, memoryBytes },
    ...ranksOf(file.compute, machine),
    seed: 1,
    vocabSize: 16_384,
    numChats: 0,
    numPreferences: 0,
    limits: { numParameters: 400e6 },
  };
  return onHosts(planRecipe(inputs), file);
};
const reasonOf = (recipe: Recipe) =>
  recipe.reasons.find(({ choice }) => choice === 'parallelism')?.value;

test('weights that fit into each host are held by each, and others are parted', () => {
  const roomy = planned(32 * gib, { hosts: 4 });
  expect(roomy.pretrain).not.toHaveProperty('parallelism');
  expect(reasonOf(roomy)).toMatch(/^DDP, 4 ranks of \d+ threads, each with all weights$/);
  const narrow = planned(8 * gib, { hosts: 4 });
  expect(narrow.pretrain).toMatchObject({ parallelism: 'fsdp2', worldSize: 4 });
  expect(reasonOf(narrow)).toMatch(/^FSDP2, 4 ranks of \d+ threads, each with a part/);
  expect(() => planned(8 * gib, { hosts: 4, parallelism: 'ddp' })).toThrow(DoesNotFit);
});

test('parted weights take less memory, and can be asked for where they need not be parted', () => {
  const { pretrain, model } = planned(32 * gib, { hosts: 4, parallelism: 'fsdp2' });
  expect(pretrain).toMatchObject({ parallelism: 'fsdp2', worldSize: 4 });
  const bytes = (parts: number) => trainingBytes({ ...pretrain!, shape: model, parts }, 1);
  expect(bytes(4)).toBeLessThan(0.7 * bytes(1));
  expect(bytes(16)).toBeLessThan(bytes(4));
  const own = { ...model, family: 'transformers' } as unknown as GivenShape;
  const file = pipelineSchema.parse({
    ...pipeline({}, 4),
    compute: { hosts: 4, parallelism: 'fsdp2' },
  });
  expect(() => onHosts({ ...recipe, model: own }, file)).toThrow('expected a Llama or a Qwen');
});

test('GPUs make as many ranks as there are, and their memory is what counts', () => {
  const gpu = { name: 'NVIDIA A100', count: 4, memoryBytes: 80 * gib };
  const compute = { hosts: 2, device: 'cuda' as const };
  const onGpus = machineFor(compute, machine, gpu);
  expect(onGpus).toEqual({ ...machine, device: 'cuda', gpu });
  expect(ranksOf(compute, onGpus)).toEqual({ ranks: 8 });
  expect(availableBytes(onGpus)).toBeCloseTo(0.9 * gpu.memoryBytes);
  const { pretrain } = onHosts({ ...recipe, machine: onGpus }, { compute });
  expect(pretrain).toMatchObject({ device: 'cuda', worldSize: 8 });
  const one = onHosts({ ...recipe, machine: onGpus }, { compute: { device: 'cuda' } });
  expect(one.pretrain).toMatchObject({ device: 'cuda', worldSize: 4 });
  expect(one.reasons.map(({ choice }) => choice)).not.toContain('hosts');
  const odd = { ...onGpus, gpu: { ...gpu, count: 3 } };
  expect(() => onHosts({ ...recipe, machine: odd }, { compute })).toThrow(
    'compute.hosts: found 2 of 3 GPUs, expected a number that parts a batch of 16 equally',
  );
});

test('GPUs that no worker has told of are refused with what to do, and those not asked for are let be', () => {
  expect(() => machineFor({ device: 'cuda' }, machine, null)).toThrow(
    'compute.device: found no host that says it has GPUs',
  );
  expect(machineFor('local', machine, null)).toBe(machine);
});

test('one host plans as ever, whatever room it has', () => {
  expect(ranksOf('local', machine)).toEqual({});
  expect(recipe.pretrain).not.toHaveProperty('parallelism');
});

test('hosts are paid for all together', () => {
  const file = pipeline({ time: '2h', usdPerHour: 2500 }, 4);
  const one = holding(recipe, file.budget);
  expect(one.estimate.usd).toBeGreaterThan(0);
  expect(onHosts(one, file).estimate).toEqual({
    ...one.estimate,
    usd: Number((4 * one.estimate.usd).toFixed(2)),
  });
  expect(onHosts(one, { compute: 'local' })).toBe(one);
});

test('dollars afford as much less time as there are hosts, and time that is asked for stays', () => {
  const price = { usd: 5, usdPerHour: 2.5, whenSpent: 'go-on' };
  const planned = ({ budget, compute }: ReturnType<typeof pipeline>) =>
    plannedTimeMs(budget, compute);
  expect(planned(pipeline(price, 4))).toBe(hour / 2);
  expect(planned(pipeline({ ...price, time: '10m' }, 4))).toBe(hour / 6);
  expect(planned(pipeline({ time: '2h', usdPerHour: 2.5 }, 4))).toBe(2 * hour);
});

test('what cannot be parted among the hosts does not fit', () => {
  const file = pipeline({}, 16);
  const { pretrain } = recipe;
  const refused = (changed: object) => () => onHosts({ ...recipe, ...changed }, file);
  expect(refused({ pretrain: { ...pretrain, batchSize: 8 } })).toThrow(DoesNotFit);
  expect(refused({ pretrain: { ...pretrain, batchSize: 8 } })).toThrow(
    'compute.hosts: found 16, expected a number that parts a batch of 8 equally',
  );
  expect(refused({ pretrain: null })).toThrow(DoesNotFit);
});

test('what several ranks were measured at is found again by the next plan for them', async () => {
  const file = pipeline({ time: '2h' }, 4);
  const gpu = { name: 'NVIDIA A100', count: 4, memoryBytes: 80e9 };
  const onGpus = pipelineSchema.parse({ ...file, compute: { device: 'cuda' } });
  for (const [compute, on] of [
    [file, machine],
    [onGpus, machineFor(onGpus.compute, machine, gpu)],
  ] as const) {
    const inputs: PlanInputs = {
      statistics: { numTokens: 20e6, bytes: 90e6 },
      goal: 'base',
      budgetMs: 2 * hour,
      machine: on,
      ...ranksOf(compute.compute, on),
      seed: 1,
      vocabSize: 8192,
      numChats: 0,
      numPreferences: 0,
    };
    const trains = (planned: Recipe) => onHosts(planned, compute);
    const { pretrain, model } = trains(planRecipe(inputs));
    expect(pretrain!.worldSize).toBe(4);
    const load = loadOf(pretrain!, model);
    const calibration = { numSteps: 20, stepMs: 9000, tookMs: 1, at: '2026-11-22T00:00:00.000Z' };
    const measured = { schemaVersion: 1 as const, machine: on, load };
    const find = async (asked: Load): Promise<Measurement | null> =>
      JSON.stringify({ ...asked, shape: null }) === JSON.stringify({ ...load, shape: null })
        ? { ...measured, calibration, microBatchSize: 1 }
        : null;
    const found = await planMeasured(inputs, find, planRecipe, trains);
    expect(found.calibration).toEqual(calibration);
    expect(trains(found.recipe).pretrain!.microBatchSize).toBe(1);
  }
});
