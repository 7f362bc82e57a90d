/** A pipeline that names its phases: what of the whole plan it takes, and what is planned of its own. */
import { describe, expect, test } from 'vitest';
import { phasesOf, recipeSchema, type Phase, type Recipe } from '../../config/recipe.ts';
import { planPhases, replanPhases } from '../../recipes/phases.ts';
import { planRecipe, type PlanInputs } from '../../recipes/plan.ts';
import { adaptedInputs as adapted, parentOf, planInputs } from '../support/recipes.ts';

const whole: PlanInputs = { ...planInputs, budgetMs: 160_000 };
const namesOf = (recipe: Recipe) => phasesOf(recipe).map(({ phase }) => phase);

describe('phases of the whole plan', () => {
  test.each([
    ['from scratch', whole],
    ['of a base model', adapted],
  ])('those of the goal are the plan of the goal, %s', (_, inputs) => {
    expect(planPhases(inputs)).toEqual(planRecipe(inputs));
    expect(planPhases(inputs, ['pretrain', 'sft', 'dpo'])).toEqual(planRecipe(inputs));
    const goal = inputs.base ? ('adapt' as const) : ('base' as const);
    const reading = { ...inputs, goal };
    expect(planPhases(reading, ['pretrain'])).toEqual(planRecipe(reading));
  });

  test.each([
    ['from scratch', whole],
    ['of a base model', adapted],
  ])('what they share with it stays as it was, and its time shrinks or moves, %s', (_, inputs) => {
    const all = planRecipe(inputs);
    for (const phases of [
      ['pretrain', 'sft'],
      ['pretrain', 'sft', 'orpo'],
      ['pretrain', 'orpo'],
    ] as const) {
      const recipe = recipeSchema.parse(planPhases(inputs, phases));
      expect(namesOf(recipe)).toEqual(phases);
      expect(recipe.model).toEqual(all.model);
      expect(recipe.pretrain).toEqual(all.pretrain);
      if (recipe.sft !== null) expect(recipe.sft).toEqual(all.sft);
      expect(recipe.orpo?.lora).toEqual(recipe.orpo && all.sft?.lora);
      expect(recipe.estimate.trainingMs).toBeLessThan(inputs.budgetMs * 1.05);
      expect(recipe.estimate.trainingMsLow).toBeLessThan(recipe.estimate.trainingMs);
      const choices = recipe.reasons.map(({ choice }) => choice);
      expect(new Set(choices).size).toBe(choices.length);
    }
    const without = planPhases(inputs, ['pretrain', 'sft']);
    expect(without.estimate.trainingMs).toBeLessThan(all.estimate.trainingMs - 5000);
  });
});

describe('a model that exists is tuned as it is', () => {
  const parent = parentOf('policy', 3);
  const { base: _, ...rest } = adapted;
  const starts: [string, PlanInputs, boolean][] = [
    ['a base model', adapted, true],
    ['a version that was adapted', { ...rest, parent: { ...parent, adapted: true } }, true],
    ['a version from scratch', { ...rest, parent }, false],
  ];
  const combinations: Phase[][] = [['sft'], ['sft', 'dpo'], ['sft', 'orpo'], ['orpo'], ['dpo']];

  test.each(starts)('%s, in any of the phases, within its budget', (_what, inputs, adapters) => {
    for (const phases of combinations) {
      for (const budgetMs of [60_000, 720_000]) {
        const recipe = recipeSchema.parse(planPhases({ ...inputs, budgetMs }, phases));
        expect(recipe.pretrain).toBeNull();
        expect(namesOf(recipe)).toEqual(phases);
        for (const phase of phasesOf(recipe)) {
          expect(phase.lora !== undefined).toBe(adapters);
          expect(phase.warmupSteps + phase.decaySteps).toBeLessThanOrEqual(phase.numSteps);
          expect(phase.saveEverySteps).toBeLessThanOrEqual(phase.numSteps);
          expect(phase.contextLength).toBeLessThanOrEqual(recipe.model.contextLength);
        }
        if (budgetMs > 60_000) expect(recipe.estimate.trainingMs).toBeLessThan(budgetMs * 1.05);
        for (const { reason, source, value } of recipe.reasons) {
          expect([reason, source, value].every((text) => text.length > 0)).toBe(true);
        }
      }
    }
  });

  test('ORPO alone learns the answers at two fifths of the rate of SFT, after SFT at a tenth', () => {
    const { sft } = planPhases(adapted, ['sft', 'orpo']);
    const after = planPhases(adapted, ['sft', 'orpo']).orpo!;
    const alone = planPhases(adapted, ['orpo']);
    expect(alone.orpo!.learningRate).toBeCloseTo(0.4 * sft!.learningRate, 8);
    expect(after.learningRate).toBeCloseTo(0.1 * sft!.learningRate, 8);
    expect(alone.orpo!.numSteps).toBeGreaterThan(after.numSteps);
    const tuning = alone.reasons.find(({ choice }) => choice === 'fine-tuning')!;
    expect(tuning.source).toBe('Hong et al. 2024');
    expect(tuning.reason).toContain('without SFT and without a reference');
  });

  test('without a model to tune there is no plan', () => {
    expect(() => planPhases(rest, ['sft'])).toThrow('phases sft: found no model to tune');
  });
});

describe('a missed gate', () => {
  const missed = [{ metric: 'questions.accuracy' as const, value: 0.1 }];

  test.each([
    ['of a base model', adapted, ['sft', 'orpo'] as const],
    ['after pretraining', whole, ['pretrain', 'sft', 'orpo'] as const],
  ])('tunes longer at a lower rate, in the same phases, %s', (_, inputs, phases) => {
    const first = planPhases(inputs, phases);
    const next = recipeSchema.parse(replanPhases(inputs, phases, { previous: first, missed }));
    expect(next.round).toBe(1);
    expect(namesOf(next)).toEqual(phases);
    expect(next.pretrain).toEqual(first.pretrain);
    for (const phase of ['sft', 'orpo'] as const) {
      expect(next[phase]!.learningRate).toBeLessThan(first[phase]!.learningRate);
      expect(next[phase]!.numSteps).toBeGreaterThanOrEqual(first[phase]!.numSteps);
    }
  });

  test('on the held-out text leaves ORPO as it was', () => {
    const phases = ['pretrain', 'orpo'] as const;
    const first = planPhases(whole, phases);
    const next = replanPhases(whole, phases, {
      previous: first,
      missed: [{ metric: 'valBpb', value: 3 }],
    });
    const work = ({ pretrain, numParameters }: Recipe) => pretrain!.numSteps * numParameters;
    expect(work(next)).toBeGreaterThan(work(first));
    expect(next.orpo).toEqual(first.orpo);
  });
});
