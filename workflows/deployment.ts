/**
 * What one endpoint serves, for as long as it exists: promotions and rollbacks go through here, one
 * at a time. A version that a node refuses is taken back; champion becomes only what is served.
 */
import {
  ActivityFailure,
  allHandlersFinished,
  ApplicationFailure,
  condition,
  continueAsNew,
  proxyActivities,
  setHandler,
  TimeoutFailure,
  workflowInfo,
} from '@temporalio/workflow';
import type { ReleaseActivities } from '../activities/release.ts';
import type { DeployOutcome, DeployRequest } from '../config/deployment.ts';
import { FailureType, nonRetryableErrorTypes } from '../config/failures.ts';
import { TaskQueue } from '../config/queues.ts';
import { deployVersionUpdate } from './messages.ts';

export interface DeploymentInput {
  endpoint: string;
  /** What it serves, carried over when history starts anew. */
  serving?: DeployRequest;
}

const incurable = {
  nonRetryableErrorTypes,
  maximumInterval: '2s' as const,
};
const { declareVersion } = proxyActivities<ReleaseActivities>({
  taskQueue: TaskQueue.control,
  summary: 'declare the deployment',
  startToCloseTimeout: '30s',
  retry: incurable,
});
const { awaitConvergence } = proxyActivities<ReleaseActivities>({
  taskQueue: TaskQueue.control,
  summary: 'wait until every node serves it',
  startToCloseTimeout: '10m',
  heartbeatTimeout: '10s',
  retry: { ...incurable, maximumAttempts: 20 },
});
const { promoteModel } = proxyActivities<ReleaseActivities>({
  taskQueue: TaskQueue.control,
  summary: 'move the alias to what is served',
  startToCloseTimeout: '30s',
  retry: incurable,
});

export async function deploymentWorkflow(input: DeploymentInput): Promise<never> {
  let serving = input.serving;
  let last: Promise<unknown> = Promise.resolve();
  setHandler(deployVersionUpdate, async (request) => {
    // One at a time, in the order of arrival.
    const turn = last;
    const mine = turn.then(() => deploy(request));
    last = mine.catch(() => undefined);
    return await mine;
  });

  await condition(() => workflowInfo().continueAsNewSuggested && allHandlersFinished());
  return await continueAsNew<typeof deploymentWorkflow>({
    endpoint: input.endpoint,
    ...(serving && { serving }),
  });

  async function deploy(request: DeployRequest): Promise<DeployOutcome> {
    const outcome = await serve(request).catch((failure: unknown) => {
      // A version that came too late was not declared: what was served is served still.
      if (championMoved(failure) !== null) throw failure;
      return takeBack(request, failure);
    });
    await promoteModel(request).catch((failure: unknown) =>
      takeBack(request, failure, serving ?? championSince(request, failure)),
    );
    const { model, version, by, reason } = request;
    serving = { model, version, by, reason };
    return outcome;
  }

  /** The alias never moved to what was refused, so it names already what is served again. */
  async function takeBack(
    { model, version }: DeployRequest,
    failure: unknown,
    before = serving,
  ): Promise<never> {
    if (before === undefined) throw failure;
    const why = describeFailure(failure);
    await serve({ ...before, by: 'temper', reason: `${model}@${version} was taken back: ${why}` });
    serving = before;
    // Nothing is wrong with the version: its own sentence says what is.
    if (championMoved(failure) !== null) throw failure;
    throw ApplicationFailure.nonRetryable(
      `rolled back to ${before.model}@${before.version}: ${why}`,
      FailureType.ModelNotServable,
    );
  }

  async function serve(request: DeployRequest): Promise<DeployOutcome> {
    const startedAt = Date.now();
    const deployment = await declareVersion({ ...request, endpoint: input.endpoint });
    const { url } = await awaitConvergence(deployment);
    const { generation, bundle } = deployment;
    return { generation, bundle, url, convergedMs: Date.now() - startedAt };
  }
}

/** The failure that the champion is another one than the request expects; null for any other. */
function championMoved(failure: unknown): ApplicationFailure | null {
  const root = failure instanceof ActivityFailure ? failure.cause : failure;
  const moved = root instanceof ApplicationFailure && root.type === FailureType.ChampionMoved;
  return moved ? root : null;
}

/** What an endpoint that served nothing before serves instead of a version that came too late. */
function championSince({ model }: DeployRequest, failure: unknown): DeployRequest | undefined {
  const version: unknown = championMoved(failure)?.details?.[0];
  return typeof version === 'number' ? { model, version, by: '', reason: '' } : undefined;
}

function describeFailure(failure: unknown): string {
  const root = failure instanceof ActivityFailure ? failure.cause : failure;
  if (root instanceof TimeoutFailure) return 'the nodes did not serve it in time';
  return root instanceof Error ? root.message : String(root);
}
