/**
 * A search for the learning rate by successive halving, within the budget of the run: how far each rung trains, and
 * what is left for the trial that goes on to the end. Pure.
 */
import type { SweepPlan } from '../config/sweep.ts';
import type { PretrainRecipe, ReadingRecipe, Reason } from '../config/recipe.ts';
import { DoesNotFit } from './memory.ts';
import { mostScoredTokens } from './phase-time.ts';

/** What a pipeline file asks for, and what it costs to compare. */
export interface SweepWish {
  /** Multiples of the planned rate. */
  learningRate: readonly number[];
  halving: number;
  /** Held-out tokens that each trial scores at the end of its rung. */
  heldOutTokens: number;
}

/** Asks for more than the budget affords. */
export class SweepDoesNotFit extends DoesNotFit {}

/** Of the budget, for what does not end in the model; more of it only where rungs would else be too short. */
const shares = [0.25, 0.3, 0.35, 0.4, 0.45, 0.5];
/** A rung ends after its warm-up and half as long again at the full rate: before that, rates do not tell. */
const leastWarmups = 1.5;
/** Scoring is the forward third of a step, and half of one that leaves most weights as they are. */
const scoringShare = { whole: 1 / 3, lora: 1 / 2 };

/** Plans with what the search leaves of the budget, so that both fit into it. */
export function planSweep(
  wish: SweepWish,
  budgetMs: number,
  plan: (budgetMs: number) => ReadingRecipe,
): ReadingRecipe {
  const fitting = fit(wish, budgetMs, plan);
  if (fitting !== null) return fitting;
  const enough = enoughMs(wish, budgetMs, plan);
  const advice =
    enough === null
      ? 'Try fewer rates, or a higher halving.'
      : `Set budget.time: ${durationOf(enough)}, or try fewer rates.`;
  const most = shares.at(-1)!;
  const recipe = plan(budgetMs * (1 - most));
  const { first } = rungsOf(wish, recipe, budgetMs * most);
  throw new SweepDoesNotFit(
    `sweep: found ${wish.learningRate.length} learning rates for a budget of ${durationOf(budgetMs)}, ${100 * most} % of which ` +
      `affords a first rung of ${Math.max(0, first)} steps, expected at least ${leastStep(recipe.pretrain)}: ` +
      `a rate tells nothing during its warm-up. ${advice}`,
  );
}

function fit(
  wish: SweepWish,
  budgetMs: number,
  plan: (budgetMs: number) => ReadingRecipe,
): ReadingRecipe | null {
  for (const share of shares) {
    const recipe = plan(budgetMs * (1 - share));
    // A later round trains for longer than the budget says, so nothing would be left of it.
    const left = recipe.round === 0 ? budgetMs - recipe.estimate.trainingMs : Infinity;
    const found = rungsOf(wish, recipe, Math.min(budgetMs * share, left));
    if (found.first >= leastStep(recipe.pretrain)) return withSweep(wish, recipe, found, budgetMs);
  }
  return null;
}

/** The least budget that fits, about; null where none does. */
function enoughMs(
  wish: SweepWish,
  budgetMs: number,
  plan: (budgetMs: number) => ReadingRecipe,
): number | null {
  for (let ms = budgetMs; ms < budgetMs * 1000; ms *= 1.25) {
    if (fit(wish, ms, plan) !== null) return ms;
  }
  return null;
}

/** How many train each rung: of n, one in `halving` goes on, until one is left. */
export function rungSizes(numTrials: number, halving: number): number[] {
  const sizes: number[] = [];
  for (let left = numTrials; left > 1; left = Math.max(1, Math.floor(left / halving))) {
    sizes.push(left);
  }
  return sizes;
}

interface Rungs {
  /** Steps of the first rung. */
  first: number;
  rungs: SweepPlan['rungs'];
  searchMs: number;
}

