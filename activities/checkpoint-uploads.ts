/**
 * Uploads checkpoints one at a time while training goes on. When S3 is slow or away, only the newest waits: older ones
 * are superseded, never lost work, and the trainer may delete them, so that its disk holds a few however long that lasts.
 */
import { readdir, readFile } from 'node:fs/promises';
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
import { hasBlob, putBlobFolder } from '../registry/blobs.ts';
import type { RatesDiffer } from '../registry/errors.ts';
import type { Store } from '../registry/store.ts';
import { checkpointState, commitCheckpoint, type Used } from '../registry/training.ts';
import type { Deps } from './deps.ts';
import { keepParted } from './pending-checkpoints.ts';
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

/** Another host has not brought its shards of a checkpoint to the store yet. */
export class ShardsMissing extends Error {
  override readonly name = 'ShardsMissing';
}

/** How soon it is looked for again. */
const othersPauseMs = 500;

const stateSchema = z.looseObject({
  step: z.number(),
  numShards: z.number().int().positive().optional(),
  learningRates: ratesUsedSchema.default([]),
  rollbacks: rollbacksUsedSchema.default([]),
  microBatches: microBatchesUsedSchema.default([]),
  files: z.record(z.string(), blobRefSchema),
});
const stateFile = 'state.json';
/** The SHA-256 of the former, where a trainer writes it. */
const sealFile = 'state.sha256';

/** A checkpoint whose files of this host are in the store. */
interface Brought {
  manifest: CheckpointManifest;
  used: Used;
  /** What other hosts bring of it. */
  others: [name: string, ref: BlobRef][];
}

/**
 * Uploads a checkpoint and makes it count, when its files are those that its state.json lists. `tell` stores first
 * what the trainer told, if it may count by the rates that it was computed at.
 */
export async function uploadCheckpoint(
  deps: Deps,
  generation: Generation,
  checkpoint: LocalCheckpoint,
  tell: (rates: readonly RateChange[]) => Promise<void> = async () => {},
): Promise<Head> {
  const brought = await bringCheckpoint(deps, generation, checkpoint);
  const missing = [];
  for (const [name, ref] of brought.others)
    if (!(await hasBlob(deps.store, ref))) missing.push(name);
  if (missing.length > 0) {
    throw new ShardsMissing(
      `checkpoint of step ${checkpoint.step}: ${missing.join(', ')} are not in the store yet; expected from the other hosts`,
    );
  }
  await tell(brought.used.learningRates ?? []);
  return await commitBrought(deps, generation, brought);
}

async function bringCheckpoint(
  deps: Deps,
  { fence, gang }: Generation,
  { step, folder }: LocalCheckpoint,
): Promise<Brought> {
  const { files: listed, parted, used } = await readState(step, folder);
  const brought = await putBlobFolder(deps.store, folder);
  // Of a gang, each host brings the shards of its own ranks; the leading one knows them by their digests.
  const others =
    parted && isOfMany(gang)
      ? Object.entries(listed).filter(([name]) => brought[name] === undefined)
      : [];
  const files = { ...brought, ...Object.fromEntries(others) };
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
  return { manifest: { schemaVersion: 1, step, fence, files, state }, used, others };
}

async function commitBrought(
  deps: Deps,
  { job, fence, writer }: Generation,
  { manifest, used }: Brought,
): Promise<Head> {
  return await commitCheckpoint(deps.store, job.trial, { fence, writer }, manifest, used);
}

/** What other hosts bring of a checkpoint on this disk, without a look at its tensors; null when that cannot be read. */
async function sharesOfOthers({ step, folder }: LocalCheckpoint): Promise<BlobRef[] | null> {
  try {
    const { files, parted } = await readState(step, folder);
    const here = await readdir(folder);
    return parted
      ? Object.entries(files).flatMap(([name, ref]) => (here.includes(name) ? [] : [ref]))
      : [];
  } catch (error) {
    if (isUnusable(error)) return null;
    throw error;
  }
}

async function areThere(store: Store, refs: BlobRef[]): Promise<boolean> {
  for (const ref of refs) if (!(await hasBlob(store, ref))) return false;
  return true;
}

