/**
 * Brings the shards that the ranks of this host have saved to the store. They count when the leading host commits a
 * checkpoint that names them by their digests; without that they are blobs that nobody refers to. Each is brought whole
 * before the next one is begun, however many the trainer has saved meanwhile; of those few are kept.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { log } from '@temporalio/activity';
import { putBlobFolder } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import type { LocalCheckpoint } from './checkpoint-uploads.ts';
import { keepParted, roundest } from './pending-checkpoints.ts';

export class ShardUploads {
  readonly #store: Store;
  readonly #seen = new Set<number>();
  #newest = 0;
  #pending: LocalCheckpoint[] = [];
  #reading: LocalCheckpoint | null = null;
  #running: Promise<void> | null = null;
  readonly #closing = new AbortController();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Steps whose shards the trainer may delete: they are in the store, or newer ones are there or wait for it. */
  get acknowledged(): number[] {
    const needed = [this.#reading, ...this.#pending].map((shards) => shards?.step);
    return [...this.#seen]
      .filter((step) => step <= this.#newest || !needed.includes(step))
      .toSorted((a, b) => a - b);
  }

  /** The shards of this host have appeared on disk. */
  offer(step: number, folder: string): void {
    this.#seen.add(step);
    if (step <= Math.max(this.#newest, this.#pending.at(-1)?.step ?? 0)) return;
    this.#pending = keepParted([...this.#pending, { step, folder }]);
    this.#running ??= this.#drain();
  }

  /** Resolves when nothing more waits. */
  async settle(): Promise<void> {
    await this.#running;
  }

  /** Tries no more. */
  close(): void {
    this.#closing.abort();
  }

  async #drain(): Promise<void> {
    const { signal } = this.#closing;
    let pauseMs = 500;
    while (this.#pending.length > 0 && !signal.aborted) {
      const shards = roundest(this.#pending);
      this.#reading = shards;
      try {
        await putBlobFolder(this.#store, shards.folder);
        this.#newest = shards.step;
        this.#pending = this.#pending.filter(({ step }) => step > shards.step);
        pauseMs = 500;
      } catch (error) {
        // The trainer has deleted them, as newer ones are there.
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
          this.#pending = this.#pending.filter((each) => each !== shards);
          continue;
        }
        log.warn('shards not uploaded yet', { step: shards.step, error });
        await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
        pauseMs = Math.min(pauseMs * 2, 10_000);
      }
    }
    this.#reading = null;
    this.#running = null;
  }
}
