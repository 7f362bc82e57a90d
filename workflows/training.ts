/**
 * One phase of training: lease a host, open a generation, train, release. Whatever is lost (a
 * worker, the trainer, the host) opens the next generation, which adopts a living trainer or resumes
 * from the newest checkpoint. However it ends, no trainer is left running on a host that is given back.
 */
import {
  ActivityCancellationType,
  ActivityFailure,
  ApplicationFailure,
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  isCancellation,
  log,
  patched,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  sleep,
  TimeoutFailure,
  uuid4,
  workflowInfo,
} from '@temporalio/workflow';
import type { SweepActivities } from '../activities/sweep.ts';
import type { TrainActivities } from '../activities/train.ts';
import type { TrainerStart } from '../activities/trainer-start.ts';
import type {
  Generation,
  PhaseBudget,
  RungEnd,
  TrainedModel,
  TrainingJob,
} from '../activities/training-job.ts';
import { FailureType, nonRetryableErrorTypes, PassingFailure } from '../config/failures.ts';
import { gpuHostQueue, TaskQueue } from '../config/queues.ts';
import { hostWish, leaseGang, trainGang, type GangWish } from './gang.ts';
import { leaveHost, leasing, untilAnswered, type Outcome } from './leave-host.ts';
import {
  budgetAddedSignal,
  budgetWaitSignal,
  hostFreedSignal,
  runNoteSignal,
  trialLeasedSignal,
  unpausedSignal,
} from './messages.ts';

export type TrainingInput = Omit<TrainingJob, 'trial'> & {
  /** Ends the training; left out, nothing but its plan does. */
  budget?: PhaseBudget;
  /** What another job has trained under this name was made of a model that is superseded. */
  replaces?: boolean;
  run: string;
  round: number;
  trial: number;
  /** Id of the run's execution, whose orders are obeyed. */
  execution?: string;
  /** Several hosts; left out: one. */
  gang?: GangWish;
  /** The step at which its last rung as a trial ended. */
  from?: number;
};

/** One of several trainings that are tried: it ends its rung at this step. */
export type TrialInput = TrainingInput & { until: number };

/** Generations that may end without a new checkpoint before the run asks for help. */
const maxFruitlessGenerations = 8;
/** Seconds before the next generation: a fault that passes must not use up all of them at once. */
const pausesS = [1, 2, 5, 10, 20, 40, 60];
/** As `pausesS`, in a run that a person has paused: nothing is lost by waiting until it goes on. */
const pausedPausesS = [...pausesS, 300, 900, 3600];
/** A trainer that stood in a pause for so long was able to start. */
const ableMs = 60_000;
/** How long a run waits for room on a disk. */
const diskPatienceMs = 3_600_000;

const control = proxyActivities<TrainActivities>({
  taskQueue: TaskQueue.control,
  ...untilAnswered,
});

export async function trainingWorkflow(input: TrainingInput): Promise<TrainedModel> {
  return await train<TrainedModel>(
    input,
    (found) => found,
    async (host, watched) => {
      const { job, fence } = watched;
      const { watchTrainer } = proxyActivities<TrainActivities>({
        ...onHost(host),
        summary: `${job.trial.phase}: ${job.recipe.numSteps} steps, generation ${fence}`,
        ...watching,
      });
      return await watchTrainer(watched);
    },
  );
}

/** One rung of a trial: as a training, but it ends at a step, with the loss by which trials are compared. */
export async function trialWorkflow(input: TrialInput): Promise<RungEnd> {
  return await train<RungEnd>(
    input,
    () => null,
    async (host, watched) => {
      const { job, fence } = watched;
      const { watchTrial } = proxyActivities<SweepActivities>({
        ...onHost(host),
        summary: `${job.trial.phase}, trial ${job.trial.trial}: to step ${input.until}, generation ${fence}`,
        ...watching,
      });
      return await watchTrial(watched);
    },
  );
}

const watching = { startToCloseTimeout: '30d' } as const;

type Watch<Ended> = (host: string, watched: Generation & { start: TrainerStart }) => Promise<Ended>;

