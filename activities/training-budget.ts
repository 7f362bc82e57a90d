/**
 * Holds a training to its budget. What is spent is read from the leases that the run recorded; the trainer is told to
 * save and exit while there is still time for that, for the uploads and for the model that is made of the checkpoint.
 * The end is a decision in the head, so that whoever goes on from there ends at the same step.
 */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { ApplicationFailure } from '@temporalio/activity';
import { inHours } from '../config/durations.ts';
import { FailureType, PassingFailure } from '../config/failures.ts';
import type { Ending, Head } from '../config/manifests.ts';
import type { RunCost } from '../config/run-records.ts';
import type { TrainerEvent } from '../config/trainer.ts';
import { limitMs, openBudget, ownLimitMs, readCost, spentMs } from '../registry/costs.ts';
import {
  commitEnding,
  endingOf,
  readEvents,
  readHead,
  type Continued,
} from '../registry/training.ts';
import type { Deps } from './deps.ts';
import { chooseEnding } from './ending.ts';
import type { Generation, PhaseBudget, TrainingJob } from './training-job.ts';

/** Until they are measured, at most so long, and at most such a share of what the training may spend. */
const unknown = {
  start: { ms: 30_000, share: 0.1 },
  evaluation: { ms: 20_000, share: 0.05 },
  save: { ms: 5_000, share: 0.02 },
  upload: { ms: 5_000, share: 0.02 },
} as const;
/** Between the decision and the trainer's hearing of it, and as long again until the host is given back. */
const noticeMs = 1_500;
/** What is left must suffice for this much of what has been measured: the machine may be busier than it was. */
const caution = 1.5;

/** `3m 20s`: the time of machines as people read it. */
function describeMs(ms: number): string {
  const { h, m, s } = inHours(ms);
  const parts = [h > 0 ? `${h}h` : '', m > 0 ? `${m}m` : '', s > 0 || h + m === 0 ? `${s}s` : ''];
  return parts.filter((part) => part !== '').join(' ');
}

/** Less than this would start a trainer to end it again. */
const leastMs = 20_000;

type Timed = 'start' | 'evaluation' | 'save';

/** What one training has spent and may spend, and how long its end will take. */
export class TrainingBudget {
  readonly #generation: Generation;
  readonly #held: PhaseBudget;
  readonly #host: string;
  readonly #startedAt: number | null;
  #cost: RunCost;
  readonly #slowestMs: Partial<Record<Timed, number>> = {};
  #evaluationBegan: number | null = null;
  #saveBegan: number | null = null;
  #lastStep: { step: number; at: number } | null = null;
  readonly #recentMs: number[] = [];

  private constructor(
    generation: Generation,
    held: PhaseBudget,
    known: { host: string; cost: RunCost; startedAt: number | null },
  ) {
    this.#generation = generation;
    this.#held = held;
    this.#host = known.host;
    this.#cost = known.cost;
    this.#startedAt = known.startedAt;
  }

  /** Null for a training that no budget ends. */
  static async open(
    deps: Deps,
    generation: Generation,
    runDir: string,
  ): Promise<TrainingBudget | null> {
    const { budget, job } = generation;
    if (budget === undefined) return null;
    const cost = await openBudget(deps.store, job.trial, {
      execution: executionOf(generation),
      now: deps.now(),
    });
    // Written right before a trainer is started.
    const run = await stat(path.join(runDir, 'run.json')).catch(() => null);
    const known = { host: deps.host, cost, startedAt: run?.mtimeMs ?? null };
    return new TrainingBudget(generation, budget, known);
  }

  /** As the lease was lengthened last, with what was added meanwhile. */
  update(cost: RunCost | null): void {
    if (cost !== null) this.#cost = cost;
  }

