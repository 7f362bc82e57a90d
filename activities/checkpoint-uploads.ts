/**
 * Uploads checkpoints one at a time while training goes on. When S3 is slow or away, only the newest
 * waits: older ones are superseded, never lost work.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApplicationFailure, log } from '@temporalio/activity';
import { z } from 'zod';
import { blobRefSchema, type BlobRef } from '../config/digest.ts';
import { FailureType } from '../config/failures.ts';
import type { CheckpointManifest, Head, RateChange } from '../config/manifests.ts';
import {
  microBatchesUsedSchema,
  ratesUsedSchema,
  rollbacksUsedSchema,
  type MicroBatch,
  type Rollback,
} from '../config/trainer.ts';
import { putBlobFolder } from '../registry/blobs.ts';
import type { RatesDiffer } from '../registry/errors.ts';
import { checkpointState, commitCheckpoint, type Used } from '../registry/training.ts';
import type { Deps } from './deps.ts';
import type { Generation } from './training-job.ts';

const ratesDiffer = 'RatesDiffer';
/**
 * No patience cures these: somebody newer trains, this machine computed other bits for a committed step, or the
 * trainer has gone on at another rate than was decided.
 */
const fatal: readonly string[] = [FailureType.Fenced, 'CheckpointMismatch', ratesDiffer];

export interface LocalCheckpoint {
  step: number;
  folder: string;
}

/** The files of a checkpoint on this disk are not those that the trainer wrote. */
class DamagedCheckpoint extends Error {
  override readonly name = 'DamagedCheckpoint';
}

const stateSchema = z.looseObject({
  step: z.number(),
  learningRates: ratesUsedSchema.default([]),
  rollbacks: rollbacksUsedSchema.default([]),
  microBatches: microBatchesUsedSchema.default([]),
  files: z.record(z.string(), blobRefSchema),
});
const stateFile = 'state.json';
/** The SHA-256 of the former, where a trainer writes it. */
const sealFile = 'state.sha256';

/** Uploads a checkpoint and makes it count, when its files are those that its state.json lists. */
export async function uploadCheckpoint(
  deps: Deps,
  { job, fence, writer }: Generation,
  { step, folder }: LocalCheckpoint,
): Promise<Head> {
  const { files: listed, used } = await readState(step, folder);
  const files = await putBlobFolder(deps.store, folder);
  const own = [stateFile, sealFile];
  const damaged = [...new Set([...Object.keys(listed), ...Object.keys(files)])].filter(
    (name) => !own.includes(name) && files[name]?.sha256 !== listed[name]?.sha256,
  );
  if (files[sealFile] !== undefined) {
    const seal = await readFile(path.join(folder, sealFile), 'utf8');
    if (seal !== files[stateFile]?.sha256) {
      throw new DamagedCheckpoint(`${folder}: ${stateFile} differs from ${sealFile}`);
    }
  }
  if (damaged.length > 0) {
    throw new DamagedCheckpoint(`${folder}: ${damaged.join(', ')} differ from ${stateFile}`);
  }
  const state = checkpointState(files);
  const manifest: CheckpointManifest = { schemaVersion: 1, step, fence, files, state };
  return await commitCheckpoint(deps.store, job.trial, { fence, writer }, manifest, used);
}

/** As the registry compares them. */
export function ratesUsed(used: z.infer<typeof ratesUsedSchema>): RateChange[] {
  return used.map(([step, scale]) => ({ step, scale }));
}

export function rollbacksUsed(used: z.infer<typeof rollbacksUsedSchema>): Rollback[] {
  return used.map(([step, skippedTo, scale]) => ({ step, skippedTo, scale }));
}

export function microBatchesUsed(used: z.infer<typeof microBatchesUsedSchema>): MicroBatch[] {
  return used.map(([step, size]) => ({ step, size }));
}

