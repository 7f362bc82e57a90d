/** What a plan could be instead: the same planner with one thing changed, and what that would gain and cost. */
import { leastTimeMs } from '../config/budget.ts';
import { inWholeUnits } from '../config/durations.ts';
import { phasesOf, type Recipe } from '../config/recipe.ts';
import { planRecipe, type PlanInputs } from './plan.ts';
import { SweepDoesNotFit } from './sweep.ts';
import { answerFlops, storedBytes, workOf } from './preference.ts';

/** What people compare plans by. */
export interface PlanFigures {
  numParameters: number;
  /** Of the stored model. */
  bytes: number;
  trainingMs: number;
  usd: number;
  /** Of pretraining, else of the chats, repeated ones counted each time. */
  numTokens: number;
  valBpbLow: number;
  valBpbHigh: number;
  finalLoss: number;
}

export interface Alternative {
  change: 'time' | 'prefer' | 'machine';
  /** In words: what is changed. */
  title: string;
  /** How to ask for it. */
  how: string;
  figures: PlanFigures;
  /** In words: what it would gain and cost, against the plan. */
  gain: string;
}

/** The figures of a recipe. */
export function figuresOf(recipe: Recipe): PlanFigures {
  const { numParameters, model, pretrain, estimate } = recipe;
  const read = pretrain === null ? phasesOf(recipe) : [pretrain];
  const { trainingMs, usd, valBpbLow, valBpbHigh, finalLoss } = estimate;
  return {
    numParameters,
    bytes: storedBytes(model),
    trainingMs,
    usd,
    numTokens: read.reduce(
      (sum, { numSteps, batchSize, contextLength }) => sum + numSteps * batchSize * contextLength,
      0,
    ),
    valBpbLow,
    valBpbHigh,
    finalLoss,
  };
}

/** The other plan at what an hour of the first one costs; what a larger machine costs nobody knows here. */
function atPriceOf({ estimate }: Recipe, other: Recipe): Recipe {
  if (estimate.usd === 0) return other;
  const usd = (estimate.usd / estimate.trainingMs) * other.estimate.trainingMs;
  return { ...other, estimate: { ...other.estimate, usd: Number(usd.toFixed(2)) } };
}

/** Of the loss, below which nobody could tell two plans apart. */
const noticeable = 0.005;

/** The budget as the pipeline file has it, of which the planner may use a part. */
export interface AskedBudget {
  /** Milliseconds. */
  time: number;
  usd?: number | undefined;
}

/**
 * Up to two other plans: another time, and another model or machine; one that would change nothing is left out. `plan` is
 * what made this one.
 */
export function planAlternatives(
  inputs: PlanInputs,
  recipe: Recipe,
  asked: AskedBudget = { time: inputs.budgetMs },
  plan: (inputs: PlanInputs) => Recipe = planRecipe,
): Alternative[] {
  const instead = (
    change: Alternative['change'],
    title: string,
    how: string,
    changed: Partial<PlanInputs>,
  ): Instead => {
    const other = atPriceOf(recipe, planFitting({ ...inputs, ...changed }, plan));
    const gains = compare(recipe, other);
    const told = { change, title, how, figures: figuresOf(other), gain: gains.join(', ') };
    return { recipe: other, told, changes: gains.length > 1 || gains[0] !== sameLoss };
  };
  const timed = (title: string, factor: number) =>
    instead('time', title, budgetOf(asked, factor), { budgetMs: inputs.budgetMs * factor });
  // Less than that no pipeline file may ask for.
  const atLeast = (factor: number) => Math.max(factor, leastTimeMs / asked.time);
  const longer = timed('twice the time', 2);
  const times = differs(recipe, longer.recipe)
    ? [longer]
    : [
        timed('half the time', atLeast(0.5)),
        timed('half of what it takes', atLeast(halfOf(recipe, inputs, asked))),
      ];

  const other = (inputs.prefer ?? 'quality') === 'quality' ? 'size' : 'quality';
  const title = other === 'size' ? 'smaller, and quicker to answer' : 'the lowest expected loss';
  const preference = instead('prefer', title, `prefer: ${other}`, { prefer: other });
  const { cores } = inputs.machine;
  const priced = recipe.estimate.usd > 0 ? ', at the same price an hour' : '';
  const more = `a machine with twice the cores${priced}`;
  const machine = instead('machine', more, `${2 * cores} cores`, {
    machine: { ...inputs.machine, cores: 2 * cores },
  });
  const same = preference.recipe.numParameters === recipe.numParameters;
  const found = [times.find(({ changes }) => changes), same ? machine : preference];
  return found.flatMap((one) => (one?.changes === true ? [one.told] : []));
}

