/** Plans by what was measured of the machine: its pace, and how much it had room for. Where nothing was, by estimates alone. */
import { calibrationShare } from '../config/calibration.ts';
import { loadOf, type Load, type Measurement } from '../config/measurements.ts';
import { phasesOf, type Phase, type ReadingRecipe, type Recipe } from '../config/recipe.ts';
import { adaptationStepMs } from './adaptation.ts';
import { planRecipe, type PlanInputs } from './plan.ts';
import { pretrainingStepMs } from './pretraining.ts';
import { trainerStartMs } from './speed.ts';

/** What measurements change of a plan; numbers alone, so that a run can keep them. */
export interface Corrections {
  /** Time of a step as measured, against the estimate; left out, 1. */
  pace?: number | undefined;
  /** Sequences at once, at most; left out, as many as should fit. */
  microBatch?: Partial<Record<Phase, number>> | undefined;
}

export interface MeasuredPlan<Planned extends Recipe = Recipe> {
  recipe: Planned;
  corrections: Corrections;
  /** Null where the speed of this recipe on this machine was not measured. */
  calibration: NonNullable<Measurement['calibration']> | null;
}

/** Steps of a calibration that are timed, and those before them, in which caches fill. */
export const calibratedSteps = { timed: 20, warmup: 3, least: 5 } as const;

/** The estimate for one step of pretraining, or of adapting, without any correction. */
export function estimatedStepMs({ pretrain, machine, model }: ReadingRecipe): number {
  return pretrain.lora === undefined
    ? pretrainingStepMs(machine, model, pretrain)
    : adaptationStepMs(machine, model, pretrain);
}

/** How many steps a calibration would time; 0 where it would take too much of the budget, or of a training that needs less. */
export function stepsToCalibrate(recipe: Recipe, budgetMs: number): number {
  const { pretrain } = recipe;
  if (pretrain === null) return 0;
  const { timed, warmup, least } = calibratedSteps;
  const { trainingMs, time } = recipe.estimate;
  const startMs = time?.[0]?.startMs ?? trainerStartMs;
  const affordable = Math.floor(
    (Math.min(budgetMs, trainingMs) * calibrationShare - startMs) /
      estimatedStepMs({ ...recipe, pretrain }) -
      warmup,
  );
  return affordable < least ? 0 : Math.min(timed, affordable);
}

/**
 * The plan for a machine of which `find` knows the measurements; `plan` makes it. They are known under the recipe that
 * trained, `trained`: what several ranks share is measured under their number.
 */
export async function planMeasured(
  inputs: PlanInputs,
  find: (load: Load) => Promise<Measurement | null>,
): Promise<MeasuredPlan<ReadingRecipe>>;
export async function planMeasured(
  inputs: PlanInputs,
  find: (load: Load) => Promise<Measurement | null>,
  plan: (inputs: PlanInputs) => Recipe,
  trained?: (recipe: Recipe) => Recipe,
): Promise<MeasuredPlan>;
export async function planMeasured(
  inputs: PlanInputs,
  find: (load: Load) => Promise<Measurement | null>,
  plan: (inputs: PlanInputs) => Recipe = planRecipe,
  trained: (recipe: Recipe) => Recipe = (recipe) => recipe,
): Promise<MeasuredPlan> {
  const first = plan(inputs);
  const { pretrain } = first;
  const timed = trained(first).pretrain;
  const calibration =
    timed === null ? null : ((await find(loadOf(timed, first.model)))?.calibration ?? null);
  const pace =
    pretrain === null || calibration === null
      ? undefined
      : calibration.stepMs / estimatedStepMs({ ...first, pretrain });
  let corrections: Corrections = pace === undefined ? {} : { pace };
  let recipe = plan({ ...inputs, ...corrections });
  const microBatch: Partial<Record<Phase, number>> = {};
  for (const phase of phasesOf(trained(recipe))) {
    const limit = (await find(loadOf(phase, recipe.model)))?.microBatchSize;
    if (limit !== undefined) microBatch[phase.phase] = limit;
  }
  if (Object.keys(microBatch).length > 0) {
    corrections = { ...corrections, microBatch };
    recipe = plan({ ...inputs, ...corrections });
  }
  return { recipe, corrections, calibration };
}
