/** Looks every two seconds, in the background, whether a generation is still the newest: one whose host was lost ends so. */
import { setTimeout as sleep } from 'node:timers/promises';
import { log } from '@temporalio/activity';
import type { Deps } from './deps.ts';
import { requireHead } from './trainer-start.ts';
import type { Generation } from './training-job.ts';

const everyMs = 2000;
const pauseMs = 500;

export class FenceWatch {
  readonly #deps: Deps;
  readonly #generation: Generation;
  #lookedAt = -Infinity;
  #looking = false;
  #over: Error | null = null;
  /** The model counts: there is nothing left to train. */
  isFinished = false;
  /** The newest checkpoint that counted when the store was asked last. */
  durableStep = 0;

  constructor(deps: Deps, generation: Generation) {
    this.#deps = deps;
    this.#generation = generation;
  }

  /** Returns at once; asks when it is time. */
  look(): void {
    const now = performance.now();
    if (this.#looking || now - this.#lookedAt < everyMs) return;
    this.#lookedAt = now;
    this.#looking = true;
    requireHead(this.#deps, this.#generation)
      .then((head) => {
        this.isFinished = head.finished !== null;
        this.durableStep = head.chain.at(-1)?.step ?? 0;
      })
      .catch((error: unknown) => {
        if ((error as { type?: string }).type === 'Fenced') this.#over = error as Error;
        else log.warn('whether this generation still counts is not known', { error });
      })
      .finally(() => {
        this.#looking = false;
      });
  }

  /** Throws when a newer generation has taken over. */
  throwIfOver(): void {
    if (this.#over !== null) throw this.#over;
  }

  /** Does the work for as long as the generation counts and the model does not; throws when a newer one takes over. */
  async during(work: Promise<unknown>): Promise<void> {
    const done = new AbortController();
    const watch = async () => {
      while (!this.isFinished && !done.signal.aborted) {
        this.look();
        this.throwIfOver();
        await sleep(pauseMs, undefined, { signal: done.signal }).catch(() => undefined);
      }
    };
    try {
      await Promise.race([work, watch()]);
    } finally {
      done.abort();
    }
  }
}
