/**
 * More budget for a run whose budget is held: recorded where the watchers of its trainers read it, then told to the
 * training that may wait for it.
 */
import {
  ApplicationFailure,
  getExternalWorkflowHandle,
  log,
  proxyActivities,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { RunControlActivities } from '../activities/run-control.ts';
import type { PhaseBudget } from '../activities/training-job.ts';
import { FailureType, nonRetryableErrorTypes } from '../config/failures.ts';
import { TaskQueue } from '../config/queues.ts';
import type { HeldBudget, Phase } from '../config/recipe.ts';
import {
  addBudgetUpdate,
  budgetAddedSignal,
  budgetWaitSignal,
  workflowId,
  type BudgetOrder,
  type BudgetTotals,
} from './messages.ts';
import { describeTold, requireTold } from './orders.ts';
import type { StageBoard } from './stage-board.ts';

const { recordBudget } = proxyActivities<RunControlActivities>({
  taskQueue: TaskQueue.control,
  summary: 'add to the budget',
  startToCloseTimeout: '60s',
  retry: { nonRetryableErrorTypes, initialInterval: '500ms', maximumInterval: '5s' },
});

/** What may still be added in one order: more is a slip of the keyboard. */
const mostMs = 365 * 86_400_000;
const mostUsd = 1e7;

/** Listens for more budget, and for the training that waits for it. */
export function listenForBudget(board: StageBoard): void {
  const { status } = board;
  let numOrders = 0;
  setHandler(budgetWaitSignal, ({ waits }) => {
    if (waits) status.waitsForBudget = Date.now();
    else delete status.waitsForBudget;
    board.refresh();
  });
  setHandler(
    addBudgetUpdate,
    async (order) => {
      numOrders += 1;
      const totals = await add(board, order, numOrders, requireHeld(board));
      await wakeTraining(board);
      return totals;
    },
    {
      validator(order) {
        requireOrder(order);
        requireHeld(board, order);
      },
    },
  );
}

/** Records what was added to a run that had ended, before its training goes on. */
export async function addAtStart(
  board: StageBoard,
  order: BudgetOrder,
  held: HeldBudget,
): Promise<void> {
  await add(board, order, 0, held);
}

async function add(
  board: StageBoard,
  order: BudgetOrder,
  number: number,
  held: HeldBudget,
): Promise<BudgetTotals> {
  const { run } = board.status;
  const { timeMs, usd, by, why } = order;
  const totals = await recordBudget({
    run,
    held,
    added: {
      id: `${workflowInfo().firstExecutionRunId}/${number}`,
      ...(timeMs !== undefined && { timeMs }),
      ...(usd !== undefined && { usd }),
      by,
      why,
      at: new Date(Date.now()).toISOString(),
    },
  });
  board.numAdded += 1;
  board.note(`${describeOrder(order)} added to the budget by ${describeTold(order)}`);
  return totals;
}

async function wakeTraining({ status: { run, recipe }, training }: StageBoard): Promise<void> {
  if (training === null || recipe === null) return;
  try {
    const id = workflowId.training(run, training, recipe.round);
    await getExternalWorkflowHandle(id).signal(budgetAddedSignal);
  } catch (failure) {
    // It has just ended.
    log.warn('training not woken', { run, reason: String(failure) });
  }
}

/** E.g. `30 min and $5`. */
function describeOrder({ timeMs, usd }: BudgetOrder): string {
  const time = timeMs === undefined ? [] : [`${Number((timeMs / 60_000).toFixed(2))} min`];
  const dollars = usd === undefined ? [] : [`$${usd}`];
  return [...time, ...dollars].join(' and ');
}

function requireOrder(order: BudgetOrder): void {
  requireTold(order);
  const { timeMs, usd } = order;
  const within = (value: number | undefined, most: number) =>
    value === undefined || (Number.isFinite(value) && value > 0 && value <= most);
  if (timeMs === undefined && usd === undefined) {
    throw refusal('budget: found nothing to add, expected a time, dollars or both.');
  }
  if (!within(timeMs, mostMs)) throw refusal(`budget: found ${timeMs} ms, expected at most 365d.`);
  if (!within(usd, mostUsd)) throw refusal(`budget: found $${usd}, expected at most $${mostUsd}.`);
}

/** What the recipe says of the budget; refuses where nothing holds it, or dollars buy no time. */
function requireHeld({ status: { run, recipe } }: StageBoard, order?: BudgetOrder): HeldBudget {
  if (recipe === null) {
    throw refusal(
      `run ${run} has no recipe yet, so its budget cannot be added to: ask again then.`,
    );
  }
  const { held } = recipe;
  if (held === undefined) {
    throw refusal(
      `run ${run} plans for its budget and is not ended by it: it goes on to its last planned step. ` +
        'budget.whenSpent: finish or wait, or dollars, hold one.',
    );
  }
  if (order?.usd !== undefined && held.usdPerHour === 0) {
    throw refusal(`run ${run} has no price of the machine: add time instead, such as 30m.`);
  }
  return held;
}

/** What one phase may spend. */
export function budgetOf(
  { timeMs, usd, usdPerHour, whenSpent, shares }: HeldBudget,
  phase: Phase,
): PhaseBudget {
  return { timeMs, usd, usdPerHour, whenSpent, share: shares[phase] ?? 1 };
}

function refusal(message: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(message, FailureType.InvalidConfig);
}
