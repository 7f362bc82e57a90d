/** By which code of the trainer a training was computed, where that is another than it began with: decided in the head. */
import { canonicalJson } from '../config/digest.ts';
import { headSchema, type Head, type TrainedBy } from '../config/manifests.ts';
import { updateRecord } from './json.ts';
import type { Store } from './store.ts';
import { endingOf, headKey, requireOurs, type TrialPath, type Writer } from './training.ts';

/**
 * Makes the code, and the instruction set, count by which a trainer goes on from a step. Another than before, or again the one that the training
 * began with (`isPlanned`), is noted with the step: from there on other bits may be computed, so that a checkpoint of a
 * later step, from before, is not gone on from. One that only makes the model of where the budget ended the training
 * computes none.
 */
export async function commitCode(
  store: Store,
  trial: TrialPath,
  writer: Writer,
  { isPlanned, ...here }: TrainedBy & { isPlanned: boolean },
): Promise<{ head: Head; isOther: boolean }> {
  const { step } = here;
  let isOther = false;
  const head = await updateRecord(store, headKey(trial), headSchema, (current) => {
    const found = requireOurs(trial, current, writer);
    const { codes: before = [], ...rest } = found;
    const goesOnFrom = (last: TrainedBy | undefined) =>
      last === undefined ? isPlanned : isSame(last, here);
    isOther = !goesOnFrom(before.at(-1));
    const earlier = before.filter((entry) => entry.step < step);
    const codes = goesOnFrom(earlier.at(-1)) ? earlier : [...earlier, here];
    const isNoted = canonicalJson(codes) === canonicalJson(before);
    if (isNoted || found.finished !== null || endingOf(found)?.step === step) {
      isOther = false;
      return found;
    }
    return {
      ...rest,
      chain: rest.chain.filter((entry) => entry.step <= step),
      ...(codes.length > 0 && { codes }),
    };
  });
  return { head, isOther };
}

function isSame(one: TrainedBy, other: TrainedBy): boolean {
  return one.code === other.code && one.instructionSet === other.instructionSet;
}