async function readState(
  step: number,
  folder: string,
): Promise<{ files: Record<string, BlobRef>; used: Used }> {
  const text = await readFile(path.join(folder, stateFile), 'utf8');
  try {
    const state = stateSchema.parse(JSON.parse(text));
    if (state.step === step) {
      const learningRates = ratesUsed(state.learningRates);
      return {
        files: state.files,
        used: {
          learningRates,
          rollbacks: rollbacksUsed(state.rollbacks),
          microBatches: microBatchesUsed(state.microBatches),
        },
      };
    }
    throw new Error(`it is of step ${state.step}`);
  } catch (error) {
    throw new DamagedCheckpoint(`${folder}/${stateFile}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

export class CheckpointUploads {
  readonly #deps: Deps;
  readonly #generation: Generation;
  readonly #committed: number[];
  readonly #seen = new Set<number>();
  /** How long one took at most; null before the first. */
  slowestMs: number | null = null;
  #next: LocalCheckpoint | null = null;
  #running: Promise<void> | null = null;
  #fatal: Error | null = null;
  readonly #closing = new AbortController();

  constructor(deps: Deps, generation: Generation, head: Head) {
    this.#deps = deps;
    this.#generation = generation;
    this.#committed = head.chain.map(({ step }) => step);
  }

  get durableStep(): number {
    return this.#committed.at(-1) ?? 0;
  }

  /** Steps whose checkpoints the trainer may delete: those that count, and those that a newer one superseded. */
  get acknowledged(): number[] {
    const superseded = [...this.#seen].filter((step) => step <= this.durableStep);
    return [...new Set([...this.#committed, ...superseded])].toSorted((a, b) => a - b);
  }

  /** A checkpoint has appeared on disk. */
  offer(step: number, folder: string): void {
    this.#seen.add(step);
    if (step <= this.durableStep || step <= (this.#next?.step ?? 0)) return;
    this.#next = { step, folder };
    this.#running ??= this.#drain();
  }

  /** Resolves when nothing more waits for upload. */
  async settle(): Promise<void> {
    await this.#running;
    this.throwIfFatal();
  }

  /** Tries no more: whoever comes next uploads what is left. */
  close(): void {
    this.#closing.abort();
  }

  /** Why the trainer must end and another go on from what counts; null while its checkpoints may count. */
  get refused(): Error | null {
    return isRatesDiffer(this.#fatal) ? this.#fatal : null;
  }

  throwIfFatal(): void {
    if (this.#fatal === null) return;
    if (isRatesDiffer(this.#fatal)) throw this.#fatal;
    const type =
      this.#fatal.name === FailureType.Fenced
        ? FailureType.Fenced
        : FailureType.CheckpointIncompatible;
    throw ApplicationFailure.nonRetryable(this.#fatal.message, type);
  }

  async #drain(): Promise<void> {
    const { signal } = this.#closing;
    let pauseMs = 500;
    while (this.#next !== null && this.#fatal === null && !signal.aborted) {
      const checkpoint: LocalCheckpoint = this.#next;
      try {
        const began = performance.now();
        await uploadCheckpoint(this.#deps, this.#generation, checkpoint);
        this.slowestMs = Math.max(this.slowestMs ?? 0, performance.now() - began);
        this.#committed.push(checkpoint.step);
        if (this.#next === checkpoint) this.#next = null;
        pauseMs = 500;
      } catch (error) {
        if (fatal.includes((error as Error).name)) this.#fatal = error as Error;
        else if (isUnusable(error)) {
          log.warn('checkpoint left out', { step: checkpoint.step, error });
          if (this.#next === checkpoint) this.#next = null;
        } else {
          log.warn('checkpoint not uploaded yet', { step: checkpoint.step, error });
          await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
          pauseMs = Math.min(pauseMs * 2, 10_000);
        }
      }
    }
    this.#running = null;
  }
}

/** Computed at other rates than were decided. */
export function isRatesDiffer(error: unknown): error is RatesDiffer {
  return error instanceof Error && error.name === ratesDiffer;
}

/** Damaged, or superseded and deleted by the trainer while we waited for S3. */
export function isUnusable(error: unknown): boolean {
  return (
    error instanceof DamagedCheckpoint || (error as NodeJS.ErrnoException | null)?.code === 'ENOENT'
  );
}
