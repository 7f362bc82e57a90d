/** How a host is given back: no trainer is left running on it, whatever becomes of the run meanwhile. */
import {
  ActivityCancellationType,
  CancellationScope,
  log,
  proxyActivities,
  workflowInfo,
} from '@temporalio/workflow';
import type { TrainActivities } from '../activities/train.ts';
import type { Generation, TrainingJob } from '../activities/training-job.ts';
import { nonRetryableErrorTypes } from '../config/failures.ts';
import { gpuHostQueue, TaskQueue } from '../config/queues.ts';

/** For what a store answers, sooner or later. */
export const untilAnswered = {
  startToCloseTimeout: '60s',
  retry: {
    nonRetryableErrorTypes,
    maximumAttempts: 120,
    initialInterval: '500ms',
    maximumInterval: '5s',
  },
} as const;

/** A lease that is under way when the run is cancelled is waited for: one that nobody knows of would keep the host from others. */
export const leasing = {
  ...untilAnswered,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
} as const;

/** Why a host is left. One that stands down may have the run again: what lies on its disk may be gone on from. */
export type Outcome = 'trained' | 'failed' | 'cancelled' | 'waits' | 'stands-down';

/**
 * Gives the host back, without a trainer on it; a cancellation does not keep it from that. When nobody there answers,
 * the lease is left to run out: it outlives a trainer that nobody watches. `asked` is the writer of the last generation
 * that was asked for: whether it was opened, before this is done, nobody may have told.
 */
export async function leaveHost(
  host: string,
  generation: Generation | null,
  outcome: Outcome,
  trial: TrainingJob['trial'],
  asked?: string,
): Promise<void> {
  try {
    await CancellationScope.nonCancellable(async () => {
      if (generation !== null && outcome !== 'trained') {
        await stop(host, generation, outcome, asked);
      }
      const { releaseHost } = proxyActivities<TrainActivities>({
        taskQueue: TaskQueue.control,
        ...untilAnswered,
        retry: { ...untilAnswered.retry, maximumAttempts: 10 },
      });
      const holder = workflowInfo().workflowId;
      await releaseHost({ host, holder, trial, askedAt: Date.now() });
    });
  } catch (failure) {
    // How the training ended counts, not whether its host could be given back at once.
    log.warn('host not given back; its lease runs out', { host, reason: String(failure) });
  }
}

async function stop(
  host: string,
  { job: { trial }, stage, writer }: Generation,
  outcome: Outcome,
  asked = writer,
): Promise<void> {
  const keepFiles = outcome === 'stands-down';
  const { stopTrainer } = proxyActivities<TrainActivities>({
    taskQueue: gpuHostQueue(host),
    summary: `${trial.phase}: ${keepFiles ? 'stand down until there are enough hosts' : 'stop what still runs'}`,
    scheduleToStartTimeout: '30s',
    startToCloseTimeout: '2m',
    heartbeatTimeout: '15s',
    retry: { nonRetryableErrorTypes, maximumAttempts: 3 },
  });
  const after = asked === writer ? writer : [writer, asked];
  const keepLog = keepFiles || outcome === 'failed';
  await stopTrainer({ trial, stage, after, keepLog, ...(keepFiles && { keepFiles }) });
}
