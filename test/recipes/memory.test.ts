/** What fits into a machine's memory, in how many parts, and what is said of what does not. */
import { describe, expect, test } from 'vitest';
import { knownBases } from '../../config/base-models.ts';
import { loadOf, type Load, type Measurement } from '../../config/measurements.ts';
import { recipeSchema, type Machine, type ModelShape } from '../../config/recipe.ts';
import { refuseTooLarge } from '../../recipes/adaptation.ts';
import { estimatedStepMs, planMeasured, stepsToCalibrate } from '../../recipes/measured.ts';
import {
  availableBytes,
  DoesNotFit,
  fittingMicroBatch,
  trainingBytes,
} from '../../recipes/memory.ts';
import { planPhases } from '../../recipes/phases.ts';
import { planRecipe, type PlanInputs } from '../../recipes/plan.ts';
import { ladder } from '../../recipes/shapes.ts';

const machine: Machine = {
  device: 'cpu',
  cores: 2,
  memoryBytes: 24e9,
  instructionSet: 'avx512_bf16',
};
const { title, shape } = knownBases['smollm2']!;
const adapting: PlanInputs = {
  statistics: { numTokens: 60_000, bytes: 300_000 },
  goal: 'adapt',
  budgetMs: 360_000,
  machine,
  seed: 1789,
  vocabSize: shape.vocabSize,
  numChats: 0,
  numPreferences: 0,
  base: { title, shape },
};
const scratch: PlanInputs = {
  ...adapting,
  statistics: { numTokens: 20_000_000, bytes: 90_000_000 },
  goal: 'base',
  budgetMs: 7_200_000,
  vocabSize: 8192,
  base: undefined,
};
const on = (memoryBytes: number) => ({ ...machine, memoryBytes });

describe('memory', () => {
  test('is what was measured of four trainings, within a quarter', () => {
    // Peak of the process in bytes, measured with the allocator of the trainer: docs/log.md.
    const rung = (width: number, vocabSize: number) =>
      ladder(vocabSize, 256).find(({ hiddenSize }) => hiddenSize === width)!;
    const lora = { rank: 16, alpha: 32, mergeShare: 0.8 };
    const measured: [ModelShape, number, number, typeof lora | undefined, number][] = [
      [rung(192, 4096), 256, 4, undefined, 487],
      [rung(384, 8192), 256, 16, undefined, 1117],
      [shape, 512, 4, lora, 4027 - 270],
    ];
    for (const [of, contextLength, rows, adapters, mib] of measured) {
      const load = { phase: 'pretrain', precision: 'bf16', contextLength, shape: of } as const;
      const bytes = trainingBytes({ ...load, lora: adapters }, rows);
      expect(bytes / (mib * 2 ** 20)).toBeGreaterThan(0.75);
      expect(bytes / (mib * 2 ** 20)).toBeLessThan(1.5);
    }
  });

  test('a batch that fits is computed whole: the recipe does not speak of parts', () => {
    for (const inputs of [adapting, scratch]) {
      const recipe = planRecipe(inputs);
      expect(recipe.pretrain).not.toHaveProperty('microBatchSize');
      expect(recipe.reasons.some(({ choice }) => choice.startsWith('micro-batch'))).toBe(false);
    }
  });

  test('a batch that does not fit is halved until it does, with the reason, and the batch stays', () => {
    const recipe = recipeSchema.parse(planRecipe({ ...adapting, machine: on(4.5e9) }));
    const whole = planRecipe(adapting);
    const { microBatchSize, ...pretrain } = recipe.pretrain!;
    expect([1, 2]).toContain(microBatchSize);
    expect(pretrain).toEqual(whole.pretrain);
    const reason = recipe.reasons.find(({ choice }) => choice === 'micro-batch')!;
    expect(reason.value).toBe(`${microBatchSize} of 4 sequences at once`);
    expect(reason.reason).toMatch(
      /^the whole batch would take [\d.]+ GB, the machine has [\d.]+ GB/,
    );
  });

  test('rows are shortened before a base is refused', () => {
    const small = planRecipe({ ...adapting, machine: on(3.3e9) });
    expect(small.pretrain.contextLength).toBeLessThan(512);
    expect(small.reasons.find(({ choice }) => choice === 'row length')?.value).toMatch(/ tokens$/);
  });

  test('what does not fit says by how much, and what would', () => {
    const large = {
      ...shape,
      hiddenSize: 4096,
      intermediateSize: 11_008,
      numLayers: 32,
      numHeads: 32,
      numKvHeads: 32,
    };
    const base = { title: 'Large', shape: large };
    expect(() => planRecipe({ ...adapting, base })).toThrow(DoesNotFit);
    expect(() => planRecipe({ ...adapting, base })).toThrow(
      /^adapting Large needs [\d.]+ GB of memory for one row of 128 tokens, and this machine has 16\.9 GB for it \(of 24\.0 GB\): [\d.]+ GB too little\. What would fit: .*a base model of about \d+M parameters, a machine with [\d.]+ GB of memory\. Nothing was trained\.$/,
    );
    expect(() => refuseTooLarge(machine, base)).toThrow(/^adapting Large needs/);
    expect(() => refuseTooLarge(machine, { title, shape })).not.toThrow();
  });

  test('all weights of a model that is too large are refused with the size of adapters', () => {
    const parent = { name: 'policy', version: 3, shape, numTokens: 1e6 };
    const continued: PlanInputs = { ...scratch, parent, machine: on(5e9) };
    expect(() => planRecipe(continued)).toThrow(/LoRA \(goal: adapt\), which takes [\d.]+ GB/);
  });

  test.each(['sft', 'dpo', 'orpo'] as const)(
    'a base that has no room for %s alone is refused before anything is prepared',
    (phase) => {
      const alone = { ...adapting, goal: 'assistant' as const, numChats: 400, numPreferences: 400 };
      const planOn = (memoryBytes: number) =>
        planPhases({ ...alone, machine: on(memoryBytes) }, [phase]);
      expect(() => planOn(24e9)).not.toThrow();
      expect(() => planOn(2.6e9)).toThrow(DoesNotFit);
      expect(() => planOn(2.6e9)).toThrow(/GB too little\. What would fit: /);
    },
  );

  test('a machine with little memory is planned a smaller shape from scratch', () => {
    const little = planRecipe({ ...scratch, machine: on(2.5e9), budgetMs: 30 * 86_400_000 });
    const much = planRecipe({ ...scratch, budgetMs: 30 * 86_400_000 });
    expect(little.numParameters).toBeLessThan(much.numParameters);
  });

  test('parts are halves of the batch, down to one', () => {
    const load = { phase: 'pretrain', precision: 'fp32', contextLength: 512, shape } as const;
    const at = (rows: number) => trainingBytes(load, rows);
    expect(fittingMicroBatch(load, 16, at(16))).toBe(16);
    expect(fittingMicroBatch(load, 16, at(16) - 1)).toBe(8);
    expect(fittingMicroBatch(load, 16, at(1))).toBe(1);
    expect(fittingMicroBatch(load, 16, at(1) - 1)).toBeNull();
    expect(availableBytes({ memoryBytes: 1e9 })).toBe(0);
  });
});

