/** What a person tells a run while it goes; the run refuses what it cannot obey, with a sentence. */
import {
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  type Client,
} from '@temporalio/client';
import type { UpdateDefinition } from '@temporalio/common';
import { getModel } from '../registry/models.ts';
import type { Store } from '../registry/store.ts';
import {
  addBudgetUpdate,
  approveUpdate,
  pauseUpdate,
  runStatusQuery,
  setLearningRateUpdate,
  unpauseUpdate,
  workflowId,
  type Approval,
  type BudgetOrder,
  type BudgetTotals,
  type PipelineInput,
  type RateOrder,
  type RateWish,
  type RunStatus,
  type Told,
} from '../workflows/messages.ts';
import { ClientError, rootMessage } from './errors.ts';
import { parseModelReference, type Models } from './models.ts';
import { modelAttribute } from '../workflows/search-attributes.ts';

export interface BudgetAnswer extends BudgetTotals {
  run: string;
  /** It had ended, and goes on in a new execution of the same name. */
  continued: boolean;
}

export interface Orders {
  /** More budget for a run whose budget is held; one that it had ended goes on from its newest checkpoint. */
  addBudget(run: string, order: BudgetOrder): Promise<BudgetAnswer>;
  /** Lets a version be served that waits for a person; `policy@2`, or the name of the run that made it. */
  approve(reference: string, told: Told): Promise<Approval & { run: string }>;
  /** Its training stands still at the next step, saved; no further stage starts. Without a time limit. */
  pause(run: string, told: Told): Promise<void>;
  unpause(run: string, told: Told): Promise<void>;
  /** For the training at work, from the next step that nobody has passed. */
  setLearningRate(run: string, wish: RateWish): Promise<RateOrder>;
}

export interface OrdersOptions {
  client: Client;
  store: () => Store;
  models: Models;
  /** Starts a run again under its name, though it had finished. */
  start(input: PipelineInput): Promise<unknown>;
  /** Rethrows; an unknown run becomes a sentence that names the nearest one. */
  explain(run: string, error: unknown): Promise<never>;
}

/** For a control worker that does not answer. */
const patienceMs = 15_000;