async function train<Ended>(
  input: TrainingInput & { until?: number },
  reuse: (found: TrainedModel) => Ended | null,
  watch: Watch<Ended>,
): Promise<Ended> {
  const { run, round, execution, gang, budget, replaces, from, until, ...rest } = input;
  const trial = { run, phase: input.recipe.phase, round, trial: input.trial };
  const job: TrainingJob = { ...rest, trial };
  const whose = { ...(execution !== undefined && { execution }), ...(budget && { budget }) };
  const waiting: Waiting = { freed: false };
  setHandler(hostFreedSignal, () => {
    waiting.freed = true;
  });
  let unpaused = false;
  setHandler(unpausedSignal, () => {
    unpaused = true;
  });
  let added = false;
  setHandler(budgetAddedSignal, () => {
    added = true;
  });
  const { stage, model } = await control.findTrainedModel(job);
  const reused = model && reuse(model);
  if (reused !== null) return reused;

  const losses = new Losses(trial.phase);
  const note = (text: string) => tell(until === undefined ? text : `trial ${trial.trial}: ${text}`);
  let generation: Generation | null = null;
  let after: string | undefined;
  let asked: string | undefined;
  let hosts: string[] = [];
  const leave = async (why: Outcome) => {
    await Promise.all(hosts.map((host) => leaveHost(host, generation, why, trial, asked)));
    hosts = [];
  };
  let outcome: Outcome = 'failed';
  try {
    for (;;) {
      if (gang === undefined) {
        const before = losses.hostIsGone ? null : (hosts[0] ?? null);
        hosts = [];
        let isOurs = before !== null;
        try {
          hosts = [
            await leaseHost(input, before, waiting, () => {
              isOurs = false;
            }),
          ];
        } catch (failure) {
          // Its trainer may still run: until another has it, the host is ours to leave.
          if (isOurs && patched('a-preferred-host-is-left')) hosts = [before!];
          throw failure;
        }
      } else {
        hosts = await leaseGang(input, hosts, () => leave('stands-down'));
      }
      if (until !== undefined) await tellLeased(trial.trial);
      const writer = uuid4();
      asked = writer;
      unpaused = false;
      added = false;
      const { fence, durableStep, paused } = await control.openTrainingGeneration({
        trial,
        stage,
        writer,
        ...whose,
        ...(replaces && { replaces }),
        ...(after !== undefined && { after }),
      });
      const first = generation === null;
      after = writer;
      generation = { job, stage, fence, writer, ...whose, ...(until !== undefined && { until }) };
      losses.requireProgress(durableStep, hosts.join(', '), paused ?? false);
      try {
        if (gang !== undefined) {
          const trained = await trainGang(hosts, generation, note, watch);
          outcome = 'trained';
          return trained;
        }
        const host = hosts[0]!;
        const start = await startTrainer(host, generation);
        // That a trial goes on from the end of its rung is no news.
        const isOnward = first && from !== undefined && start.resumedFrom === from;
        if (start.note !== null && !isOnward) await note(start.note);
        const trained = await watch(host, { ...generation, start });
        outcome = 'trained';
        return trained;
      } catch (failure) {
        if (isCancellation(failure)) throw failure;
        const loss = explainLoss(failure);
        const told = losses.add(loss, fence);
        log.warn('generation lost', { run, phase: trial.phase, fence, reason: losses.reason });
        if (told !== null) await note(told);
        if (loss.kind === 'host-leaving') {
          // Nothing runs on it any more: it is given back at once, and not asked again.
          const left = hosts.filter((host) => host === loss.host);
          await Promise.all(left.map((host) => leaveHost(host, null, 'stands-down', trial)));
          hosts = hosts.filter((host) => !left.includes(host));
        }
        if (losses.isBudgetSpent && budget?.whenSpent === 'wait') {
          await leave('waits');
          await tellWaiting(true);
          await condition(() => added);
          await tellWaiting(false);
        }
      }
      await condition(() => unpaused, `${losses.pauseS}s`);
    }
  } catch (failure) {
    if (isCancellation(failure)) outcome = 'cancelled';
    throw failure;
  } finally {
    await leave(outcome);
  }
}

/** Of a trial without a host. */
interface Waiting {
  /** Another has given one back meanwhile. */
  freed: boolean;
}

