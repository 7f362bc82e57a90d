/** Runs workflows and the light activities: `node workers/control.ts`, with the environment of `npx temper up`. */
import path from 'node:path';
import { createGangActivities } from '../activities/gang.ts';
import { createPlanActivities } from '../activities/plan.ts';
import { createReleaseActivities } from '../activities/release.ts';
import { createRetentionActivities } from '../activities/retention.ts';
import { createRunControlActivities } from '../activities/run-control.ts';
import { createSweepActivities } from '../activities/sweep.ts';
import { createTrainActivities } from '../activities/train.ts';
import { TaskQueue } from '../config/queues.ts';
import { runWorkers } from './run-worker.ts';

await runWorkers('control', (deps) => [
  {
    taskQueue: TaskQueue.control,
    workflowsPath: path.join(deps.projectDir, 'workflows', 'index.ts'),
    activities: {
      ...createPlanActivities(deps),
      ...createReleaseActivities(deps),
      ...createRetentionActivities(deps),
      ...createRunControlActivities(deps),
      ...createSweepActivities(deps),
      ...createTrainActivities(deps),
      ...createGangActivities(deps),
    },
    maxCachedWorkflows: 100,
    maxConcurrentActivityTaskExecutions: 20,
  },
]);