export function openOrders(options: OrdersOptions): Orders {
  const { client, store, models } = options;
  const explain = (run: string, error: unknown) => options.explain(run, error);
  /** Tells a run that goes; `whenEnded` may say more of one that has ended than that. */
  const tell = async <Result, Args extends [unknown, ...unknown[]]>(
    run: string,
    update: UpdateDefinition<Result, Args>,
    args: Args,
    whenEnded?: (status: RunStatus) => string | null,
  ): Promise<Result> => {
    const handle = client.workflow.getHandle(workflowId.pipeline(run));
    const description = await handle.describe().catch((error: unknown) => explain(run, error));
    if (description.status.name !== 'RUNNING') {
      const status = await statusOf(client, run);
      const more = (status && whenEnded?.(status)) ?? null;
      const state = description.status.name === 'COMPLETED' ? 'finished' : null;
      const how = state ?? description.status.name.toLowerCase();
      throw new ClientError(
        'input',
        more ?? `run ${run} has ended (${how}): nothing is left to ${update.name}.`,
      );
    }
    try {
      return await client.connection.withDeadline(Date.now() + patienceMs, () =>
        handle.executeUpdate(update, { args }),
      );
    } catch (error) {
      if (error instanceof WorkflowUpdateFailedError) {
        throw new ClientError('input', rootMessage(error), error);
      }
      if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) {
        throw new ClientError(
          'unreachable',
          `run ${run} did not answer within ${patienceMs / 1000} s: is the control worker up? npx temper status shows the parts. Ask again then.`,
          error,
        );
      }
      return explain(run, error);
    }
  };

  const approveRun = async (run: string, told: Told) => {
    const approval = await tell(run, approveUpdate, [told], (status) => {
      const { approval: found, state } = status;
      if (found === undefined) return null;
      const name = `${found.model}@${found.version}`;
      return found.approved === null
        ? `${name} waits no more: run ${run} has ended (${state}). npx temper models promote ${name} serves it.`
        : `${name} was approved already, by ${found.approved.by}, and run ${run} has ended (${state}).`;
    });
    return { run, ...approval };
  };

  return {
    pause: (run, told) => tell(run, pauseUpdate, [told]),
    setLearningRate: (run, wish) => tell(run, setLearningRateUpdate, [wish]),
    unpause: (run, told) => tell(run, unpauseUpdate, [told]),

    async addBudget(run, order) {
      const handle = client.workflow.getHandle(workflowId.pipeline(run));
      const { status } = await handle.describe().catch((error: unknown) => explain(run, error));
      if (status.name === 'RUNNING') {
        return { run, ...(await tell(run, addBudgetUpdate, [order])), continued: false };
      }
      // Loaded by those alone who need it: it reads more of the registry than a client does.
      const { continuationOf, readBudget } = await import('./budget.ts');
      const input = await continuationOf(store(), run, order);
      const before = await readBudget(store(), run, new Date());
      await options.start(input);
      const { spentMs = 0, limitMs, usdPerHour = 0 } = before ?? {};
      const bought = usdPerHour === 0 ? 0 : ((order.usd ?? 0) / usdPerHour) * 3_600_000;
      const more = (order.timeMs ?? 0) + Math.floor(bought);
      return { run, spentMs, limitMs: (limitMs ?? 0) + more, continued: true };
    },

    async approve(reference, told) {
      if (!reference.includes('@')) return approveRun(reference, told);
      const { name, version } = parseModelReference(reference);
      const waiting = await runsThatWait(client, name, version);
      if (waiting.length > 1) {
        throw new ClientError(
          'input',
          `${reference}: ${waiting.length} runs wait for it (${waiting.join(', ')}). Approve one by its name: npx temper approve ${waiting[0]}`,
        );
      }
      if (waiting[0] !== undefined) return approveRun(waiting[0], told);
      // Says what is wrong with a model or a version that there is not.
      await models.show(reference);
      const run = (await getModel(store(), name, version!))?.lineage.run;
      return approveRun(run!, told);
    },
  };
}

/** What `lr=0.5x` and `lr=3e-4` mean: a factor of the planned rate, or the peak itself. */
export function parseRate(assignment: string): { factor: number } | { rate: number } {
  const match = /^lr=(\d+(?:\.\d+)?(?:e[+-]?\d+)?)(x?)$/i.exec(assignment);
  if (match === null) {
    throw new ClientError(
      'input',
      `set: found ${JSON.stringify(assignment)}, expected lr=0.5x (half of the planned rate) or lr=3e-4 (the peak itself).`,
    );
  }
  const value = Number(match[1]);
  return match[2] === '' ? { rate: value } : { factor: value };
}

/** Runs at work whose version of this model waits for a person. */
async function runsThatWait(
  client: Client,
  name: string,
  version: number | null,
): Promise<string[]> {
  const query = `WorkflowType = 'pipelineWorkflow' AND ExecutionStatus = 'Running' AND ${modelAttribute.name} = '${name}'`;
  const found: string[] = [];
  for await (const info of client.workflow.list({ query })) {
    const run = info.workflowId.replace(/^pipeline\//, '');
    const approval = (await statusOf(client, run))?.approval;
    if (approval?.approved === null && approval.version === version) found.push(run);
  }
  return found.toSorted();
}

/** Null when no worker is there to be asked. */
async function statusOf(client: Client, run: string): Promise<RunStatus | null> {
  try {
    return await client.connection.withDeadline(Date.now() + patienceMs, () =>
      client.workflow.getHandle(workflowId.pipeline(run)).query(runStatusQuery),
    );
  } catch {
    return null;
  }
}