/** Leases a host: the one whose trainer may still run, if nobody else has it, else whichever is free. */
async function leaseHost(
  input: TrainingInput & { until?: number },
  preferred: string | null,
  waiting: Waiting,
  moveOn: () => void,
): Promise<string> {
  const { phase, unwatchedExitS } = input.recipe;
  const trial = { run: input.run, phase, round: input.round, trial: input.trial };
  const ask = { holder: workflowInfo().workflowId, unwatchedExitS, trial, ...hostWish(input) };
  if (preferred !== null) {
    const sameHost = proxyActivities<TrainActivities>({
      taskQueue: TaskQueue.control,
      summary: `lease host ${preferred} again`,
      ...leasing,
    });
    const { busy } = await sameHost.leaseHost({ ...ask, host: preferred });
    if (busy === null) return preferred;
    // Nobody has it: its trainer may still run.
    if (busy.lacks === undefined) moveOn();
  }
  const anyHost = proxyActivities<TrainActivities>({
    taskQueue: TaskQueue.gpu,
    summary: `lease a host for ${phase}`,
    ...leasing,
  });
  for (let waitedS = 0, pauseS = 1; ; pauseS = Math.min(60, 2 * pauseS)) {
    waiting.freed = false;
    const { host, busy } = await anyHost.leaseHost({ ...ask, host: null, waitedS });
    if (busy === null) {
      setCurrentDetails(`training on host ${host}`);
      return host;
    }
    setCurrentDetails(
      busy.lacks === undefined
        ? `waiting for host ${host}, which \`${busy.holder}\` has leased until ${busy.expiresAt} or longer`
        : `waiting for a host with ${busy.lacks}, as planned, which host ${host} has not`,
    );
    if (input.until === undefined) await sleep(`${pauseS}s`);
    else await condition(() => waiting.freed, `${pauseS}s`);
    waitedS += pauseS;
    // Whoever waits for days must not be ended by the length of his history.
    if (workflowInfo().continueAsNewSuggested) await continueAsNew<typeof trainingWorkflow>(input);
  }
}

interface Loss {
  /** Only a generation that could run and made no checkpoint is fruitless. */
  kind:
    | 'generation'
    | 'host-gone'
    | 'host-taken'
    | 'host-leaving'
    | 'disk-full'
    | 'other-code'
    | 'rolled-back'
    | 'halved'
    | 'budget-spent';
  reason: string;
  /** Which one leaves. */
  host?: string;
}

/** What was lost since the last new checkpoint, and whether it is time to give up. */
class Losses {
  readonly #phase: string;
  #last: Loss | null = null;
  #durableStep = 0;
  #number = 0;
  #fruitless = 0;
  #diskFullAt: number | null = null;
  #paused = false;
  #openedAt = 0;

  constructor(phase: string) {
    this.#phase = phase;
  }

  get reason(): string {
    return this.#last?.reason ?? '';
  }

  get hostIsGone(): boolean {
    return this.#last?.kind === 'host-gone';
  }

  get isBudgetSpent(): boolean {
    return this.#last?.kind === 'budget-spent';
  }

