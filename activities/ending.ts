/** With which checkpoint a training ends whose budget is spent: a pure function of what is recorded. */

/** What the held-out text said at a step; nats a token. */
export interface HeldOut {
  step: number;
  loss: number;
}

/**
 * The newest checkpoint, unless the held-out text has got less likely since an earlier one: a checkpoint after which
 * nothing was measured has trained longer, and is better for all that is known. Where no checkpoint was measured it
 * is the newest as well. Null: there is none.
 */
export function chooseEnding(
  checkpoints: readonly number[],
  measured: readonly HeldOut[],
): { step: number; reason: string } | null {
  const newest = checkpoints.toSorted((a, b) => a - b).at(-1);
  if (newest === undefined) return null;
  const known = measured.filter(({ step }) => step <= newest);
  const last = known.toSorted((a, b) => a.step - b.step).at(-1);
  const best = known
    .filter(({ step }) => checkpoints.includes(step))
    .toSorted((a, b) => a.loss - b.loss || b.step - a.step)[0];
  if (last === undefined) {
    return { step: newest, reason: 'the newest: no held-out text was measured' };
  }
  if (best !== undefined && last.step > best.step && last.loss > best.loss) {
    const loss = `${best.loss.toFixed(3)} nats a token`;
    return {
      step: best.step,
      reason: `the best on held-out text: ${loss}, and ${last.loss.toFixed(3)} at step ${last.step}`,
    };
  }
  return {
    step: newest,
    reason: 'the newest: held-out text has not got less likely since an earlier one',
  };
}
