import { MockActivityEnvironment, type TestWorkflowEnvironment } from '@temporalio/testing';
import { ApplicationFailure } from '@temporalio/activity';
import {
  WithStartWorkflowOperation,
  WorkflowUpdateFailedError,
  type Client,
} from '@temporalio/client';
import { DefaultLogger, Worker, type WorkflowBundle } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import {
  createReleaseActivities,
  type DeployOutcome,
  type DeployRequest,
  type ReleaseActivities,
} from '../../activities/release.ts';
import { previousChampion } from '../../client/models.ts';
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
  const reasons: string[] = [];
  const champions: number[] = [];
  const activities: Pick<
    ReleaseActivities,
    'declareVersion' | 'awaitConvergence' | 'promoteModel'
  > = {
    declareVersion: async ({ endpoint, model, version, reason }) => {
      declared.push(version);
      reasons.push(reason);
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
    promoteModel: async ({ version, expectedChampion }) => {
      const champion = champions.at(-1) ?? null;
      if (expectedChampion !== undefined && expectedChampion !== champion) {
        throw ApplicationFailure.nonRetryable('is late', FailureType.ChampionMoved, champion);
      }
      champions.push(version);
    },
  };
  return { activities, declared, reasons, champions };
}

let id = 0;
async function deploy(
  activities: ReturnType<typeof fakes>['activities'],
  wishes: (number | Pick<DeployRequest, 'version' | 'expectedChampion'>)[],
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
    for (const wish of wishes) {
      const startWorkflowOperation = new WithStartWorkflowOperation(deploymentWorkflow, {
        workflowId: `deployment/${endpoint}`,
        taskQueue: 'control',
        args: [{ endpoint }],
        workflowIdConflictPolicy: 'USE_EXISTING',
      });
      const wanted = typeof wish === 'number' ? { version: wish } : wish;
      const request: DeployRequest = { model: 'm', by: 'test', reason: 'because', ...wanted };
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

function rootOf(outcome: DeployOutcome | Error | undefined): unknown {
  let root: unknown = outcome;
  while (root instanceof Error && root.cause instanceof Error) root = root.cause;
  return root;
}

describe('deploymentWorkflow', () => {
  test('deploys version after version, and rolls back by the same path', async () => {
    const { activities, declared, champions } = fakes();
    const outcomes = await deploy(activities, [1, 2, 1]);
    expect(outcomes).toMatchObject([
      { generation: 1 },
      { generation: 2 },
      { generation: 3, bundle: '1'.repeat(64) },
    ]);
    expect(declared).toEqual([1, 2, 1]);
    expect(champions).toEqual([1, 2, 1]);
  });

  test('a version that a node refuses is taken back to the one before, and was never champion', async () => {
    const { activities, declared, reasons, champions } = fakes([2]);
    const [, second] = await deploy(activities, [1, 2, 3]);
    expect(second).toBeInstanceOf(WorkflowUpdateFailedError);
    expect((second as WorkflowUpdateFailedError).cause?.message).toBe(
      'rolled back to m@1: the probe differs by 0.5',
    );
    expect(declared).toEqual([1, 2, 1, 3]);
    expect(reasons[2]).toBe('m@2 was taken back: the probe differs by 0.5');
    expect(champions).toEqual([1, 3]);
    expect(previousChampion(champions.map((version) => ({ version })))).toBe(1);
  });

  test('a version whose champion moved while it was rolled out is taken back, and its own sentence told', async () => {
    const { activities, declared, champions } = fakes();
    const outcomes = await deploy(activities, [1, { version: 2, expectedChampion: 1 }, 3]);
    expect(outcomes).toMatchObject([{ generation: 1 }, { generation: 2 }, { generation: 3 }]);
    const late = await deploy(activities, [3, { version: 4, expectedChampion: 2 }]);
    expect(rootOf(late[1])).toMatchObject({ message: 'is late', type: FailureType.ChampionMoved });
    expect(declared).toEqual([1, 2, 3, 3, 4, 3]);
    expect(champions).toEqual([1, 2, 3, 3]);
  });

  test('a version that came too late to be declared changes nothing that is served', async () => {
    const { activities, declared, champions } = fakes();
    const { declareVersion } = activities;
    activities.declareVersion = async (request) => {
      if (request.expectedChampion === undefined) return await declareVersion(request);
      throw ApplicationFailure.nonRetryable('is late', FailureType.ChampionMoved, 1);
    };
    const [, late] = await deploy(activities, [1, { version: 2, expectedChampion: 7 }]);
    expect(rootOf(late)).toMatchObject({ message: 'is late', type: FailureType.ChampionMoved });
    expect([declared, champions]).toEqual([[1], [1]]);
  });

  test('what was promoted under a condition is served again without it', async () => {
    const { activities, declared } = fakes([3]);
    const conditions: (number | null | undefined)[] = [];
    const { declareVersion } = activities;
    activities.declareVersion = async (request) => {
      conditions.push(request.expectedChampion);
      return await declareVersion(request);
    };
    await deploy(activities, [{ version: 2, expectedChampion: null }, 3]);
    expect(declared).toEqual([2, 3, 2]);
    expect(conditions).toEqual([null, undefined, undefined]);
  });

  test('an endpoint that served nothing before serves the champion instead of a version that came too late', async () => {
    const { activities, declared, champions } = fakes();
    champions.push(7);
    const [only] = await deploy(activities, [{ version: 2, expectedChampion: 1 }]);
    expect(rootOf(only)).toMatchObject({ type: FailureType.ChampionMoved });
    expect(declared).toEqual([2, 7]);
    expect(champions).toEqual([7]);
  });

  test('a first version that cannot be served fails with the reason of the node, and is no champion', async () => {
    const { activities, champions } = fakes([1]);
    const [only] = await deploy(activities, [1]);
    expect(only).toBeInstanceOf(WorkflowUpdateFailedError);
    expect(String((only as WorkflowUpdateFailedError).cause?.cause)).toContain(
      'the probe differs by 0.5',
    );
    expect(champions).toEqual([]);
  });

  test('an alias that could not be moved is moved later, and what is served stays', async () => {
    const { activities, declared, champions } = fakes();
    const { promoteModel } = activities;
    let tries = 0;
    activities.promoteModel = async (request) => {
      if (++tries === 1) throw new Error('the store is away');
      await promoteModel(request);
    };
    expect(await deploy(activities, [1])).toMatchObject([{ generation: 1 }]);
    expect(declared).toEqual([1]);
    expect(champions).toEqual([1]);
  });

  /** What a run hears that asks an endpoint through its activity. */
  async function heard(
    activities: ReturnType<typeof fakes>['activities'],
    wanted: Pick<DeployRequest, 'version' | 'expectedChampion'>,
  ): Promise<unknown> {
    const worker = await Worker.create({
      connection: env.nativeConnection,
      workflowBundle,
      taskQueue: 'control',
      activities,
    });
    const { requestDeployment } = createReleaseActivities({ client: env.client } as Deps & {
      client: Client;
    });
    const endpoint = `endpoint-${++id}`;
    const request: DeployRequest = { model: 'm', by: 'test', reason: 'because', ...wanted };
    const activity = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') });
    const outcome: unknown = await worker.runUntil(
      activity.run(requestDeployment, { endpoint, request }).catch((error: unknown) => error),
    );
    await env.client.workflow.getHandle(`deployment/${endpoint}`).terminate();
    return outcome;
  }

  test('a run that asked for it hears the reason of the node at once, and asks no more', async () => {
    expect(await heard(fakes([1]).activities, { version: 1 })).toMatchObject({
      name: 'ApplicationFailure',
      message: 'the probe differs by 0.5',
      type: FailureType.ModelNotServable,
      nonRetryable: true,
    });
  });

  test('a run whose champion moved hears it with the champion of now', async () => {
    const { activities, champions } = fakes();
    champions.push(7);
    expect(await heard(activities, { version: 8, expectedChampion: 6 })).toMatchObject({
      message: 'is late',
      type: FailureType.ChampionMoved,
      nonRetryable: true,
      details: [7],
    });
  });
});