describe('what was measured of a machine', () => {
  const recipe = planRecipe(scratch);
  const measured = (found: Partial<Measurement>) => {
    const load = loadOf(recipe.pretrain, recipe.model);
    return async (asked: Load): Promise<Measurement | null> =>
      JSON.stringify(asked) === JSON.stringify(load)
        ? { schemaVersion: 1, machine, load, ...found }
        : null;
  };
  const calibration = (pace: number) => ({
    numSteps: 20,
    stepMs: estimatedStepMs(recipe) * pace,
    tookMs: 20_000,
    at: '2026-11-22T00:00:00.000Z',
  });

  test('nothing changes nothing', async () => {
    const planned = await planMeasured(scratch, async () => null);
    expect(planned).toEqual({ recipe, corrections: {}, calibration: null });
  });

  test('a slower machine than estimated trains fewer steps in the same budget, and the plan says so', async () => {
    const planned = await planMeasured(scratch, measured({ calibration: calibration(1.5) }));
    expect(planned.corrections.pace).toBeCloseTo(1.5);
    const { pretrain, estimate, reasons } = planned.recipe;
    const tokens = pretrain.numSteps * pretrain.batchSize * pretrain.contextLength;
    const before = recipe.pretrain;
    expect(tokens).toBeLessThan(before.numSteps * before.batchSize * before.contextLength);
    expect(estimate.trainingMs).toBeLessThan(scratch.budgetMs * 1.01);
    expect(reasons.find(({ choice }) => choice === 'speed')?.value).toMatch(/^1\.50 of/);
    const again = await planMeasured(scratch, measured({ calibration: calibration(1.5) }));
    expect(again).toEqual(planned);
  });

  test('the time of the corrected plan is that of the measured step', async () => {
    const planned = await planMeasured(scratch, measured({ calibration: calibration(1.25) }));
    const { pretrain, estimate, model } = planned.recipe;
    if (model.hiddenSize === recipe.model.hiddenSize) {
      const expected = pretrain.numSteps * estimatedStepMs(recipe) * 1.25;
      expect(Math.abs(estimate.trainingMs - 7000 - expected)).toBeLessThan(10);
    }
    expect(estimatedStepMs(planned.recipe)).toBeGreaterThan(0);
  });

  test('a plan of a machine that ran out of memory starts with the smaller micro-batch', async () => {
    const planned = await planMeasured(scratch, measured({ microBatchSize: 4 }));
    expect(planned.corrections).toEqual({ microBatch: { pretrain: 4 } });
    expect(planned.recipe.pretrain).toEqual({ ...recipe.pretrain, microBatchSize: 4 });
    const reason = planned.recipe.reasons.find(({ choice }) => choice === 'micro-batch');
    expect(reason?.source).toBe('measured on this machine');
  });

  test('calibration is asked for where it takes at most 3 % of the budget, and never of the quickstart', () => {
    expect(stepsToCalibrate(recipe, scratch.budgetMs)).toBe(20);
    const little = { numTokens: 30_000, bytes: 100_000 };
    const soonDone = planRecipe({ ...scratch, statistics: little });
    expect(stepsToCalibrate(soonDone, scratch.budgetMs)).toBe(0);
    const quick: PlanInputs = { ...scratch, budgetMs: 240_000 };
    expect(stepsToCalibrate(planRecipe(quick), quick.budgetMs)).toBe(0);
    const some = stepsToCalibrate(recipe, 30 * 60_000);
    expect(7000 + (some + 3) * estimatedStepMs(recipe)).toBeLessThan(0.03 * 30 * 60_000);
  });
});