interface Instead {
  recipe: Recipe;
  told: Alternative;
  /** Whether anything differs that people compare plans by. */
  changes: boolean;
}

/** How a pipeline file asks for so many times the budget. */
function budgetOf({ time, usd }: AskedBudget, factor: number): string {
  return usd === undefined
    ? `budget: { time: ${duration(time * factor)} }`
    : `budget: { usd: ${Number((usd * factor).toFixed(2))} }`;
}

/** Of the budget, what gives half of the planned time, in whole seconds of what was asked for. */
function halfOf({ estimate }: Recipe, { budgetMs }: PlanInputs, { time }: AskedBudget): number {
  const wanted = (time * estimate.trainingMs) / 2 / budgetMs;
  return (Math.max(1, Math.round(wanted / 1000)) * 1000) / time;
}

/** A search for the rate that does not fit there is left out of it. */
function planFitting(inputs: PlanInputs, plan: (inputs: PlanInputs) => Recipe): Recipe {
  try {
    return plan(inputs);
  } catch (error) {
    if (!(error instanceof SweepDoesNotFit)) throw error;
    return plan({ ...inputs, sweep: undefined });
  }
}

function differs(recipe: Recipe, other: Recipe): boolean {
  const [tokens, more] = [figuresOf(recipe).numTokens, figuresOf(other).numTokens];
  return (
    recipe.estimate.finalLoss * (1 - noticeable) > other.estimate.finalLoss || more > tokens * 1.1
  );
}

const sameLoss = 'about the same expected loss';

/** E.g. `expected loss 6 % lower`, `training 98 % longer`; the loss first. */
function compare(recipe: Recipe, other: Recipe): [string, ...string[]] {
  const [here, there] = [figuresOf(recipe), figuresOf(other)];
  const loss = there.finalLoss / here.finalLoss - 1;
  const told: [string, ...string[]] = [
    Math.abs(loss) < noticeable ? sameLoss : `expected loss ${percent(loss, 'higher', 'lower')}`,
  ];
  const time = there.trainingMs / here.trainingMs - 1;
  if (Math.abs(time) >= 0.05) told.push(`training ${percent(time, 'longer', 'shorter')}`);
  const tokens = there.numTokens / here.numTokens - 1;
  if (Math.abs(tokens) >= 0.05) told.push(`${percent(tokens, 'more', 'fewer')} tokens trained on`);
  const size = there.bytes / here.bytes - 1;
  if (Math.abs(size) >= 0.01) {
    const work = answerFlops(other.model) / answerFlops(recipe.model) - 1;
    told.push(`model ${percent(size, 'larger', 'smaller')}`);
    told.push(`${percent(work, 'more', 'less')} work for a token ${workOf(recipe.model)}`);
  }
  if (there.usd !== here.usd) {
    const more = there.usd - here.usd;
    told.push(`$${Math.abs(more).toFixed(2)} ${more > 0 ? 'dearer' : 'cheaper'}`);
  }
  return told;
}

function percent(change: number, more: string, less: string): string {
  const amount = Math.abs(100 * change);
  return `${amount < 10 ? Number(amount.toFixed(1)) : Math.round(amount)} % ${change > 0 ? more : less}`;
}

/** As a pipeline file writes it. */
function duration(ms: number): string {
  if (ms < 1) return '1ms';
  const { amount, unit } = inWholeUnits(ms, 'ms');
  return `${amount}${unit}`;
}
