/** The real workers' activities in the test's own process, on a real Temporal and a real S3. Nothing is served: no stack is needed. */
import path from 'node:path';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { createBaseModelActivities } from '../../activities/base-model.ts';
import { createGivenModelActivities } from '../../activities/given-model.ts';
import type { Deps } from '../../activities/deps.ts';
import { createEvaluateActivities } from '../../activities/evaluate.ts';
import { createExportActivities } from '../../activities/export.ts';
import { createIngestActivities } from '../../activities/ingest.ts';
import { createPlanActivities } from '../../activities/plan.ts';
import { ThreadPool } from '../../activities/preprocess-threads.ts';
import { createPreprocessActivities } from '../../activities/preprocess.ts';
import { createRehearsalActivities } from '../../activities/rehearsal.ts';
import { createReplayActivities } from '../../activities/replay.ts';
import { createSweepActivities } from '../../activities/sweep.ts';
import { createReleaseActivities } from '../../activities/release.ts';
import { createTrainActivities } from '../../activities/train.ts';
import { connectTemper, type TemperClient } from '../../client/client.ts';
import { gpuHostQueue, TaskQueue } from '../../config/queues.ts';
import type { Store } from '../../registry/store.ts';
import { startS3 } from './s3.ts';
import { workflowsPath } from './temporal.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');

export interface InProcess {
  server: TestWorkflowEnvironment;
  store: Store;
  temper: TemperClient;
  stop(): Promise<void>;
}

/** `root` is a folder of the test's own, for the caches of the workers; `instead` takes the place of activities. */
export async function startInProcess(
  root: string,
  instead: (deps: Deps) => object = () => ({}),
): Promise<InProcess> {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const attributes = ['run', 'model', 'dataset', 'stage'];
  const [server, s3] = await Promise.all([
    TestWorkflowEnvironment.createLocal({
      server: {
        executable: { type: 'existing-path', path: path.join(projectDir, '.venv/bin/temporal') },
        extraArgs: attributes.flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
      },
    }),
    startS3(),
  ]);
  const deps: Deps = {
    store: s3.store,
    home: path.join(root, 'home'),
    python: path.join(projectDir, '.venv/bin/python'),
    projectDir,
    host: 'here',
    now: () => new Date(),
  };
  const threads = new ThreadPool(1);
  const { nativeConnection: connection, client } = server;
  const train = { ...createTrainActivities(deps), ...createSweepActivities(deps) };
  const gpu = {
    ...createBaseModelActivities(deps),
    ...createGivenModelActivities(deps),
    ...createRehearsalActivities(deps),
    ...createExportActivities(deps),
    ...createEvaluateActivities(deps),
    ...train,
    ...instead(deps),
  };
  const data = {
    ...createIngestActivities(deps),
    ...createPreprocessActivities(deps, threads),
    ...createReplayActivities(deps),
  };
  const control = {
    ...createPlanActivities(deps),
    ...createReleaseActivities({ ...deps, client }),
    ...train,
    ...instead(deps),
  };
  const workers = await Promise.all(
    (
      [
        [TaskQueue.gpu, gpu, {}],
        [gpuHostQueue(deps.host), train, {}],
        [TaskQueue.data, data, {}],
        [TaskQueue.control, control, { workflowsPath }],
      ] as const
    ).map(([taskQueue, activities, more]) =>
      Worker.create({ connection, taskQueue, activities, ...more }),
    ),
  );
  const working = Promise.all(workers.map((worker) => worker.run()));
  const temper = await connectTemper({
    address: server.address,
    namespace: 'default',
    store: s3.store,
  });
  return {
    server,
    store: s3.store,
    temper,
    async stop() {
      await temper.close();
      for (const worker of workers) worker.shutdown();
      await working;
      await threads.close();
      s3.store.close();
      await Promise.all([server.teardown(), s3.stop()]);
    },
  };
}
