/** The trainer's events on their way into the store: in pieces, each given up only when it is stored. */
import type { TrainerEvent } from '../config/trainer.ts';
import { putEvents } from '../registry/training.ts';
import type { Deps } from './deps.ts';
import type { Generation } from './training-job.ts';

/** Whoever looks at the curves of a running training waits for so long at most, early in it. */
const leastEveryMs = 15_000;
/** Of the pieces in which a generation stores what its predecessor left unstored: up to what counts, and behind that. */
export const untoldSequence = { counting: 0, behind: 1 } as const;
/** Of the time that was watched: so a training of weeks does not make a hundred thousand pieces. */
const share = 0.005;

export class Metrics {
  readonly #deps: Deps;
  readonly #generation: Generation;
  #unsent: TrainerEvent[] = [];
  /** On its way. After a lost reply it may be stored already, so it must not grow. */
  #piece: TrainerEvent[] = [];
  #sequence = untoldSequence.behind + 1;
  #sending: Promise<void> = Promise.resolve();
  readonly #openedAt: number;
  #flushedAt: number;
  #isBusy = false;

  constructor(deps: Deps, generation: Generation, now: number) {
    this.#deps = deps;
    this.#generation = generation;
    this.#openedAt = this.#flushedAt = now;
  }

  see(event: TrainerEvent): void {
    // A sign of life is no metric.
    if (event.event !== 'working') this.#unsent.push(event);
  }

  /** True once whenever what was seen has waited long enough to be stored, without a checkpoint. */
  isDue(now: number): boolean {
    const everyMs = Math.max(leastEveryMs, share * (now - this.#openedAt));
    if (this.#isBusy || now - this.#flushedAt < everyMs) return false;
    this.#flushedAt = now;
    return true;
  }

  /** Resolves when everything seen until now is stored; what could not be is kept for the next flush. */
  async flush(): Promise<void> {
    const sending = this.#sending.catch(() => undefined).then(() => this.#send());
    this.#sending = sending;
    this.#isBusy = true;
    try {
      await sending;
    } finally {
      this.#isBusy = this.#sending !== sending;
    }
  }

  async #send(): Promise<void> {
    for (;;) {
      if (this.#piece.length === 0) this.#piece = this.#unsent.splice(0);
      if (this.#piece.length === 0) return;
      const { job, fence } = this.#generation;
      await putEvents(this.#deps.store, job.trial, fence, this.#sequence, this.#piece);
      this.#piece = [];
      this.#sequence += 1;
    }
  }
}
