/** What is trained, and by whom: the shapes that the training activities and their workflow share. */
import { ApplicationFailure } from '@temporalio/activity';
import { z } from 'zod';
import { FailureType } from '../config/failures.ts';
import type { ModelManifest, TrainedBy, World } from '../config/manifests.ts';
import type { LeaseCost } from '../config/run-records.ts';
import type { MicroBatch, Rollback } from '../config/trainer.ts';
import {
  machineSchema,
  modelShapeSchema,
  phaseNames,
  phaseRecipeSchema,
  type HeldBudget,
} from '../config/recipe.ts';
import type { HostLease } from '../registry/leases.ts';

export { hostPool } from '../registry/hosts.ts';

const count = z.number().int().nonnegative();
export const trainingJobSchema = z.strictObject({
  trial: z.strictObject({
    run: z.string(),
    phase: z.enum(phaseNames),
    round: count,
    trial: count,
  }),
  recipe: phaseRecipeSchema,
  shape: modelShapeSchema,
  machine: machineSchema,
  /** Digest of the stage record of the corpus. */
  corpus: z.string(),
  /** The model to start from; null starts from random weights. */
  init: z.strictObject({ phase: z.enum(['import', ...phaseNames]), stage: z.string() }).nullable(),
  /** Digest of the stage record of the text that the base wrote, where the recipe rehearses it. */
  rehearsal: z.string().optional(),
});
export type TrainingJob = z.infer<typeof trainingJobSchema>;

/** One try at a job: whoever holds the highest fence may write. */
export interface Generation {
  job: TrainingJob;
  /** Digest under which the result is recorded. */
  stage: string;
  fence: number;
  writer: string;
  /** Id of the run's execution, whose orders this generation obeys; left out by older versions: whoever asked last. */
  execution?: string;
  /** The hosts that train together, the leading one first; left out: one host trains alone. */
  gang?: {
    hosts: string[];
    /** Every trainer of the last meeting lives, or the leading one has finished: they are gone on with. */
    adopt: boolean;
  };
  /** A trial ends its rung at this step; left out, it trains to the end. */
  until?: number;
  /** Ends the training; left out, nothing but its plan does. */
  budget?: PhaseBudget;
}

/** Where a trial stands at the end of its rung. */
export interface RungEnd {
  step: number;
  /** Nats a token of the held-out text. */
  loss: number;
  valBpb: number | null;
}

/** A held budget, with the share of what is left of it that this training may spend. */
export type PhaseBudget = Omit<HeldBudget, 'shares'> & { share: number };

export interface TrainedModel {
  phase: TrainingJob['trial']['phase'];
  /** Digest of the stage record, under the name of the phase. */
  stage: string;
  /** SHA-256 of model.safetensors. */
  weights: string;
  numSteps: number;
  numTokens: number;
  finalLoss: number;
  reused: boolean;
  /** Bits a byte of held-out text, where a base was adapted. */
  adapted?: { valBpbBefore: number; valBpb: number };
  /** Orders that were obeyed on the way; left out: none. */
  learningRates?: {
    /** Null: ordered in an earlier execution of the run, whose checkpoints this one went on from. */
    order: number | null;
    step: number;
    scale: number;
  }[];
  /** Returns to before a bad loss; left out: none. */
  rollbacks?: Rollback[];
  /** Smaller micro-batches for want of memory; left out: none. */
  microBatches?: MicroBatch[];
  /** Where its held-out loss fell no more, so that it ended before its planned last step. */
  plateau?: number;
  /** Numbers of hosts other than was planned, for which it is not exact; left out: none. */
  worlds?: World[];
  /** Code of the trainer other than it began with, for which it is not exact; left out: none. */
  codes?: TrainedBy[];
  /** The budget was spent at this step of so many planned. */
  ended?: { step: number; numSteps: number };
}

/** A host that was asked for. */
export interface LeasedHost {
  host: string;
  /** Who has it, and until when if nothing lengthens that lease; null when it is the asker's. */
  busy: {
    holder: string;
    expiresAt: string;
    /** It is free, but has not these GPUs or this instruction set, which the plan counts on, or it is about to leave. */
    lacks?: string;
  } | null;
}

export function summariseModel(stage: string, model: ModelManifest, reused: boolean): TrainedModel {
  const { phase, numSteps, numTokens, finalLoss, adapted, plateau, ended, worlds, codes } = model;
  const weights = model.files['model.safetensors'];
  if (weights === undefined) {
    throw ApplicationFailure.nonRetryable(
      `stages/${phase}/${stage}: found no model.safetensors among ${Object.keys(model.files).join(', ')}`,
      FailureType.ArtifactMismatch,
    );
  }
  return {
    phase,
    stage,
    weights: weights.sha256,
    numSteps,
    numTokens,
    finalLoss,
    reused,
    ...(adapted && { adapted }),
    ...(plateau && { plateau: plateau.step }),
    ...(worlds && { worlds }),
    ...(codes && { codes }),
    ...(ended && { ended }),
  };
}

/** A lease outlives an unwatched trainer, so that nobody is given a host on which one still runs. */
export function leaseTtlMs(unwatchedExitS: number): number {
  return (unwatchedExitS + 60) * 1000;
}

/** A lease of ours, as the cost of the run keeps it. */
export function costOf(
  { phase, round, trial }: TrainingJob['trial'],
  host: string,
  { fence, since, expiresAt }: HostLease,
  now: Date,
): LeaseCost {
  return { host, fence, phase, round, trial, since: since ?? now.toISOString(), until: expiresAt };
}

/** What the trainer ends with that no other generation can cure. */
export const incurable: readonly string[] = [
  FailureType.InvalidConfig,
  FailureType.InvalidCorpus,
  FailureType.CheckpointIncompatible,
  FailureType.TrainingDiverged,
  FailureType.OutOfMemory,
];