function isOfMany(gang: Generation['gang']): boolean {
  return gang !== undefined && gang.hosts.length > 1;
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
): Promise<{ files: Record<string, BlobRef>; parted: boolean; used: Used }> {
  const text = await readFile(path.join(folder, stateFile), 'utf8');
  try {
    const state = stateSchema.parse(JSON.parse(text));
    if (state.step === step) {
      const learningRates = ratesUsed(state.learningRates);
      return {
        files: state.files,
        parted: state.numShards !== undefined,
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
  readonly #tell: () => Promise<void>;
  readonly #seen = new Set<number>();
  /** How long one took at most; null before the first. */
  slowestMs: number | null = null;
  /** What may still count, the oldest first; the newest only, unless other hosts bring parts of it. */
  #pending: LocalCheckpoint[] = [];
  /** Which one is on its way: its files are being read. */
  #reading: LocalCheckpoint | null = null;
  /** The one that waits for what other hosts bring: all that this one has of it is in the store. */
  #waiting: { checkpoint: LocalCheckpoint; brought: Brought } | null = null;
  #running: Promise<void> | null = null;
  #fatal: Error | null = null;
  /** Until when it waits for what other hosts bring. */
  #patientUntil = Infinity;
  readonly #closing = new AbortController();

  /** `tell` stores what the trainer told: a checkpoint counts only when the steps that lead to it cannot be lost. */
  constructor(deps: Deps, generation: Generation, head: Head, tell: () => Promise<void>) {
    this.#deps = deps;
    this.#generation = generation;
    this.#committed = head.chain.map(({ step }) => step);
    this.#tell = tell;
  }

  get durableStep(): number {
    return this.#committed.at(-1) ?? 0;
  }

  /**
   * Steps whose checkpoints the trainer may delete: those that count, and those that a newer one superseded, whether
   * that counts already or waits for the store. The one that is being read stays, or a slow store would never get one.
   */
  get acknowledged(): number[] {
    const needed = [this.#reading, ...this.#pending].map((checkpoint) => checkpoint?.step);
    const superseded = [...this.#seen].filter(
      (step) => step <= this.durableStep || !needed.includes(step),
    );
    return [...new Set([...this.#committed, ...superseded])].toSorted((a, b) => a - b);
  }

  /** A checkpoint has appeared on disk. */
  offer(step: number, folder: string): void {
    this.#seen.add(step);
    if (step <= Math.max(this.durableStep, this.#pending.at(-1)?.step ?? 0)) return;
    const newest = { step, folder };
    // Of a gang an older one may be the one that all have brought.
    const isShared = isOfMany(this.#generation.gang);
    this.#pending = isShared ? keepParted([...this.#pending, newest]) : [newest];
    this.#running ??= this.#drain();
  }

  /** Resolves when nothing more waits for upload, or for what other hosts bring, for at most so long. */
  async settle(patienceMs = Infinity): Promise<void> {
    this.#patientUntil = performance.now() + patienceMs;
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
    while (this.#pending.length > 0 && this.#fatal === null && !signal.aborted) {
      let checkpoint = this.#waiting?.checkpoint ?? this.#pending.at(-1)!;
      this.#reading = checkpoint;
      try {
        const complete = await this.#findComplete();
        if (complete === null && this.#waiting !== null) {
          if (performance.now() > this.#patientUntil) {
            log.warn('checkpoint left out: other hosts lack shards', { step: checkpoint.step });
            this.#pending = this.#pending.filter(({ step }) => step > checkpoint.step);
            this.#waiting = null;
          } else await sleep(othersPauseMs, undefined, { signal }).catch(() => undefined);
          continue;
        }
        checkpoint = complete ?? checkpoint;
        this.#reading = checkpoint;
        const began = performance.now();
        const brought =
          this.#waiting?.checkpoint === checkpoint
            ? this.#waiting.brought
            : await bringCheckpoint(this.#deps, this.#generation, checkpoint);
        this.slowestMs = Math.max(this.slowestMs ?? 0, performance.now() - began);
        this.#waiting = { checkpoint, brought };
        const refs = brought.others.map(([, ref]) => ref);
        if (!(await areThere(this.#deps.store, refs))) continue;
        await this.#tell();
        await commitBrought(this.#deps, this.#generation, brought);
        this.slowestMs = Math.max(this.slowestMs, performance.now() - began);
        this.#committed.push(checkpoint.step);
        this.#drop(checkpoint);
        this.#pending = this.#pending.filter(({ step }) => step > checkpoint.step);
        pauseMs = 500;
      } catch (error) {
        if (fatal.includes((error as Error).name)) this.#fatal = error as Error;
        else if (isUnusable(error)) {
          log.warn('checkpoint left out', { step: checkpoint.step, error });
          this.#drop(checkpoint);
        } else {
          log.warn('checkpoint not uploaded yet', { step: checkpoint.step, error });
          await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
          pauseMs = Math.min(pauseMs * 2, 10_000);
        }
      }
    }
    this.#reading = null;
    this.#running = null;
  }

  #drop(checkpoint: LocalCheckpoint): void {
    this.#pending = this.#pending.filter((each) => each !== checkpoint);
    if (this.#waiting?.checkpoint === checkpoint) this.#waiting = null;
  }

  /**
   * Of which all that other hosts bring is in the store: what waits for it, as nothing of it is left to do, or else
   * the newest. Who always went on to a newer one would never meet hosts that are slower than the trainer saves.
   */
  async #findComplete(): Promise<LocalCheckpoint | null> {
    const { store } = this.#deps;
    if (this.#waiting !== null) {
      const { checkpoint, brought } = this.#waiting;
      const refs = brought.others.map(([, ref]) => ref);
      if (await areThere(store, refs)) return checkpoint;
    }
    for (const each of this.#pending.toReversed()) {
      if (each === this.#waiting?.checkpoint) continue;
      const refs = isOfMany(this.#generation.gang) ? await sharesOfOthers(each) : [];
      if (refs !== null && (await areThere(store, refs))) return each;
    }
    return null;
  }
}

/** Computed at other rates than were decided. */
export function isRatesDiffer(error: unknown): error is RatesDiffer {
  return error instanceof Error && error.name === ratesDiffer;
}

/** Damaged, without the shards of another host, or superseded and deleted by the trainer while we waited for S3. */
export function isUnusable(error: unknown): boolean {
  return (
    error instanceof DamagedCheckpoint ||
    error instanceof ShardsMissing ||
    (error as NodeJS.ErrnoException | null)?.code === 'ENOENT'
  );
}
