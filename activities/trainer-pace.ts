/**
 * Tells a hang from slowness: the limit follows the slowest recent step, and what the trainer said it is doing. Times
 * are of a monotonic clock, which nobody sets and which stands still while the machine sleeps.
 */
import type { TrainerEvent } from '../config/trainer.ts';

/** Importing the libraries and loading a checkpoint has no events: its own, longer limit. */
const startLimitMs = 180_000;
const saveLimitMs = 120_000;
/** Said again every few seconds, but on a machine that may be busy with something else. */
const workLimitMs = 120_000;
const leastLimitMs = 60_000;
const numRecent = 100;
/** Who looks so seldom was stopped himself, perhaps together with the trainer. */
const awayMs = 10_000;
/** Between two looks, which is the most that a step may have waited to be seen. */
const lookMs = 1000;

export class Pace {
  #last: number;
  #doing: 'starting' | 'stepping' | 'saving' | 'working' = 'starting';
  #stepAt: number | null = null;
  #stepSeenAt = 0;
  #lookedAt: number;
  readonly #recentMs: number[] = [];

  constructor(now: number) {
    this.#last = now;
    this.#lookedAt = now;
  }

  /** Said before each look at the events: time in which nobody looked is no silence of the trainer's. */
  look(now: number): void {
    const away = now - this.#lookedAt;
    this.#lookedAt = now;
    if (away > awayMs) this.#last = Math.min(now, this.#last + away);
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
        if (this.#stepAt !== null) {
          const ms = (event.at - this.#stepAt) * 1000;
          // The trainer's clock may have been set meanwhile; of what was read at once, nothing else tells.
          const seenMs = now - this.#stepSeenAt;
          this.#recentMs.push(seenMs > 0 ? Math.min(ms, seenMs + lookMs) : ms);
        }
        if (this.#recentMs.length > numRecent) this.#recentMs.shift();
        this.#stepAt = event.at;
        this.#stepSeenAt = now;
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

  /** It evaluates or saves: it hears of nothing until that is done. */
  get isOccupied(): boolean {
    return this.#doing === 'working' || this.#doing === 'saving';
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
