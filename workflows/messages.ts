/** Everything that may be said to a run or asked of it, defined once and shared with the client. */
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { IngestResult } from '../config/ingest.ts';
import type { DeployOutcome, DeployRequest } from '../config/deployment.ts';
import type { EvaluationSummary } from '../config/manifests.ts';
import type { Pipeline } from '../config/pipeline.ts';
import type { Machine, Recipe } from '../config/recipe.ts';

export const stageNames = [
  'ingest',
  'preprocess',
  'plan',
  'pretrain',
  'evaluate-base',
  'fine-tune',
  'evaluate-tuned',
  'align',
  'evaluate',
  'deploy',
] as const;
export type StageName = (typeof stageNames)[number];

export interface StageStatus {
  name: StageName;
  state: 'waiting' | 'running' | 'done' | 'reused' | 'skipped' | 'failed';
  /** Milliseconds since the epoch, by the workflow's clock. */
  startedAt: number | null;
  endedAt: number | null;
  /** One line for people: counts, loss, gate results. */
  summary: string;
}

/** Something that happened and must stay visible: a lost worker, a resume, a failed gate. */
export interface RunNote {
  at: number;
  stage: StageName;
  text: string;
}

export interface PipelineInput {
  run: string;
  /** Parsed and resolved by the client; the first activity parses it again. */
  pipeline: Pipeline;
  /** Absolute folder that relative source paths start from. */
  baseDir: string;
  machine: Machine;
  /** What was read already, by whoever had to know whether there is anything new; left out, it is read now. */
  ingested?: IngestResult;
  /** The model must not be worse on the held-out text than the one that it starts from. */
  challenge?: boolean;
}

/** Left to a schedule: goes on from the champion when there is something new. */
export interface ContinuousInput {
  pipeline: Pipeline;
  baseDir: string;
  machine: Machine;
}

export interface ContinuousResult {
  outcome: 'nothing-new' | 'promoted' | 'kept';
  /** One sentence with the figures. */
  reason: string;
  /** The run that trained; null when none had to. */
  run: string | null;
  /** What is champion now. */
  champion: { name: string; version: number };
}

export interface RunDigests {
  tokenizer: string;
  /** SHA-256 of model.safetensors of the last phase. */
  weights: string;
  onnx: string;
  bundle: string;
}

export interface PipelineResult {
  run: string;
  model: { name: string; version: number; reused: boolean };
  digests: RunDigests;
  evaluations: { stage: StageName; evaluation: EvaluationSummary }[];
  endpoint: string | null;
  /** The champion that this model challenged, on the same held-out text. */
  rival?: { name: string; version: number; valBpb: number | null };
}

export interface RunStatus {
  run: string;
  state: 'running' | 'finished' | 'failed' | 'cancelled';
  stages: StageStatus[];
  notes: RunNote[];
  recipe: Recipe | null;
  result: PipelineResult | null;
  failure: string | null;
}

export const runStatusQuery = defineQuery<RunStatus>('runStatus');

/** A child workflow tells its pipeline what must stay visible: a lost worker, a resume. */
export const runNoteSignal = defineSignal<[{ text: string }]>('runNote');

/** Promotes and deploys a version, or rolls back to one: one path for both. */
export const deployVersionUpdate = defineUpdate<DeployOutcome, [DeployRequest]>('deployVersion');

/** Workflow ids, which say what they are. */
export const workflowId = {
  pipeline: (run: string) => `pipeline/${run}`,
  preprocess: (run: string) => `preprocess/${run}`,
  training: (run: string, phase: string, round: number) => `training/${run}/${phase}/${round}`,
  deployment: (endpoint: string) => `deployment/${endpoint}`,
  /** A schedule appends the time of each start. */
  continuous: (schedule: string) => `continuous/${schedule}`,
} as const;

/**
 * The run of a scheduled start, named by the schedule and the time that it meant, which Temporal appends to
 * the workflow's id: `policy-2026-11-22t03-00`, with seconds where somebody triggered it between two minutes.
 */
export function runOfStart(id: string, startTime: Date): string {
  const [, schedule, appended] =
    /^continuous\/(.*?)(?:-(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z)?$/.exec(id) ?? [];
  const at = appended ?? startTime.toISOString().slice(0, 19);
  return `${schedule ?? 'continuous'}-${at.toLowerCase().replace(/:00$/, '').replaceAll(':', '-')}`;
}

export type { TrainingProgress } from '../config/trainer.ts';
export type { DeployOutcome, DeployRequest } from '../config/deployment.ts';