  get pauseS(): number {
    const pauses = this.#paused ? pausedPausesS : pausesS;
    return pauses[Math.min(this.#number, pauses.length) - 1] ?? 0;
  }

  /** Counts a loss; returns what an operator should read of it, null when that was said before. */
  add(loss: Loss, fence: number): string | null {
    const before = this.#last;
    this.#last = loss;
    // A decision, and bounded: neither a fault of the host nor a reason to wait.
    if (['rolled-back', 'halved', 'budget-spent'].includes(loss.kind)) return loss.reason;
    const lastedMs = Date.now() - this.#openedAt;
    if (this.#paused && loss.kind === 'generation' && lastedMs >= ableMs) this.#number = 0;
    this.#number += 1;
    if (loss.kind === 'generation') this.#fruitless += 1;
    const wasFull = this.#diskFullAt !== null;
    this.#diskFullAt = loss.kind === 'disk-full' ? (this.#diskFullAt ?? Date.now()) : null;
    if (loss.kind === 'other-code') {
      // It lasts until somebody has upgraded the other host, and is asked anew every minute.
      const wasOther = before?.kind === 'other-code' && before.reason === loss.reason;
      return wasOther ? null : `${loss.reason}; waiting until that is done`;
    }
    if (loss.kind !== 'disk-full') return `${loss.reason}; generation ${fence + 1} takes over`;
    return wasFull ? null : `${loss.reason}; waiting up to an hour for room`;
  }

  /** A new checkpoint pays for everything that was lost before it; without one the run gives up at some time. */
  requireProgress(durableStep: number, host: string, paused: boolean): void {
    const advanced = durableStep > this.#durableStep;
    // Nobody expects a checkpoint of what a person has paused, however often its worker is restarted.
    if (advanced || paused) {
      this.#fruitless = 0;
      this.#diskFullAt = null;
    }
    if (advanced || paused !== this.#paused) this.#number = 0;
    this.#durableStep = durableStep;
    this.#paused = paused;
    this.#openedAt = Date.now();
    if (this.#diskFullAt !== null && Date.now() - this.#diskFullAt >= diskPatienceMs) {
      throw ApplicationFailure.nonRetryable(
        `${this.reason}, then ${this.#adviceToStartAnew()}. There was no room for an hour.`,
        PassingFailure.DiskFull,
      );
    }
    if (this.#fruitless >= maxFruitlessGenerations) {
      throw ApplicationFailure.nonRetryable(
        `${this.#phase} made no checkpoint in ${maxFruitlessGenerations} generations, the last because ${this.reason}. ` +
          `Look at trainer.log in this run's folder on host ${host}, mend what it names, then ${this.#adviceToStartAnew()}.`,
        FailureType.TrainingStuck,
      );
    }
  }

  #adviceToStartAnew(): string {
    const lost = this.#durableStep === 0 ? '' : `, whose ${this.#durableStep} steps are lost to it`;
    return `run the pipeline under a new name: every finished stage is found again, only ${this.#phase} starts anew${lost}`;
  }
}

/** What is done once on a host: when it is lost, the next generation does it anew. */
function onHost(host: string) {
  return {
    taskQueue: gpuHostQueue(host),
    retry: { maximumAttempts: 1 },
    scheduleToStartTimeout: '5m',
    heartbeatTimeout: '15s',
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  } as const;
}

async function startTrainer(host: string, generation: Generation): Promise<TrainerStart> {
  const { prepareTrainer } = proxyActivities<TrainActivities>({
    ...onHost(host),
    summary: `${generation.job.trial.phase}: adopt or start the trainer, generation ${generation.fence}`,
    startToCloseTimeout: '10m',
  });
  return await prepareTrainer(generation);
}

/** Losses that another generation can cure become a sentence; what none can is thrown on. */
function explainLoss(failure: unknown): Loss {
  if (!(failure instanceof ActivityFailure)) throw failure;
  const { cause } = failure;
  if (cause instanceof ApplicationFailure) {
    const { message: reason, type } = cause;
    if (type === PassingFailure.DiskFull) return { kind: 'disk-full', reason };
    if (type === PassingFailure.OtherCode) return { kind: 'other-code', reason };
    if (type === PassingFailure.HostTaken) return { kind: 'host-taken', reason };
    if (type === PassingFailure.HostLeaving) {
      const [leaving] = (cause.details ?? []) as { host: string }[];
      return { kind: 'host-leaving', reason, ...(leaving && { host: leaving.host }) };
    }
    if (type === PassingFailure.RolledBack) return { kind: 'rolled-back', reason };
    if (type === PassingFailure.BudgetSpent) return { kind: 'budget-spent', reason };
    if (type === PassingFailure.MicroBatchHalved) return { kind: 'halved', reason };
    const incurable = cause.nonRetryable || nonRetryableErrorTypes.includes(type ?? '');
    if (incurable && type !== FailureType.Fenced) throw failure;
    return { kind: 'generation', reason };
  }
  if (cause instanceof TimeoutFailure) {
    return cause.timeoutType === 'SCHEDULE_TO_START'
      ? { kind: 'host-gone', reason: 'nobody answers on the host' }
      : { kind: 'generation', reason: `the gpu worker was lost (${cause.timeoutType} timeout)` };
  }
  return { kind: 'generation', reason: cause?.message ?? failure.message };
}

/** So that the run may start the next trial, which waits for a host of its own. */
async function tellLeased(trial: number): Promise<void> {
  const { parent } = workflowInfo();
  if (parent)
    await getExternalWorkflowHandle(parent.workflowId).signal(trialLeasedSignal, { trial });
}

async function tellWaiting(waits: boolean): Promise<void> {
  const { parent } = workflowInfo();
  if (parent)
    await getExternalWorkflowHandle(parent.workflowId).signal(budgetWaitSignal, { waits });
}

async function tell(text: string): Promise<void> {
  const { parent } = workflowInfo();
  if (parent) await getExternalWorkflowHandle(parent.workflowId).signal(runNoteSignal, { text });
}
