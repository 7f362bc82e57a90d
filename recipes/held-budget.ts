/**
 * A budget that is held: what it allows, how the phases share it, and a plan that leaves room for what the estimate
 * cannot know. A budget of time alone is planned for and not held, unless the file says so: an end that a clock decides
 * would take the equal bits from a run that was killed on its way.
 */
import { affordableMs, endsTraining } from '../config/budget.ts';
import type { Pipeline } from '../config/pipeline.ts';
import type { HeldBudget, Phase, PretrainRecipe, Reason, Recipe } from '../config/recipe.ts';
import { totalMs } from './phase-time.ts';
import { hostsOf } from './several-hosts.ts';

type Budget = Pipeline['budget'];

/** Of a budget that is held, what is planned for: a plan that misses by less still ends as planned. */
const plannedShare = 0.85;

/**
 * The training time that is planned for: what the dollars afford, where that is less; less than that, where it is held.
 * Several hosts are paid for at once.
 */
export function plannedTimeMs(budget: Budget, compute: Pipeline['compute'] = 'local'): number {
  const affordable = Math.floor((affordableMs(budget) ?? Infinity) / hostsOf(compute));
  const timeMs = Math.min(budget.time, affordable);
  return endsTraining(budget) ? Math.round(timeMs * plannedShare) : timeMs;
}

/** The recipe with its price, and with the budget that ends its training; without, where that is only planned for. */
export function holding(planned: Recipe, budget: Budget): Recipe {
  const recipe = priced(planned, budget);
  if (!endsTraining(budget)) return recipe;
  const { time, usd, usdPerHour = 0, whenSpent } = budget;
  const held: HeldBudget = {
    // A time that was left out is what the dollars afford: it bounds nothing by itself.
    timeMs: time === affordableMs(budget) ? null : time,
    usd: usd ?? null,
    usdPerHour,
    whenSpent: whenSpent === 'wait' ? 'wait' : 'finish',
    shares: sharesOf(recipe),
  };
  const { pretrain } = recipe;
  const reason: Reason = {
    choice: 'budget',
    value: `${describe(held)}, then ${held.whenSpent}`,
    reason: `held: training ends within it; planned for ${Math.round(100 * plannedShare)} % of it, so that a plan that misses by less ends as planned`,
    source: 'docs/decisions/0006-a-budget-ends-a-training-by-a-decision.md',
  };
  return {
    ...recipe,
    pretrain: pretrain && judgedWhereSaved(pretrain),
    held,
    reasons: [...recipe.reasons, reason],
  };
}

/** A checkpoint can only be judged by the held-out text where both fall on the same step. */
function judgedWhereSaved(pretrain: PretrainRecipe): PretrainRecipe {
  const { saveEverySteps } = pretrain;
  const evalEverySteps = Math.ceil(pretrain.evalEverySteps / saveEverySteps) * saveEverySteps;
  return { ...pretrain, evalEverySteps };
}

/** What the planned time costs, where the machine has a price. */
function priced(recipe: Recipe, { usdPerHour = 0 }: Budget): Recipe {
  const { estimate } = recipe;
  if (usdPerHour === 0 || estimate.usd > 0) return recipe;
  const usd = Number(((estimate.trainingMs / 3_600_000) * usdPerHour).toFixed(2));
  return { ...recipe, estimate: { ...estimate, usd } };
}

/** Each phase's part of what is left when it begins: its part of the planned time, what comes beside its steps included. */
function sharesOf({ orpo, estimate: { time = [] } }: Recipe): HeldBudget['shares'] {
  const ms = (...phases: Phase[]) => totalMs(time.filter(({ phase }) => phases.includes(phase)));
  const part = (own: number, later: number) => Number((own / Math.max(1, own + later)).toFixed(4));
  return {
    pretrain: part(ms('pretrain'), ms('sft', 'dpo', 'orpo')),
    sft: part(ms('sft'), ms('dpo', 'orpo')),
    dpo: 1,
    ...(orpo && { orpo: 1 }),
  };
}

function describe({ timeMs, usd, usdPerHour }: HeldBudget): string {
  const time = timeMs === null ? [] : [`${Math.round(timeMs / 1000)} s of machines`];
  const dollars = usd === null ? [] : [`$${usd} at $${usdPerHour} an hour`];
  return [...time, ...dollars].join(' and ');
}
