/** How the workflows of a run call their activities, by the kind of work. */
import { nonRetryableErrorTypes } from '../config/failures.ts';
import { TaskQueue } from '../config/queues.ts';

const retry = { nonRetryableErrorTypes, maximumInterval: '5s', maximumAttempts: 30 } as const;

/** A look-up or a small record. */
export const control = { taskQueue: TaskQueue.control, startToCloseTimeout: '60s', retry } as const;

/** Reads every source, however many there are. */
export const ingesting = {
  taskQueue: TaskQueue.data,
  startToCloseTimeout: '2h',
  heartbeatTimeout: '10s',
  retry,
} as const;

/** Exports or evaluates a model. */
export const gpu = {
  taskQueue: TaskQueue.gpu,
  startToCloseTimeout: '2h',
  heartbeatTimeout: '20s',
  retry,
} as const;
