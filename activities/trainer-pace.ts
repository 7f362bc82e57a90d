/** Tells a hang from slowness: the limit follows the slowest recent step, and what the trainer said it is doing. */
import type { TrainerEvent } from '../config/trainer.ts';

/** Importing the libraries and loading a checkpoint has no events: its own, longer limit. */
const startLimitMs = 180_000;
const saveLimitMs = 120_000;
/** Said again every few seconds, but on a machine that may be busy with something else. */
const workLimitMs = 120_000;
const leastLimitMs = 60_000;
const numRecent = 100;

export class Pace {
  #last: number;
  #doing: 'starting' | 'stepping' | 'saving' | 'working' = 'starting';
  #stepAt: number | null = null;
  readonly #recentMs: number[] = [];

  constructor(now: number) {
    this.#last = now;
  }

  see(event: TrainerEvent, now: number): void {
    this.#last = now;
    switch (event.event) {
      case 'working':
        // What is prepared before the start is followed by loading, which says nothing.
        if (this.#doing !== 'starting') this.#doing = 'working';
        // An evaluation between two steps is no part of how long a step takes.
        this.#stepAt = null;
        break;
      case 'save_started':
        this.#doing = 'saving';
        break;
      case 'step':
        this.#doing = 'stepping';
        if (this.#stepAt !== null) this.#recentMs.push((event.at - this.#stepAt) * 1000);
        if (this.#recentMs.length > numRecent) this.#recentMs.shift();
        this.#stepAt = event.at;
        break;
      default:
        this.#doing = 'stepping';
    }
  }

  /** It stands still because it was asked to: that is no hang, nor part of how long a step takes. */
  rest(now: number): void {
    this.#last = now;
    this.#stepAt = null;
  }

  /** The slowest recent step. */
  slowestMs(): number {
    return Math.max(0, ...this.#recentMs);
  }

  limitMs(): number {
    if (this.#doing === 'starting') return startLimitMs;
    if (this.#doing === 'working') return workLimitMs;
    const limit = Math.max(leastLimitMs, 20 * this.slowestMs());
    return this.#doing === 'saving' ? Math.max(saveLimitMs, limit) : limit;
  }

  isHung(now: number): boolean {
    return now - this.#last > this.limitMs();
  }
}
