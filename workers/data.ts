/**
 * Reads, cleans and tokenizes text: `node --max-semi-space-size=8 workers/data.ts`, with the environment of `npx temper up`.
 * `config/data-memory.ts` has the flag, and what else keeps it under 1 GB.
 */
import os from 'node:os';
import { rememberingDeps } from '../activities/deps.ts';
import { packIn } from '../activities/ingest-pack.ts';
import { createIngestActivities } from '../activities/ingest.ts';
import { ThreadPool } from '../activities/preprocess-threads.ts';
import { createPreprocessActivities } from '../activities/preprocess.ts';
import { createReplayActivities } from '../activities/replay.ts';
import { TaskQueue } from '../config/queues.ts';
import { runWorkers } from './run-worker.ts';

// The supervisor starts it again, with the code that lies there now.
const threads = new ThreadPool(os.availableParallelism(), () =>
  process.kill(process.pid, 'SIGTERM'),
);

await runWorkers('data', (opened) => {
  const deps = rememberingDeps(opened);
  return [
    {
      taskQueue: TaskQueue.data,
      activities: {
        ...createIngestActivities(deps, packIn(threads)),
        ...createPreprocessActivities(deps, threads),
        ...createReplayActivities(deps),
      },
      // One more than there are threads: while it waits for the store, they all work.
      maxConcurrentActivityTaskExecutions: os.availableParallelism() + 1,
    },
  ];
});
