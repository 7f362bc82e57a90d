/**
 * Decides where a training goes on whose loss went wrong: a pure function of what was found, the recipe and the
 * returns before, so that the same run decides the same, wherever it was killed.
 */
import type { DecidedRollback } from '../config/manifests.ts';
import type { TrainerFault } from '../config/trainer.ts';
import { rollbacksOf } from '../registry/rollbacks.ts';

/** At an eighth of its rate a training that still goes wrong has another fault. */
const maxRollbacks = 3;
/** Lower rates and an earlier checkpoint are what OPT-175B (Zhang et al. 2022, 2.5) recovered by. */
const factor = 0.5;

/**
 * The newest planned checkpoint before the first step that shows the fault; one more back where not a step went well
 * since the last return there, for then that one may be spoilt itself. What was read meanwhile is skipped, as PaLM
 * (Chowdhery et al. 2022, 5.1) skipped the batches before and during a spike. Null: it was tried often enough.
 */
export function decideRollback(
  fault: TrainerFault,
  { saveEverySteps }: { saveEverySteps: number },
  before: readonly DecidedRollback[],
): Omit<DecidedRollback, 'fence' | 'at'> | null {
  if (before.length >= maxRollbacks) return null;
  const good = fault.first - 1;
  const newest = good - (good % saveEverySteps);
  const last = before.at(-1);
  const spoilt = last?.step === good && newest === good;
  const step = spoilt ? Math.max(0, newest - saveEverySteps) : newest;
  const inForce = rollbacksOf(before).findLast((rollback) => rollback.step < fault.step);
  const read = inForce === undefined ? 0 : inForce.skippedTo - inForce.step;
  return { step, skippedTo: fault.step + read, scale: (last?.scale ?? 1) * factor, fault };
}
