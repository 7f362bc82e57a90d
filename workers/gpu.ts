/**
 * Imports, trains, exports and evaluates: `node workers/gpu.ts`, with the environment of `npx temper up`. What
 * is tied to this host's files comes by the host's own queue.
 */
import { createBaseModelActivities } from '../activities/base-model.ts';
import { createCalibrateActivities } from '../activities/calibrate.ts';
import { createEvaluateActivities } from '../activities/evaluate.ts';
import { createExportActivities } from '../activities/export.ts';
import { createGangActivities } from '../activities/gang.ts';
import { createGivenModelActivities } from '../activities/given-model.ts';
import { reportHostAgain } from '../activities/host-reports.ts';
import { createRehearsalActivities } from '../activities/rehearsal.ts';
import { createSweepActivities } from '../activities/sweep.ts';
import { sweepRunFoldersAgain } from '../activities/stale-runs.ts';
import { createTrainActivities } from '../activities/train.ts';
import { gpuHostQueue, TaskQueue } from '../config/queues.ts';
import { runWorkers } from './run-worker.ts';

await runWorkers('gpu', (deps) => {
  void reportHostAgain(deps);
  sweepRunFoldersAgain(deps, deps.warn);
  return [
    {
      taskQueue: TaskQueue.gpu,
      activities: {
        ...createBaseModelActivities(deps),
        ...createGivenModelActivities(deps),
        ...createRehearsalActivities(deps),
        ...createCalibrateActivities(deps),
        ...createExportActivities(deps),
        ...createEvaluateActivities(deps),
        ...createTrainActivities(deps),
      },
      // Export and evaluation use every core, so few at once; leasing a host must never wait for them.
      maxConcurrentActivityTaskExecutions: 4,
    },
    {
      taskQueue: gpuHostQueue(deps.host),
      activities: {
        ...createTrainActivities(deps),
        ...createSweepActivities(deps),
        ...createGangActivities(deps),
      },
      maxConcurrentActivityTaskExecutions: 2,
      handsOver: true,
    },
  ];
});
