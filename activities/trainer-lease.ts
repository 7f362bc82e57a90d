/** Keeps the lease of the host while its trainer is watched: in the background, since the store may be slow or away. */
import { log } from '@temporalio/activity';
import type { RunCost } from '../config/run-records.ts';
import { recordLease } from '../registry/costs.ts';
import { acquireHost } from '../registry/leases.ts';
import type { Deps } from './deps.ts';
import { costOf, hostPool, leaseTtlMs, type Generation, type TrainingJob } from './training-job.ts';

const everyMs = 10_000;

export class LeaseKeeper {
  readonly #deps: Deps;
  readonly #job: TrainingJob;
  readonly #holder: string;
  #askedAt = -Infinity;
  #asking: Promise<void> | null = null;
  #closed = false;
  /** Who leased the host while our lease had run out. */
  takenBy: string | null = null;
  /** What the run has cost, as of the last time that the lease was lengthened. */
  cost: RunCost | null = null;

  constructor(deps: Deps, { job }: Pick<Generation, 'job'>, holder: string) {
    this.#deps = deps;
    this.#job = job;
    this.#holder = holder;
  }

  /** Returns at once; asks when it is time. */
  renew(): void {
    const now = performance.now();
    if (this.#closed || this.#asking !== null || now - this.#askedAt < everyMs) return;
    this.#askedAt = now;
    this.#asking = this.#ask().finally(() => {
      this.#asking = null;
    });
  }

  /** Asks no more. Resolves when nothing is under way that could take back a lease which the workflow then ends. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#asking;
  }

  async #ask(): Promise<void> {
    const { store, host, now } = this.#deps;
    const ttlMs = leaseTtlMs(this.#job.recipe.unwatchedExitS);
    try {
      const lease = await acquireHost(store, hostPool, host, {
        holder: this.#holder,
        now: now(),
        ttlMs,
      });
      this.takenBy = lease.ours ? null : lease.holder;
      if (!lease.ours) return;
      const { trial } = this.#job;
      this.cost = await recordLease(store, trial.run, costOf(trial, host, lease, now()));
    } catch (error) {
      // The store is away: training goes on, and the lease outlives its absence by design.
      log.warn('lease not renewed', { error });
    }
  }
}
