/** The sweep of expired documents: once a day by a schedule that the stack makes, and at once when somebody asks. */
import {
  ScheduleAlreadyRunning,
  ScheduleOverlapPolicy,
  WorkflowFailedError,
  type Client,
} from '@temporalio/client';
import { TaskQueue } from '../config/queues.ts';
import type { RetentionReport } from '../config/retention.ts';
import { workflowId } from '../workflows/messages.ts';
import { ClientError, rootMessage } from './errors.ts';

export interface Retention {
  /** Makes the daily schedule, if it is not there. */
  scheduleRetention(): Promise<void>;
  /** Deletes what has expired, now; `dryRun` only says what that is. */
  expireDatasets(options?: { dryRun?: boolean }): Promise<RetentionReport>;
}

type Sweep = (input: { dryRun?: boolean }) => Promise<RetentionReport>;

/** The retention part of the client; `reach` words what a service that is down throws. */
export function openRetention(
  client: Client,
  reach: <T>(work: () => Promise<T>) => Promise<T>,
): Retention {
  return {
    scheduleRetention: () =>
      reach(async () => {
        try {
          await client.schedule.create({
            scheduleId: workflowId.retention,
            spec: { intervals: [{ every: '1d' }] },
            // One that was missed while the stack was down is made up for.
            policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1d' },
            action: {
              type: 'startWorkflow',
              workflowId: workflowId.retention,
              workflowType: 'retentionWorkflow',
              taskQueue: TaskQueue.control,
              args: [{}],
            },
          });
        } catch (error) {
          if (!(error instanceof ScheduleAlreadyRunning)) throw error;
        }
      }),

    expireDatasets: ({ dryRun = false } = {}) =>
      reach(async () => {
        try {
          // A sweep that somebody else asked for does the same.
          return await client.workflow.execute<Sweep>('retentionWorkflow', {
            workflowId: dryRun ? `${workflowId.retention}/look` : `${workflowId.retention}/now`,
            workflowIdConflictPolicy: 'USE_EXISTING',
            taskQueue: TaskQueue.control,
            staticSummary: 'delete documents that have expired',
            args: [dryRun ? { dryRun } : {}],
          });
        } catch (error) {
          if (!(error instanceof WorkflowFailedError)) throw error;
          throw new ClientError('failed', `expiry: ${rootMessage(error)}`, error);
        }
      }),
  };
}
