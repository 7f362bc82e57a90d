/**
 * What people tell a run while it goes. An order that cannot be obeyed is refused by its validator, with the
 * sentence that the person reads, and leaves no trace in the history.
 */
import { ApplicationFailure, condition, setHandler } from '@temporalio/workflow';
import { FailureType } from '../config/failures.ts';
import { approveUpdate, type Approval, type Told } from './messages.ts';
import type { StageBoard } from './stage-board.ts';

const maxNameLength = 100;
const maxReasonLength = 1000;

/** Listens for orders; what they change stands on the board. */
export function listenForOrders(board: StageBoard): void {
  const { status } = board;
  const { run } = status;

  setHandler(
    approveUpdate,
    (told) => {
      const approval: Approval = {
        ...status.approval!,
        approved: { ...told, at: Date.now() },
      };
      status.approval = approval;
      board.note(`${nameOf(approval)} was approved by ${describeTold(told)}`);
      return approval;
    },
    {
      validator(told) {
        requireTold(told);
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
  await condition(() => (status.approval?.approved ?? null) !== null);
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
