/** Reads, cleans and tokenizes text: `node workers/data.ts`, with the environment of `npx temper up`. */
import os from 'node:os';
import { createIngestActivities } from '../activities/ingest.ts';
import { createPreprocessActivities } from '../activities/preprocess.ts';
import { createReplayActivities } from '../activities/replay.ts';
import { TaskQueue } from '../config/queues.ts';
import { runWorkers } from './run-worker.ts';

await runWorkers('data', (deps) => [
  {
    taskQueue: TaskQueue.data,
    activities: {
      ...createIngestActivities(deps),
      ...createPreprocessActivities(deps),
      ...createReplayActivities(deps),
    },
    // One more than there are threads: while it waits for the store, they all work.
    maxConcurrentActivityTaskExecutions: os.availableParallelism() + 1,
  },
]);
