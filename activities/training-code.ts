/**
 * By which code a training is computed. Its stage is named by the digest of the trainer's files when it began; a host
 * that starts a trainer later, after an upgrade or from another checkout, has other ones perhaps, or another processor.
 */
import { ApplicationFailure } from '@temporalio/activity';
import { PassingFailure } from '../config/failures.ts';
import { computesAs, type InstructionSet } from '../config/instruction-set.ts';
import type { Head } from '../config/manifests.ts';
import { commitCode } from '../registry/codes.ts';
import { livingHosts } from '../registry/hosts.ts';
import { stageDigest } from '../registry/stages.ts';
import type { Deps } from './deps.ts';
import { findInstructionSet } from './instruction-set.ts';
import { trainerCode } from './stage-records.ts';
import { hostPool, trainingJobSchema, type Generation, type TrainingJob } from './training-job.ts';

/** What decides the bits of a training: its digest names the stage. */
export function jobOf(
  deps: Deps,
  { recipe, shape, machine, corpus, init, rehearsal }: Omit<TrainingJob, 'trial'>,
) {
  return {
    recipe,
    shape,
    // The kind of device decides the bits; how many cores or gigabytes it has does not.
    device: {
      device: machine.device,
      instructionSet: machine.instructionSet,
      ...(machine.device === 'cuda' && machine.gpu && { gpu: machine.gpu.name }),
    },
    corpus,
    init,
    ...(rehearsal !== undefined && { rehearsal }),
    code: trainerCode(deps.projectDir),
  };
}

/** The code of this host, and whether it is the one that the stage is named by. */
function codeHere(deps: Deps, { job, stage }: Pick<Generation, 'job' | 'stage'>) {
  const kept = jobOf(deps, trainingJobSchema.parse(job));
  return { code: kept.code, isPlanned: stageDigest(kept) === stage };
}

/** An instruction set of the hosts of this generation that is not the planned one; none where all compute as planned. */
async function otherSet(
  deps: Deps,
  { job: { recipe, machine }, gang }: Generation,
): Promise<InstructionSet | undefined> {
  if (recipe.device === 'cuda') return undefined;
  const sets = [await (deps.findInstructionSet ?? findInstructionSet)()];
  if (gang !== undefined && gang.hosts.length > 1) {
    for (const report of await livingHosts(deps.store, hostPool, deps.now())) {
      if (report.instructionSet !== undefined && gang.hosts.includes(report.host))
        sets.push(report.instructionSet);
    }
  }
  return sets.toSorted().find((set) => !computesAs(set, machine.instructionSet));
}

/**
 * Makes it count that a trainer of this host goes on from a step; with what is to be told where another code does from
 * there on than did before.
 */
export async function decideCode(
  deps: Deps,
  generation: Generation,
  step: number,
): Promise<{ head: Head; told: string | null }> {
  const { job, fence, writer } = generation;
  const { code, isPlanned } = codeHere(deps, generation);
  const instructionSet = await otherSet(deps, generation);
  const { head, isOther } = await commitCode(
    deps.store,
    job.trial,
    { fence, writer },
    {
      step,
      code,
      ...(instructionSet && { instructionSet }),
      isPlanned: isPlanned && instructionSet === undefined,
    },
  );
  const name = isPlanned
    ? 'the code that it began with'
    : `other code of the trainer (${code.slice(0, 12)})`;
  const set = instructionSet === undefined ? '' : ` with the instruction set ${instructionSet}`;
  const exact = head.codes === undefined ? '' : ', so that it is not exact';
  const told = `from step ${step} on ${name} trains on host ${deps.host}${set}${exact}`;
  return { head, told: isOther ? told : null };
}

/** Ranks of one training run one code. */
export function requireSameCode(deps: Deps, generation: Generation, head: Head): void {
  const { code, isPlanned } = codeHere(deps, generation);
  const decided = head.codes?.at(-1)?.code;
  if (decided === undefined ? isPlanned : decided === code) return;
  throw ApplicationFailure.create({
    message:
      `host ${deps.host} has other code of the trainer (${code.slice(0, 12)}) than host ${head.gang?.hosts[0]}, which leads. ` +
      'Install the same version of Temper on both',
    type: PassingFailure.OtherCode,
  });
}
