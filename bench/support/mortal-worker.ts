/**
 * A data worker that ends itself by SIGKILL in the middle of its work, before a write that the environment names:
 * `TEMPER_DIES_BEFORE` is a number and the beginning of a key, `2 stages/scatter/`; the writes of all workers that share
 * `TEMPER_DEATHS`, a folder, count together, so that one of them dies. It shuffles small corpora too.
 */
import { closeSync, openSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createIngestActivities } from '../../activities/ingest.ts';
import { ThreadPool } from '../../activities/preprocess-threads.ts';
import { createPreprocessActivities } from '../../activities/preprocess.ts';
import { TaskQueue } from '../../config/queues.ts';
import type { Store } from '../../registry/store.ts';
import { runWorkers } from '../../workers/run-worker.ts';

const { TEMPER_DIES_BEFORE: diesBefore = '', TEMPER_DEATHS: deaths = '' } = process.env;
const [wanted, prefix] = diesBefore.split(' ');

/** One worker alone makes the file of a count. */
function isFirst(count: number): boolean {
  try {
    closeSync(openSync(path.join(deaths, `${prefix!.replaceAll('/', '-')}${count}`), 'wx'));
    return true;
  } catch {
    return false;
  }
}

function dieBefore(key: string): void {
  if (prefix === undefined || !key.startsWith(prefix)) return;
  let count = 1;
  while (count <= Number(wanted) && !isFirst(count)) count += 1;
  if (count === Number(wanted)) process.kill(process.pid, 'SIGKILL');
}

await runWorkers('data', (context) => {
  const store: Store = {
    ...context.store,
    async putIfAbsent(key, bytes) {
      dieBefore(key);
      return context.store.putIfAbsent(key, bytes);
    },
  };
  const deps = { ...context, store };
  return [
    {
      taskQueue: TaskQueue.data,
      activities: {
        ...createIngestActivities(deps),
        ...createPreprocessActivities(deps, new ThreadPool(), 1),
      },
      maxConcurrentActivityTaskExecutions: os.availableParallelism() + 1,
    },
  ];
});
