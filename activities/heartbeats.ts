/** Heartbeats by the clock, so that only the death of a worker is taken for one; each part of the work bounds its own time. */
import { Context } from '@temporalio/activity';

const everyMs = 1000;

/** What an activity tells while it works; clients read it from the pending activity. */
export interface Details {
  kind: string;
  line?: string;
}
export type Say = (details: Details) => void;

/** Gives a sign every second for as long as the work goes on; the work bounds its own time. */
export async function withSigns<Result>(
  sign: () => void,
  work: () => Promise<Result>,
): Promise<Result> {
  sign();
  const timer = setInterval(sign, everyMs);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}

/**
 * Runs the work of an activity and heartbeats what it said last. Where the attempt was cancelled, or is lost
 * to a time-out, whatever the work failed with is that.
 */
export async function withHeartbeats<Result>(
  start: Details,
  work: (say: Say) => Promise<Result>,
): Promise<Result> {
  const context = Context.current();
  let details = start;
  const say: Say = (said) => {
    details = said;
  };
  try {
    return await withSigns(
      () => context.heartbeat(details),
      () => work(say),
    );
  } catch (error) {
    if (context.cancellationSignal.aborted) await context.cancelled;
    throw error;
  }
}
