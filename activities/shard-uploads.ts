/**
 * Brings the shards that the ranks of this host have saved to the store, the newest first. They count when the leading
 * host commits a checkpoint that names them by their digests; without that they are blobs that nobody refers to.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { log } from '@temporalio/activity';
import { putBlobFolder } from '../registry/blobs.ts';
import type { Store } from '../registry/store.ts';
import type { LocalCheckpoint } from './checkpoint-uploads.ts';

export class ShardUploads {
  readonly #store: Store;
  readonly #seen = new Set<number>();
  #newest = 0;
  #next: LocalCheckpoint | null = null;
  #running: Promise<void> | null = null;
  readonly #closing = new AbortController();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Steps whose shards the trainer may delete: they are in the store, or newer ones are. */
  get acknowledged(): number[] {
    return [...this.#seen].filter((step) => step <= this.#newest).toSorted((a, b) => a - b);
  }

  /** The shards of this host have appeared on disk. */
  offer(step: number, folder: string): void {
    this.#seen.add(step);
    if (step <= Math.max(this.#newest, this.#next?.step ?? 0)) return;
    this.#next = { step, folder };
    this.#running ??= this.#drain();
  }

  /** Resolves when nothing more waits, or after so long. */
  async settle(patienceMs: number): Promise<void> {
    await Promise.race([this.#running, sleep(patienceMs, undefined, { ref: false })]);
  }

  /** Tries no more. */
  close(): void {
    this.#closing.abort();
  }

  async #drain(): Promise<void> {
    const { signal } = this.#closing;
    let pauseMs = 500;
    while (this.#next !== null && !signal.aborted) {
      const shards: LocalCheckpoint = this.#next;
      try {
        await putBlobFolder(this.#store, shards.folder);
        this.#newest = shards.step;
        if (this.#next === shards) this.#next = null;
        pauseMs = 500;
      } catch (error) {
        // The trainer has deleted them, as newer ones are there.
        const isGone = (error as NodeJS.ErrnoException).code === 'ENOENT';
        if (isGone && this.#next === shards) this.#next = null;
        if (isGone) continue;
        log.warn('shards not uploaded yet', { step: shards.step, error });
        await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
        pauseMs = Math.min(pauseMs * 2, 10_000);
      }
    }
    this.#running = null;
  }
}
