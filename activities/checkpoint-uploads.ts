/**
 * Uploads checkpoints one at a time while training goes on. When S3 is slow or away, only the newest
 * waits: older ones are superseded, never lost work.
 */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApplicationFailure, log } from '@temporalio/activity';
import type { BlobRef } from '../config/digest.ts';
import { FailureType } from '../config/failures.ts';
import type { CheckpointManifest, Head } from '../config/manifests.ts';
import { putBlobFile } from '../registry/blobs.ts';
import { checkpointState, commitCheckpoint } from '../registry/training.ts';
import type { Deps } from './deps.ts';
import type { Generation } from './training-job.ts';

/** No patience cures these: somebody newer trains, or this machine computed other bits for a committed step. */
const fatal: readonly string[] = [FailureType.Fenced, 'CheckpointMismatch'];

interface Finished {
  step: number;
  folder: string;
}

export class CheckpointUploads {
  readonly #deps: Deps;
  readonly #generation: Generation;
  readonly committed: number[];
  #next: Finished | null = null;
  #running: Promise<void> | null = null;
  #fatal: Error | null = null;

  constructor(deps: Deps, generation: Generation, head: Head) {
    this.#deps = deps;
    this.#generation = generation;
    this.committed = head.chain.map(({ step }) => step);
  }

  get durableStep(): number {
    return this.committed.at(-1) ?? 0;
  }

  /** A checkpoint has appeared on disk. */
  offer(step: number, folder: string): void {
    if (step <= this.durableStep || step <= (this.#next?.step ?? 0)) return;
    this.#next = { step, folder };
    this.#running ??= this.#drain();
  }

  /** Resolves when nothing more waits for upload. */
  async settle(): Promise<void> {
    await this.#running;
    this.throwIfFatal();
  }

  throwIfFatal(): void {
    if (this.#fatal === null) return;
    const type =
      this.#fatal.name === FailureType.Fenced
        ? FailureType.Fenced
        : FailureType.CheckpointIncompatible;
    throw ApplicationFailure.nonRetryable(this.#fatal.message, type);
  }

  async #drain(): Promise<void> {
    let pauseMs = 500;
    while (this.#next !== null && this.#fatal === null) {
      const checkpoint: Finished = this.#next;
      try {
        await this.#upload(checkpoint);
        this.committed.push(checkpoint.step);
        if (this.#next === checkpoint) this.#next = null;
        pauseMs = 500;
      } catch (error) {
        if (fatal.includes((error as Error).name)) this.#fatal = error as Error;
        // Superseded and deleted by the trainer while we waited for S3.
        else if ((error as NodeJS.ErrnoException).code === 'ENOENT' && this.#next === checkpoint)
          this.#next = null;
        else {
          log.warn('checkpoint not uploaded yet', { step: checkpoint.step, error });
          await sleep(pauseMs);
          pauseMs = Math.min(pauseMs * 2, 10_000);
        }
      }
    }
    this.#running = null;
  }

  async #upload({ step, folder }: Finished): Promise<void> {
    const { store } = this.#deps;
    const { job, fence, writer } = this.#generation;
    const files: Record<string, BlobRef> = {};
    for (const name of (await readdir(folder)).toSorted()) {
      files[name] = await putBlobFile(store, path.join(folder, name));
    }
    const manifest: CheckpointManifest = {
      schemaVersion: 1,
      step,
      fence,
      files,
      state: checkpointState(files),
    };
    await commitCheckpoint(store, job.trial, { fence, writer }, manifest);
  }
}
