/** Heartbeats by the clock, so that only the death of a worker is taken for one; each part of the work bounds its own time. */
import { Context } from '@temporalio/activity';

const everyMs = 2000;

/** What an activity tells while it works; clients read it from the pending activity. */
export interface Details {
  kind: string;
  line?: string;
}
export type Say = (details: Details) => void;

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
  context.heartbeat(details);
  const timer = setInterval(() => context.heartbeat(details), everyMs);
  try {
    return await work((said) => {
      details = said;
    });
  } catch (error) {
    if (context.cancellationSignal.aborted) await context.cancelled;
    throw error;
  } finally {
    clearInterval(timer);
  }
}
