/** What a schedule of the stack starts once a day: deletes the documents whose time is over. */
import { log, proxyActivities, setCurrentDetails } from '@temporalio/workflow';
import type { RetentionActivities, SweepInput } from '../activities/retention.ts';
import { nonRetryableErrorTypes } from '../config/failures.ts';
import { TaskQueue } from '../config/queues.ts';
import type { RetentionReport } from '../config/retention.ts';

const { sweepExpired } = proxyActivities<RetentionActivities>({
  taskQueue: TaskQueue.control,
  summary: 'delete documents that have expired',
  startToCloseTimeout: '4h',
  heartbeatTimeout: '20s',
  retry: { nonRetryableErrorTypes, maximumInterval: '1m', maximumAttempts: 30 },
});

export async function retentionWorkflow(input: SweepInput = {}): Promise<RetentionReport> {
  const report = await sweepExpired(input);
  const { expired, held, numBlobs, bytes } = report;
  const names = expired.map(({ name, version }) => `${name}@${version}`).join(', ') || 'nothing';
  setCurrentDetails(`${input.dryRun === true ? 'would expire' : 'expired'}: ${names}`);
  log.info('swept what has expired', {
    numExpired: expired.length,
    numHeld: held.length,
    numBlobs,
    bytes,
  });
  return report;
}
