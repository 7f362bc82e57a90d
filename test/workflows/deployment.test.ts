import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { ApplicationFailure } from '@temporalio/activity';
import { WithStartWorkflowOperation, WorkflowUpdateFailedError } from '@temporalio/client';
import { Worker, type WorkflowBundle } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DeployOutcome, DeployRequest, ReleaseActivities } from '../../activities/release.ts';
import { FailureType } from '../../config/failures.ts';
import { deploymentWorkflow } from '../../workflows/deployment.ts';
import { deployVersionUpdate } from '../../workflows/messages.ts';
import { bundleWorkflows, startTimeSkipping } from '../support/temporal.ts';

let env: TestWorkflowEnvironment;
let workflowBundle: WorkflowBundle;
beforeAll(async () => {
  [env, workflowBundle] = await Promise.all([startTimeSkipping(), bundleWorkflows()]);
}, 60_000);
afterAll(async () => {
  await env.teardown();
});

/** A registry in memory: what was declared, and which versions no node can serve. */
function fakes(unservable: number[] = []) {
  const declared: number[] = [];
  const activities: Pick<ReleaseActivities, 'promoteModel' | 'awaitConvergence'> = {
    promoteModel: async ({ endpoint, model, version, reason }) => {
      declared.push(version);
      return {
        schemaVersion: 1,
        endpoint,
        generation: declared.length,
        model,
        version,
        bundle: String(version).repeat(64),
        declaredAt: new Date(0).toISOString(),
        reason,
      };
    },
    awaitConvergence: async ({ version }) => {
      if (unservable.includes(version)) {
        throw ApplicationFailure.nonRetryable(
          'the probe differs by 0.5',
          FailureType.ModelNotServable,
        );
      }
      return { url: 'http://127.0.0.1:1/' };
    },
  };
  return { activities, declared };
}

let id = 0;
async function deploy(
  activities: ReturnType<typeof fakes>['activities'],
  versions: number[],
): Promise<(DeployOutcome | Error)[]> {
  const worker = await Worker.create({
    connection: env.nativeConnection,
    workflowBundle,
    taskQueue: 'control',
    activities,
  });
  const endpoint = `endpoint-${++id}`;
  return await worker.runUntil(async () => {
    const outcomes = [];
    for (const version of versions) {
      const startWorkflowOperation = new WithStartWorkflowOperation(deploymentWorkflow, {
        workflowId: `deployment/${endpoint}`,
        taskQueue: 'control',
        args: [{ endpoint }],
        workflowIdConflictPolicy: 'USE_EXISTING',
      });
      const request: DeployRequest = { model: 'm', version, by: 'test', reason: 'because' };
      const outcome = env.client.workflow.executeUpdateWithStart(deployVersionUpdate, {
        args: [request],
        startWorkflowOperation,
      });
      outcomes.push(await outcome.catch((error: unknown) => error as Error));
    }
    await env.client.workflow.getHandle(`deployment/${endpoint}`).terminate();
    return outcomes;
  });
}

describe('deploymentWorkflow', () => {
  test('deploys version after version, and rolls back by the same path', async () => {
    const { activities, declared } = fakes();
    const outcomes = await deploy(activities, [1, 2, 1]);
    expect(outcomes).toMatchObject([
      { generation: 1 },
      { generation: 2 },
      { generation: 3, bundle: '1'.repeat(64) },
    ]);
    expect(declared).toEqual([1, 2, 1]);
  });

  test('a version that no node can serve is taken back to the one before', async () => {
    const { activities, declared } = fakes([2]);
    const [, second] = await deploy(activities, [1, 2]);
    expect(second).toBeInstanceOf(WorkflowUpdateFailedError);
    expect((second as WorkflowUpdateFailedError).cause?.message).toBe(
      'm@2 did not converge; rolled back to m@1',
    );
    expect(declared).toEqual([1, 2, 1]);
  });

  test('a first version that cannot be served fails with the reason of the node', async () => {
    const { activities } = fakes([1]);
    const [only] = await deploy(activities, [1]);
    expect(only).toBeInstanceOf(WorkflowUpdateFailedError);
    expect(String((only as WorkflowUpdateFailedError).cause?.cause)).toContain(
      'the probe differs by 0.5',
    );
  });
});
