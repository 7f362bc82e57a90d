/** How an attempt at training ends that was told to. */
import type { Context } from '@temporalio/activity';

/** Whether a person cancelled: the other reasons (a lost heartbeat, a worker that shuts down) mean that somebody goes on. */
export function isCancelled({ cancellationSignal }: Context): boolean {
  return (cancellationSignal.reason as Error | undefined)?.message === 'CANCELLED';
}

/**
 * Throws when this attempt is to end. Only a person's cancellation ends the training, so only that is thrown
 * as one; anything else is a loss, after which the next generation goes on.
 */
export function throwIfEnded(context: Context): void {
  const { aborted, reason } = context.cancellationSignal;
  if (!aborted) return;
  if (isCancelled(context)) throw reason as Error;
  throw new Error(
    `the watcher let go (${(reason as Error | undefined)?.message ?? 'unknown reason'}); the trainer goes on`,
  );
}
