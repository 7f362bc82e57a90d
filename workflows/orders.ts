/**
 * What people tell a run while it goes. An order that cannot be obeyed is refused by its validator, with the
 * sentence that the person reads, and leaves no trace in the history.
 */
import {
  ApplicationFailure,
  condition,
  getExternalWorkflowHandle,
  isCancellation,
  log,
  patched,
  proxyActivities,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { TrainedModel } from '../activities/training-job.ts';
import type { RunControlActivities } from '../activities/run-control.ts';
import { FailureType, nonRetryableErrorTypes } from '../config/failures.ts';
import type { RunControl } from '../config/manifests.ts';
import type { Phase } from '../config/recipe.ts';
import { TaskQueue } from '../config/queues.ts';
import { describeScale } from './describe.ts';
import {
  approveUpdate,
  pauseUpdate,
  setLearningRateUpdate,
  unpausedSignal,
  unpauseUpdate,
  workflowId,
  type Approval,
  type RateOrder,
  type RateWish,
  type Told,
} from './messages.ts';
import { rootMessage } from './root-message.ts';
import type { StageBoard } from './stage-board.ts';

const maxNameLength = 100;
const maxReasonLength = 1000;
const leastScale = 1e-4;
const mostScale = 100;

const { recordRunControl } = proxyActivities<RunControlActivities>({
  taskQueue: TaskQueue.control,
  summary: 'tell the trainer’s watcher',
  startToCloseTimeout: '60s',
  // An order that was accepted is obeyed when the store is back.
  retry: { nonRetryableErrorTypes, initialInterval: '500ms', maximumInterval: '5s' },
});

/** Listens for orders; what they change stands on the board. */
export function listenForOrders(board: StageBoard): void {
  const { status } = board;
  const { run } = status;
  const told = new WatchersNews(board);

  setHandler(
    pauseUpdate,
    (by) => {
      const at = Date.now();
      status.paused = { ...by, at };
      told.change({ paused: { ...by, at: new Date(at).toISOString() } });
      board.note(`paused by ${describeTold(by)}`);
    },
    {
      validator(by) {
        requireTold(by);
        if (status.paused === undefined) return;
        throw refusal(
          `run ${run} was paused already, by ${describeTold(status.paused)}. npx temper unpause ${run} lets it go on.`,
        );
      },
    },
  );

  setHandler(
    unpauseUpdate,
    (by) => {
      delete status.paused;
      told.change({ paused: null });
      board.note(`unpaused by ${describeTold(by)}`);
    },
    {
      validator(by) {
        requireTold(by);
        if (status.paused === undefined) throw refusal(`run ${run} is not paused.`);
      },
    },
  );

  setHandler(
    setLearningRateUpdate,
    (wish) => {
      const { phase, round, scale } = requireRate(board, wish);
      const { by, why } = wish;
      const earlier = status.learningRates ?? [];
      const ordered: RateOrder = { order: earlier.length + 1, phase, round, scale, by };
      status.learningRates = [...earlier, ordered];
      told.order({ ...ordered, why, at: new Date(Date.now()).toISOString() });
      const factor = describeScale(scale);
      board.note(`learning rate of ${phase} ${factor} ordered by ${describeTold({ by, why })}`);
      return ordered;
    },
    {
      validator(wish) {
        requireTold(wish);
        requireRate(board, wish);
      },
    },
  );

  setHandler(
    approveUpdate,
    (by) => {
      const approval: Approval = {
        ...status.approval!,
        approved: { ...by, at: Date.now() },
      };
      status.approval = approval;
      board.note(`${nameOf(approval)} was approved by ${describeTold(by)}`);
      return approval;
    },
    {
      validator(by) {
        requireTold(by);
        const { approval } = status;
        if (approval === undefined) {
          const stage = status.stages.findLast(({ state }) => state === 'running')?.name;
          const at = stage === undefined ? '' : `: it is at ${stage}`;
          throw refusal(
            `run ${run} waits for no approval${at}. A pipeline file asks for one with deploy.approval: required.`,
          );
        }
        if (approval.approved !== null) {
          throw refusal(
            `${nameOf(approval)} was approved already, by ${describeTold(approval.approved)}.`,
          );
        }
      },
    },
  );
}

/** A training that could not start during the pause waits long before it tries again. */
async function wakeTraining({
  status: { run, recipe },
  training,
  trials,
}: StageBoard): Promise<void> {
  const ids = [...trials];
  if (training !== null && recipe !== null) {
    ids.push(workflowId.training(run, training, recipe.round));
  }
  for (const id of ids) {
    try {
      await getExternalWorkflowHandle(id).signal(unpausedSignal);
    } catch (failure) {
      // It has just ended.
      log.warn('training not woken', { run, reason: String(failure) });
    }
  }
}

/** Brings the newest orders to the watchers' record, one write at a time: what is in between is superseded. */
class WatchersNews {
  readonly #board: StageBoard;
  readonly #run: string;
  #control: RunControl;
  #writing = false;
  #pauseRecorded = false;

  constructor(board: StageBoard) {
    this.#board = board;
    this.#run = board.status.run;
    const { firstExecutionRunId: id, startTime } = workflowInfo();
    this.#control = {
      schemaVersion: 1,
      execution: { id, startedAt: startTime.toISOString() },
      revision: 0,
      paused: null,
      learningRates: [],
    };
  }

  change(part: Partial<RunControl>): void {
    this.#control = { ...this.#control, ...part, revision: this.#control.revision + 1 };
    if (this.#writing) return;
    this.#writing = true;
    void this.#write();
  }

  order(order: RunControl['learningRates'][number]): void {
    this.change({ learningRates: [...this.#control.learningRates, order] });
  }

  async #write(): Promise<void> {
    try {
      for (let written = 0; written < this.#control.revision;) {
        const control = this.#control;
        await recordRunControl({ run: this.#run, control });
        written = control.revision;
        const goesOn = this.#pauseRecorded && control.paused === null;
        this.#pauseRecorded = control.paused !== null;
        if (goesOn && patched('unpause-wakes-training')) await wakeTraining(this.#board);
      }
    } catch (failure) {
      log.warn('orders not recorded', { run: this.#run, reason: String(failure) });
      if (!isCancellation(failure)) {
        this.#board.note(
          `what was asked of the run did not reach its trainer: ${rootMessage(failure)}`,
        );
      }
    } finally {
      this.#writing = false;
    }
  }
}

/** Says which orders came too late for the training that they were meant for. */
export function noteUnheeded(
  board: StageBoard,
  { phase, round }: { phase: Phase; round: number },
  { learningRates = [] }: TrainedModel,
): void {
  const obeyed = new Set(learningRates.map(({ order }) => order));
  for (const { order, scale, by, ...meant } of board.status.learningRates ?? []) {
    if (meant.phase !== phase || meant.round !== round || obeyed.has(order)) continue;
    board.note(
      `learning rate ${describeScale(scale)} of ${by} came too late: ${phase} had ended, its rate was as planned`,
    );
  }
}

/** Resolves when a person has approved the version; waits for as long as it takes. */
export async function untilApproved(
  board: StageBoard,
  model: { name: string; version: number },
): Promise<Told> {
  const { status } = board;
  status.approval = {
    model: model.name,
    version: model.version,
    since: Date.now(),
    approved: null,
  };
  board.refresh();
  await condition(
    () => (status.approval?.approved ?? null) !== null && status.paused === undefined,
  );
  return status.approval.approved!;
}

function nameOf({ model, version }: Approval): string {
  return `${model}@${version}`;
}

/** E.g. `ann: reviewed`. */
export function describeTold({ by, why }: Told): string {
  return why === null ? by : `${by}: ${why}`;
}

/** The training that a wish is for, and the factor that it means there. */
function requireRate(
  { status: { run, stages, recipe }, training: phase, trials }: StageBoard,
  wish: RateWish,
): { phase: Phase; round: number; scale: number } {
  const stage = stages.findLast(({ state }) => state === 'running')?.name;
  const planned = phase === null ? null : (recipe?.[phase] ?? null);
  if (trials.size > 0) {
    throw refusal(
      `run ${run} tries ${recipe?.sweep?.trials.length ?? 'several'} learning rates now, which another would spoil. Wait until one is left.`,
    );
  }
  if (phase === null || recipe === null || planned === null) {
    const at = stage === undefined ? 'between two stages' : `at ${stage}`;
    throw refusal(`run ${run} trains nothing now: it is ${at}, which has no learning rate.`);
  }
  const scale = 'factor' in wish ? wish.factor : wish.rate / planned.learningRate;
  if (!(scale >= leastScale && scale <= mostScale)) {
    const found = 'factor' in wish ? `${wish.factor}x` : String(wish.rate);
    throw refusal(
      `lr: found ${found}, expected ${leastScale}x to ${mostScale}x of the planned ${planned.learningRate}.`,
    );
  }
  return { phase, round: recipe.round, scale };
}

/** Refuses an order of nobody. */
export function requireTold({ by, why }: Told): void {
  if (typeof by !== 'string' || by.trim() === '' || by.length > maxNameLength) {
    throw refusal(`by: expected who says so, in 1 to ${maxNameLength} characters.`);
  }
  if (why !== null && (typeof why !== 'string' || why.length > maxReasonLength)) {
    throw refusal(`why: expected a reason of at most ${maxReasonLength} characters.`);
  }
}

function refusal(message: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(message, FailureType.InvalidConfig);
}
