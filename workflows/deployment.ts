/**
 * What one endpoint serves, for as long as it exists: promotions and rollbacks go through here, one
 * at a time. A version that no node can serve is taken back.
 */
import {
  allHandlersFinished,
  ApplicationFailure,
  condition,
  continueAsNew,
  proxyActivities,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { DeployOutcome, DeployRequest, ReleaseActivities } from '../activities/release.ts';
import type { Deployment } from '../config/manifests.ts';
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
const { promoteModel } = proxyActivities<ReleaseActivities>({
  taskQueue: TaskQueue.control,
  summary: 'move the alias, declare the deployment',
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
    const startedAt = Date.now();
    const deployment = await promoteModel({ ...request, endpoint: input.endpoint });
    try {
      const outcome = await converge(deployment, startedAt);
      serving = request;
      return outcome;
    } catch (failure) {
      if (serving === undefined) throw failure;
      const reason = `${request.model}@${request.version} did not converge`;
      const back = { ...serving, by: 'temper', reason };
      await converge(await promoteModel({ ...back, endpoint: input.endpoint }), startedAt);
      throw ApplicationFailure.create({
        message: `${reason}; rolled back to ${serving.model}@${serving.version}`,
        type: FailureType.ModelNotServable,
        nonRetryable: true,
        cause: failure as Error,
      });
    }
  }
}

async function converge(deployment: Deployment, startedAt: number): Promise<DeployOutcome> {
  const { url } = await awaitConvergence(deployment);
  const { generation, bundle } = deployment;
  return { generation, bundle, url, convergedMs: Date.now() - startedAt };
}