  /** Learns from the trainer's own times how long each kind of work takes. */
  see(event: TrainerEvent): void {
    const at = event.at * 1000;
    if (event.event === 'working') {
      if (event.what === 'evaluating') this.#evaluationBegan ??= at;
      return;
    }
    if (event.event === 'start' && this.#startedAt !== null)
      this.#took('start', this.#startedAt, at);
    if (event.event === 'eval') {
      this.#took('evaluation', this.#evaluationBegan, at);
      this.#evaluationBegan = null;
    }
    if (event.event === 'save_started') this.#saveBegan = at;
    if (event.event === 'checkpoint') {
      this.#took('save', this.#saveBegan, at);
      this.#saveBegan = null;
    }
    if (event.event !== 'step') {
      this.#lastStep = null;
      return;
    }
    if (this.#lastStep?.step === event.step - 1) this.#recentMs.push(at - this.#lastStep.at);
    if (this.#recentMs.length > 50) this.#recentMs.shift();
    this.#lastStep = { step: event.step, at };
    this.#step = event.step;
  }
  #step = 0;

  #took(what: Timed, began: number | null, ended: number): void {
    if (began === null) return;
    this.#slowestMs[what] = Math.max(this.#slowestMs[what] ?? 0, ended - began);
  }

  /** The run's machine time, and its limit. */
  totals(now: Date): { spentMs: number; limitMs: number } {
    const cost = this.#untilNow(now);
    return { spentMs: spentMs(cost, now), limitMs: limitMs(boundsOf(this.#held), cost) };
  }

  /** Machine time that is left to this training. */
  leftMs(now: Date): number {
    const cost = this.#untilNow(now);
    const { trial } = this.#generation.job;
    const place = { ...trial, execution: executionOf(this.#generation), share: this.#held.share };
    return ownLimitMs(boundsOf(this.#held), cost, place) - spentMs(cost, now, trial);
  }

  /** Our lease is lengthened in the background: while we watch, it has not ended, whatever its record says. */
  #untilNow(now: Date): RunCost {
    const { phase, round, trial } = this.#generation.job.trial;
    const last = this.#cost.leases.findLastIndex(
      (lease) =>
        lease.host === this.#host &&
        lease.phase === phase &&
        lease.round === round &&
        lease.trial === trial,
    );
    const leases = this.#cost.leases.map((lease, index) =>
      index === last && Date.parse(lease.until) < now.getTime()
        ? { ...lease, until: now.toISOString() }
        : lease,
    );
    return { ...this.#cost, leases };
  }

  #ms(what: keyof typeof unknown, measured: number | null | undefined, now: Date): number {
    if (measured != null) return measured;
    const cost = this.#untilNow(now);
    const { trial } = this.#generation.job;
    const all = this.leftMs(now) + spentMs(cost, now, trial);
    return Math.min(unknown[what].ms, Math.max(0, all) * unknown[what].share);
  }

  /** From the decision until the newest checkpoint counts. */
  #stopMs(uploadMs: number | null, now: Date): number {
    const { evaluation, save } = this.#slowestMs;
    const [saving, uploading] = [this.#ms('save', save, now), this.#ms('upload', uploadMs, now)];
    // It hears of it between two steps; an evaluation may be under way.
    return noticeMs + Math.max(0, ...this.#recentMs, evaluation ?? 0) + saving + uploading;
  }

  /** From there until the host is given back: another trainer makes the model of the checkpoint. */
  #finishMs(uploadMs: number | null, now: Date): number {
    if (this.#held.whenSpent === 'wait') return noticeMs;
    const { start, evaluation } = this.#slowestMs;
    return (
      this.#ms('start', start, now) +
      this.#ms('upload', uploadMs, now) +
      this.#evaluateMs(evaluation, now) +
      noticeMs
    );
  }

  #evaluateMs(evaluation: number | undefined, now: Date): number {
    const { recipe } = this.#generation.job;
    if (recipe.phase !== 'pretrain') return 0;
    // An adapted base is measured with its adapters and without.
    return this.#ms('evaluation', evaluation, now) * (recipe.lora === undefined ? 1 : 2);
  }

  /** Whether it reaches its planned end within what is left. */
  #endsAsPlanned(uploadMs: number | null, now: Date): boolean {
    if (this.#recentMs.length === 0) return false;
    const { recipe } = this.#generation.job;
    const mean = this.#recentMs.reduce((sum, ms) => sum + ms, 0) / this.#recentMs.length;
    const { save, evaluation } = this.#slowestMs;
    const end =
      (recipe.numSteps - this.#step) * mean +
      this.#ms('save', save, now) +
      2 * this.#ms('upload', uploadMs, now) +
      this.#evaluateMs(evaluation, now) +
      noticeMs;
    return caution * end <= this.leftMs(now);
  }

  /** Whether the trainer must be told to save and exit, or it will have spent more than it may. */
  isDue(now: Date, uploadMs: number | null): boolean {
    const reserve = caution * (this.#stopMs(uploadMs, now) + this.#finishMs(uploadMs, now));
    return this.leftMs(now) <= reserve && !this.#endsAsPlanned(uploadMs, now);
  }

  /** When the trainer has to end by itself, should nobody be there to tell it; Unix seconds. */
  stopAt(now: Date, uploadMs: number | null): number {
    const planned = this.#endsAsPlanned(uploadMs, now);
    const after = planned ? 0 : this.#finishMs(uploadMs, now);
    const left = this.leftMs(now) - caution * (this.#stopMs(uploadMs, now) + after);
    // To five seconds: the file is not written anew at each tick.
    return Math.floor((now.getTime() + left) / 5000) * 5;
  }
}

/** A budget by itself, without what one training may spend of it. */
function boundsOf({ timeMs, usd, usdPerHour }: PhaseBudget) {
  return { timeMs, usd, usdPerHour };
}

/** Of an older version there is no budget, nor a name of the execution. */
function executionOf({ execution = 'unnamed' }: Pick<Generation, 'execution'>): string {
  return execution;
}

/** Where a training has ended whose budget has grown since: when it goes on; undefined elsewhere. */
export async function continuedSince(
  { store, now }: Deps,
  { trial, stage, budget }: { trial: TrainingJob['trial']; stage: string; budget?: PhaseBudget },
): Promise<Continued | undefined> {
  if (budget === undefined) return undefined;
  const head = (await readHead(store, trial))?.value;
  const ending = head?.stage === stage ? endingOf(head) : undefined;
  if (ending === undefined) return undefined;
  const cost = await readCost(store, trial.run);
  const limit = limitMs(boundsOf(budget), cost);
  const isMore = limit > ending.limitMs && limit - spentMs(cost, now()) >= leastMs;
  return isMore ? { ending, at: now().toISOString() } : undefined;
}

/** The passing failure that says so: the workflow waits, or has the model made. */
export function budgetSpent(message: string): ApplicationFailure {
  return ApplicationFailure.create({ message, type: PassingFailure.BudgetSpent });
}

/**
 * Ends a training whose budget is spent. Where the run is to wait it throws that it is spent; else the end is in the
 * head that it returns.
 */
export async function endTraining(
  deps: Deps,
  generation: Generation,
  budget: TrainingBudget,
): Promise<{ head: Head; ending: Ending; text: string }> {
  const { store } = deps;
  const { job, fence, writer } = generation;
  const { trial } = job;
  const now = deps.now();
  const totals = budget.totals(now);
  const told = `the budget is spent: ${describeMs(totals.spentMs)} of ${describeMs(totals.limitMs)} of machine time`;
  const head = (await readHead(store, trial))?.value;
  const newest = head?.chain.at(-1)?.step;
  if (generation.budget?.whenSpent === 'wait') {
    throw budgetSpent(
      `${told}; ${trial.phase} waits at step ${newest ?? 0} of ${job.recipe.numSteps}`,
    );
  }
  const measured = (await readEvents(store, trial)).flatMap((line) => {
    const event = line as { event?: string; step?: number; val_loss?: number };
    if (event.event !== 'eval' || event.step === undefined || event.val_loss === undefined)
      return [];
    return [{ step: event.step, loss: event.val_loss }];
  });
  const chosen = chooseEnding(head?.chain.map(({ step }) => step) ?? [], measured);
  if (chosen === null || newest === undefined) {
    throw ApplicationFailure.nonRetryable(
      `${told}, and ${trial.phase} has made no checkpoint that a model could be made of. ` +
        `Add to it: npx temper budget add ${trial.run} 30m`,
      FailureType.BudgetExhausted,
    );
  }
  const decision = { ...chosen, newest, ...totals, at: now.toISOString() };
  const ended = await commitEnding(store, trial, { fence, writer }, decision);
  const ending = endingOf(ended);
  // Only of a head that has finished, which the next generation finds.
  if (ending === undefined)
    throw new Error(`${trial.phase} had finished when its budget was spent`);
  const text = `${told}; ${trial.phase} ends with the checkpoint of step ${ending.step} of ${job.recipe.numSteps} (${ending.reason})`;
  return { head: ended, ending, text };
}
