/** A worker that starts before what it needs is not a failure: it waits, and says for what. */
import { setTimeout as sleep } from 'node:timers/promises';

export interface Waiting {
  /** For people: what is waited for. */
  what: string;
  /** Ends the waiting. */
  signal: AbortSignal;
  warn: (context: { error: unknown }, message: string) => void;
  /** True for what no waiting cures. */
  isFinal: (error: unknown) => boolean;
  firstPauseMs?: number;
  longestPauseMs?: number;
}

/** Tries until it succeeds, with pauses that double up to a bound; says so when it begins and for each new reason. */
export async function untilAnswered<T>(
  attempt: () => Promise<T>,
  { what, signal, warn, isFinal, firstPauseMs = 200, longestPauseMs = 5000 }: Waiting,
): Promise<T> {
  let reason = '';
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(longestPauseMs, 2 * pauseMs)) {
    signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      if (isFinal(error)) throw error;
      const found = error instanceof Error ? error.message : String(error);
      if (found !== reason) warn({ error }, `waiting for ${what}`);
      reason = found;
    }
    await sleep(pauseMs, undefined, { signal });
  }
}
