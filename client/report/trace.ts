/** What is known of a run before the facts are joined: from Temporal's history, or from S3 alone. */
import type {
  BundleManifest,
  Evaluation,
  ModelManifest,
  ModelVersion,
  RateChange,
} from '../../config/manifests.ts';
import type { Pipeline } from '../../config/pipeline.ts';
import { phaseNames, type Machine, type Recipe } from '../../config/recipe.ts';
import type {
  RunNote,
  RunStatus,
  StageName,
  StageStatus,
  TrainingProgress,
} from '../../workflows/messages.ts';

export interface TracedModel {
  phase: string;
  round: number;
  /** Digest of the job: inputs, recipe, device, code. */
  stage: string | null;
  weights: string | null;
  numSteps: number;
  numTokens: number;
  finalLoss: number;
  reused: boolean;
  /** Changes of the rate that a person ordered, in order of their steps. */
  learningRates: RateChange[];
  /** Bits a byte of held-out text before and after; left out where no base model was adapted. */
  adapted?: ModelManifest['adapted'];
}

export interface TracedExport {
  phase: string;
  stage: string | null;
  bundle: string;
  onnx: string | null;
}

/** One try at a phase, which may go on still. */
export interface TracedTrial {
  phase: string;
  round: number;
}

export interface Trace {
  state: RunStatus['state'] | 'unknown';
  failure: string | null;
  startedAt: number | null;
  endedAt: number | null;
  pipeline: Pipeline | null;
  machine: Machine | null;
  dataset: { name: string; version: number; digest: string } | null;
  /** Digest of the stage record of the corpus. */
  corpus: string | null;
  corpusInferred: boolean;
  /** The version that was gone on from; `pretrain`: digest of the stage record of its pretraining, where it is known. */
  parent: { name: string; version: number; pretrain: string | null } | null;
  /** The model from elsewhere that was adapted; `stage`: digest of the record of its import, where it is known. */
  base: (NonNullable<ModelVersion['lineage']['base']> & { stage: string | null }) | null;
  /** Digest of the stage record of what it wrote, to rehearse while it learns; null where it is not known. */
  rehearsal: string | null;
  /** Digests of the stage records of the models that were measured as those to equal. */
  rivals: string[];
  /** Of the exports of those models. */
  rivalExports: string[];
  /** By round. */
  recipes: Recipe[];
  /** Gates that the model of a round did not pass, in words. */
  failedGates: { round: number; failures: string[] }[];
  trials: TracedTrial[];
  models: TracedModel[];
  exports: TracedExport[];
  evaluations: {
    stage: StageName;
    /** Digest of its stage record, which holds the samples that the history does not. */
    record: string | null;
    evaluation: Evaluation;
  }[];
  model: { name: string; version: number; reused: boolean } | null;
  bundle: { digest: string; manifest: BundleManifest } | null;
  endpoint: string | null;
  /** Empty where only S3 is left: when a stage began is not stored. */
  stages: StageStatus[];
  notes: RunNote[];
  /** Where the trainer is now; what S3 keeps of its curve lags by seconds to minutes. */
  training: TrainingProgress | null;
  missing: string[];
}

/** Of which nothing is known yet. */
export const nothingTraced = (): Trace => ({
  state: 'unknown',
  failure: null,
  startedAt: null,
  endedAt: null,
  pipeline: null,
  machine: null,
  dataset: null,
  corpus: null,
  corpusInferred: false,
  parent: null,
  base: null,
  rehearsal: null,
  rivals: [],
  rivalExports: [],
  recipes: [],
  failedGates: [],
  trials: [],
  models: [],
  exports: [],
  evaluations: [],
  model: null,
  bundle: null,
  endpoint: null,
  stages: [],
  notes: [],
  training: null,
  missing: [],
});

/** Phases in the order in which they are trained. */
export const phaseOrder: readonly string[] = phaseNames;

/** The evaluation that follows a phase. */
export const evaluationAfter: Record<string, StageName> = {
  pretrain: 'evaluate-base',
  sft: 'evaluate-tuned',
  dpo: 'evaluate',
  orpo: 'evaluate',
};
