/** Everything that may be said to a run or asked of it, defined once and shared with the client. */
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { IngestResult } from '../config/ingest.ts';
import type { DeployOutcome, DeployRequest } from '../config/deployment.ts';
import type { EvaluationSummary } from '../config/manifests.ts';
import type { Pipeline } from '../config/pipeline.ts';
import type { Machine, MeasuredModel, Phase, Recipe } from '../config/recipe.ts';
import type { Source } from '../config/sources.ts';
import type { RungOutcome } from '../config/sweep.ts';

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
  /**
   * Digest of the corpus that a lost execution made, whatever has become of the files that it read; left out, or no
   * longer in the store, the documents are prepared now.
   */
  corpus?: string;
  /** The configuration that the pipeline file gives, as a lost execution measured it; left out, it is measured now. */
  given?: MeasuredModel;
  /** The model must not be worse on the held-out text than the one that it starts from. */
  challenge?: boolean;
  /** More budget for a run of this name that had ended: its training goes on from where it was ended. */
  added?: BudgetOrder;
  /** Version that must be champion still when the model is deployed; null: none may be. Left out, see `startFrom`. */
  follows?: number | null;
}

/** Left to a schedule: goes on from the champion when there is something new. */
export interface ContinuousInput {
  pipeline: Pipeline;
  baseDir: string;
  machine: Machine;
}

/** Documents that become a dataset version, without a run. */
export interface DatasetInput {
  name: string;
  sources: Source[];
  baseDir: string;
  /** The newest version that whoever asked has seen, to which the documents are added; 0: there is none yet. */
  onto: number;
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

/** What a person tells a run: who, and why if they say so. */
export interface Told {
  by: string;
  why: string | null;
}

/** A version that a person must approve before it is served. */
export interface Approval {
  model: string;
  version: number;
  /** Since when it has waited; milliseconds since the epoch, as below. */
  since: number;
  approved: (Told & { at: number }) | null;
}

/** A wish for the training at work: a factor of the rate that the recipe plans, or the peak itself. */
export type RateWish = Told & ({ factor: number } | { rate: number });

/** Machine time or dollars more; the other way by the price of the machine. */
export type BudgetOrder = Told & { timeMs?: number; usd?: number };

/** Machine time of a run, and what its budget allows. */
export interface BudgetTotals {
  spentMs: number;
  limitMs: number;
}

/** An order that was given; the trainer obeys it from the next step that nobody has passed. */
export interface RateOrder {
  order: number;
  phase: Phase;
  round: number;
  /** Factor on the planned rate. */
  scale: number;
  by: string;
}

export interface RunStatus {
  run: string;
  state: 'running' | 'finished' | 'failed' | 'cancelled';
  stages: StageStatus[];
  notes: RunNote[];
  recipe: Recipe | null;
  result: PipelineResult | null;
  failure: string | null;
  /** Left out where nothing had to be approved. */
  approval?: Approval;
  /** Every change of a learning rate that was ordered; left out where none was. */
  learningRates?: RateOrder[];
  /** What was decided of the learning rates that were tried; left out where none were. */
  sweep?: (RungOutcome & { phase: Phase; round: number; rung: number })[];
  /** Left out while it is not paused. */
  paused?: Told & { at: number };
  /** Since when it waits for more budget; left out while it does not. */
  waitsForBudget?: number;
}

/** What a run waits for that only a person can give, with the command that gives it; `stage`: that one alone waits. */
export function describeWaiting({
  run,
  state,
  approval,
  paused,
  waitsForBudget,
}: RunStatus): { stage: StageName | null; text: string }[] {
  if (state !== 'running') return [];
  const waiting: { stage: StageName | null; text: string }[] = [];
  if (paused !== undefined) {
    const since = new Date(paused.at).toISOString().slice(0, 16).replace('T', ' ');
    const why = paused.why === null ? '' : ` (${paused.why})`;
    const text = `paused by ${paused.by} since ${since} UTC${why}: npx temper unpause ${run}`;
    waiting.push({ stage: null, text });
  }
  if (waitsForBudget !== undefined) {
    const text = `its budget is spent; it goes on when more is added: npx temper budget add ${run} 30m`;
    waiting.push({ stage: null, text });
  }
  if (approval !== undefined && approval.approved === null) {
    const { model, version } = approval;
    const text = `waits for approval: npx temper approve ${model}@${version}`;
    waiting.push({ stage: 'deploy', text });
  }
  return waiting;
}

export const runStatusQuery = defineQuery<RunStatus>('runStatus');

/** A child workflow tells its pipeline what must stay visible: a lost worker, a resume. */
export const runNoteSignal = defineSignal<[{ text: string }]>('runNote');
/** A training that waits before it tries again waits no longer: the run was unpaused. */
export const unpausedSignal = defineSignal('unpaused');
/** A training that waits because its budget is spent looks whether it may go on: something was added. */
export const budgetAddedSignal = defineSignal('budgetAdded');
/** A training tells its pipeline that it waits for more budget, or that it goes on. */
export const budgetWaitSignal = defineSignal<[{ waits: boolean }]>('budgetWait');

/** A trial tells its run that it has a host, so that the next one may ask for another. */
export const trialLeasedSignal = defineSignal<[{ trial: number }]>('trialLeased');
/** A trial that waits for a host asks again: another one has given its host back. */
export const hostFreedSignal = defineSignal('hostFreed');

/** Lets the version that waits for a person be served; refused with a sentence when nothing waits. */
export const approveUpdate = defineUpdate<Approval, [Told]>('approve');

/** A paused run starts no stage, and its training stands still with its bits kept; refused when it is paused already. */
export const pauseUpdate = defineUpdate<void, [Told]>('pause');
/** Lets a paused run go on; refused when it is not paused. */
export const unpauseUpdate = defineUpdate<void, [Told]>('unpause');

/** Adds to the budget that is held; refused where none is, or where it ends nothing. */
export const addBudgetUpdate = defineUpdate<BudgetTotals, [BudgetOrder]>('addBudget');

/** Changes the learning rate of the training at work; refused when nothing trains. */
export const setLearningRateUpdate = defineUpdate<RateOrder, [RateWish]>('setLearningRate');

/** Promotes and deploys a version, or rolls back to one: one path for both. */
export const deployVersionUpdate = defineUpdate<DeployOutcome, [DeployRequest]>('deployVersion');

/** Workflow ids, which say what they are. */
export const workflowId = {
  pipeline: (run: string) => `pipeline/${run}`,
  preprocess: (run: string) => `preprocess/${run}`,
  training: (run: string, phase: string, round: number) => `training/${run}/${phase}/${round}`,
  /** One of several that are tried; the one that is left then trains under the id of the training. */
  trial: (run: string, phase: string, round: number, trial: number) =>
    `training/${run}/${phase}/${round}/${trial}`,
  deployment: (endpoint: string) => `deployment/${endpoint}`,
  dataset: (name: string) => `dataset/${name}`,
  /** A schedule appends the time of each start. */
  continuous: (schedule: string) => `continuous/${schedule}`,
  /** The daily sweep; its schedule appends the time of each start. */
  retention: 'retention',
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
