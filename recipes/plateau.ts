/** When pretraining ends before its budget is spent: held-out text is measured more often, and says so. */
import type { PretrainRecipe, ReadingRecipe, Reason } from '../config/recipe.ts';

/** Each reads the held-out text once, so that all of them cost a few percent of the training. */
const numEvaluations = 10;
/** One in vain may be chance, or the last rise before the rate falls. */
const rule = { evaluations: 2, leastFall: 0.005 };

/** Steps between evaluations that look for one. */
export function plateauEverySteps(numSteps: number): number {
  return Math.max(10, Math.ceil(numSteps / numEvaluations));
}

/** The recipe, ended early where two evaluations of about ten in a row gain less than half a percent. */
export function endingOnPlateau(recipe: ReadingRecipe): ReadingRecipe {
  const { pretrain, reasons } = recipe;
  const evalEverySteps = plateauEverySteps(pretrain.numSteps);
  const ending: PretrainRecipe = { ...pretrain, evalEverySteps, plateau: rule };
  const reason: Reason = {
    choice: 'end',
    value: `after ${pretrain.numSteps} steps, or on a plateau`,
    reason: `where ${rule.evaluations} evaluations in a row lower the held-out loss by less than ${100 * rule.leastFall} %, the rate falls to zero over ${evalEverySteps} steps`,
    source: 'Prechelt 1998; Hägele et al. 2024',
  };
  return { ...recipe, pretrain: ending, reasons: [...reasons, reason] };
}