/** Each rung ends at `halving` times the step of the one before. */
function rungsOf(wish: SweepWish, recipe: ReadingRecipe, searchMs: number): Rungs {
  const { pretrain } = recipe;
  const sizes = rungSizes(wish.learningRate.length, wish.halving);
  const lengths = sizes.map((_, index) => wish.halving ** index);
  const { startMs, stepMs } = timesOf(recipe);
  // The steps of the trial that is left are steps of the model.
  const steps =
    sizes.reduce(
      (sum, size, index) => sum + size * (lengths[index]! - (lengths[index - 1] ?? 0)),
      0,
    ) - lengths.at(-1)!;
  const scoredTokens = Math.min(wish.heldOutTokens, mostScoredTokens);
  const tokensPerStep = pretrain.batchSize * pretrain.contextLength;
  const share = scoringShare[pretrain.lora === undefined ? 'whole' : 'lora'];
  const scoringMs = (scoredTokens / tokensPerStep) * share * stepMs;
  const startsMs = sizes.reduce((sum, size) => sum + size, 0) * (startMs + scoringMs);
  // The rate of a trial must not have begun to fall: then it could not go on as a training of its own would.
  const constantSteps = pretrain.numSteps - pretrain.decaySteps;
  const first = Math.floor(
    Math.min((searchMs - startsMs) / stepMs / steps, constantSteps / lengths.at(-1)!),
  );
  const rungs = sizes.map((_, index) => ({
    step: first * lengths[index]!,
    goOn: sizes[index + 1] ?? 1,
  }));
  return { first, rungs, searchMs: startsMs + first * steps * stepMs };
}

function leastStep({ warmupSteps }: PretrainRecipe): number {
  return Math.max(2, Math.ceil(leastWarmups * warmupSteps));
}

/** What a start and a step take by the plan, whichever method it plans. */
function timesOf({ estimate, pretrain }: ReadingRecipe): { startMs: number; stepMs: number } {
  const planned = estimate.time?.find(({ phase }) => phase === pretrain.phase);
  if (planned === undefined) throw new Error('found a plan without the time of its pretraining');
  return { startMs: planned.startMs, stepMs: Math.max(1, planned.stepsMs / pretrain.numSteps) };
}

function withSweep(
  { learningRate, halving }: SweepWish,
  recipe: ReadingRecipe,
  { rungs, searchMs }: Rungs,
  budgetMs: number,
): ReadingRecipe {
  const { pretrain, estimate } = recipe;
  const trials = learningRate.map((multiple) => ({
    multiple,
    learningRate: pretrain.learningRate * multiple,
    adamLearningRate: pretrain.adamLearningRate * multiple,
  }));
  const longer = (ms: number) => Math.round(ms * (1 + searchMs / estimate.trainingMs));
  const reason: Reason = {
    choice: 'sweep',
    value: `×${learningRate.join(', ×')} of the rate, compared after ${rungs.map(({ step }) => step).join(', ')} steps`,
    reason:
      `one in ${halving} goes on after each rung, from its own checkpoint, until one is left; ` +
      `what the others train takes ${Math.round((100 * searchMs) / budgetMs)} % of the budget, and every rung ends before the rate falls`,
    source: 'Jamieson & Talwalkar 2016; Li et al. 2020; Hägele et al. 2024',
  };
  return {
    ...recipe,
    sweep: { trials, rungs },
    estimate: {
      ...estimate,
      trainingMs: longer(estimate.trainingMs),
      trainingMsLow: longer(estimate.trainingMsLow),
      trainingMsHigh: longer(estimate.trainingMsHigh),
    },
    reasons: [...recipe.reasons, reason],
  };
}

/** As a pipeline file says it, rounded up. */
function durationOf(ms: number): string {
  if (ms < 120_000) return `${Math.ceil(ms / 1000)}s`;
  return ms < 7_200_000 ? `${Math.ceil(ms / 60_000)}m` : `${Math.ceil(ms / 3_600_000)}h`;
}
