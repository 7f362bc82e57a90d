/**
 * What people tell a run while it goes. An order that cannot be obeyed is refused by its validator, with the
 * sentence that the person reads, and leaves no trace in the history.
 */
import {
  ApplicationFailure,
  condition,
  log,
  proxyActivities,
  setHandler,
} from '@temporalio/workflow';
import type { RunControlActivities } from '../activities/run-control.ts';
import { FailureType, nonRetryableErrorTypes } from '../config/failures.ts';
import type { RunControl } from '../config/manifests.ts';
import { TaskQueue } from '../config/queues.ts';
import { approveUpdate, pauseUpdate, unpauseUpdate, type Approval, type Told } from './messages.ts';
import type { StageBoard } from './stage-board.ts';

const maxNameLength = 100;
const maxReasonLength = 1000;

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
  const told = new WatchersNews(run);

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

/** Brings the newest orders to the watchers' record, one write at a time: what is in between is superseded. */
class WatchersNews {
  readonly #run: string;
  #control: RunControl = { schemaVersion: 1, revision: 0, paused: null, learningRates: [] };
  #writing = false;

  constructor(run: string) {
    this.#run = run;
  }

  change(part: Partial<RunControl>): void {
    this.#control = { ...this.#control, ...part, revision: this.#control.revision + 1 };
    if (this.#writing) return;
    this.#writing = true;
    void this.#write();
  }

  async #write(): Promise<void> {
    try {
      for (let written = 0; written < this.#control.revision;) {
        const control = this.#control;
        await recordRunControl({ run: this.#run, control });
        written = control.revision;
      }
    } catch (failure) {
      // It was cancelled, and with it the run.
      log.warn('orders not recorded', { run: this.#run, reason: String(failure) });
    } finally {
      this.#writing = false;
    }
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

function requireTold({ by, why }: Told): void {
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
