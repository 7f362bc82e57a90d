/** Returns to before a bad loss: which of those that were decided are in force, and how they are told. */
import type { DecidedRollback } from '../config/manifests.ts';
import type { Rollback, TrainerFault } from '../config/trainer.ts';

/** As a trainer reads them: a return to before an earlier one undoes that. */
export function rollbacksOf(decided: readonly DecidedRollback[]): Rollback[] {
  return decided
    .filter(({ step }, index) => decided.slice(index + 1).every((later) => later.step > step))
    .map(({ step, skippedTo, scale }) => ({ step, skippedTo, scale }));
}

/** How many batches lie behind after so many steps: those trained on, and those skipped. */
export function batchesDone(rollbacks: readonly Rollback[], step: number): number {
  const last = rollbacks.findLast((rollback) => rollback.step < step);
  return last === undefined ? step : last.skippedTo + step - last.step;
}

/** The batches that so many steps were trained on, by number: from `first`, up to `end` without it. */
export function batchesTrained(
  rollbacks: readonly Rollback[],
  steps: number,
): { first: number; end: number }[] {
  const returns = rollbacks.filter(({ step }) => step < steps);
  const starts = [{ step: 0, first: 0 }].concat(
    returns.map(({ step, skippedTo }) => ({ step, first: skippedTo })),
  );
  return starts
    .map(({ step, first }, index) => ({
      first,
      end: first + (starts[index + 1]?.step ?? steps) - step,
    }))
    .filter(({ first, end }) => end > first);
}

/** E.g. `batch 25 after step 20`. */
export function describeRollbacks(rollbacks: readonly Rollback[]): string {
  const told = rollbacks.map(({ step, skippedTo }) => `batch ${skippedTo} after step ${step}`);
  return told.length === 0 ? 'no return to an earlier step' : told.join(', ');
}

/** E.g. `loss 7.12 since step 31, at most 4.20 expected`. */
function describeFault({ kind, first, step, found, bound }: TrainerFault): string {
  if (found === null || bound === null)
    return `a loss or gradient at step ${step} that is no number`;
  const what = kind === 'spike' ? 'loss' : 'mean loss';
  return `${what} ${found.toFixed(2)} since step ${first}, at most ${bound.toFixed(2)} expected`;
}

/** E.g. `loss 7.12 …: taken back to step 30, on from batch 35 at ×0.5 of the rate`. */
export function describeRollback({
  step,
  skippedTo,
  scale,
  fault,
}: Pick<DecidedRollback, 'step' | 'skippedTo' | 'scale' | 'fault'>): string {
  return `${describeFault(fault)}: taken back to step ${step}, on from batch ${skippedTo} at ×${scale} of the rate`;
}
