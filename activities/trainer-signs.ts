/** How an attempt at training ends that was told to. */
import { asyncLocalStorage, type Context } from '@temporalio/activity';

/** Whether a person cancelled: the other reasons (a lost heartbeat, a worker that shuts down) mean that somebody goes on. */
export function isCancelled({ cancellationSignal }: Context): boolean {
  return (cancellationSignal.reason as Error | undefined)?.message === 'CANCELLED';
}

/**
 * Whether this attempt has taken longer than it may, from now on: then the server has given it up, and another has taken
 * its place. A process that was stopped learns that from nobody else in time.
 */
export function ownTime(): () => boolean {
  const began = performance.now();
  const limitMs = asyncLocalStorage.getStore()?.info.startToCloseTimeoutMs ?? Infinity;
  return () => performance.now() - began > limitMs;
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
