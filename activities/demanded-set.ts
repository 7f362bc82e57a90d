/**
 * Whether a training is kept for hosts of the planned instruction set: as long as it has no checkpoint, for then all of
 * it can be exact, and there is such a host. Otherwise it goes on with another, and that is noted: a run must finish by
 * itself.
 */
import { computesAs, type InstructionSet } from '../config/instruction-set.ts';
import { livingHosts } from '../registry/hosts.ts';
import { readHead } from '../registry/training.ts';
import type { Deps } from './deps.ts';
import { hostPool, type TrainingJob } from './training-job.ts';

/** A host of that set that is only being restarted says so again by then. */
const patienceS = 300;

/** The set that a host must have; undefined: any will do. */
export async function demandedSet(
  { store, now }: Deps,
  {
    instructionSet,
    trial,
    numHosts = 1,
    waitedS = 0,
  }: {
    instructionSet?: InstructionSet;
    /** Left out by older versions. */
    trial?: TrainingJob['trial'];
    /** That must have it: only those with an address train together. */
    numHosts?: number;
    /** For a host. */
    waitedS?: number;
  },
): Promise<InstructionSet | undefined> {
  if (instructionSet === undefined || trial === undefined) return undefined;
  const head = (await readHead(store, trial))?.value;
  if (head !== undefined && head.chain.length > 0) return undefined;
  if (waitedS < patienceS) return instructionSet;
  const able = (await livingHosts(store, hostPool, now())).filter(
    (host) =>
      computesAs(host.instructionSet, instructionSet) &&
      (numHosts === 1 || host.address !== undefined),
  );
  return able.length < numHosts ? undefined : instructionSet;
}
