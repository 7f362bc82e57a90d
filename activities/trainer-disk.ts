/** A full disk told as one: how much is free, how much training needs, what to do. */
import { statfs } from 'node:fs/promises';
import { ApplicationFailure } from '@temporalio/activity';
import { PassingFailure } from '../config/failures.ts';
import { countParameters } from '../recipes/shapes.ts';
import type { Deps } from './deps.ts';
import type { TrainingJob } from './training-job.ts';

/** Weights and two moments of the optimizer, in single precision. */
const bytesPerParameter = 12;
/** Two are kept, a third is being written. */
const numCheckpoints = 3;
const noRoom: readonly unknown[] = ['ENOSPC', 'EDQUOT'];

/** Turns the system's error for a full disk into a failure of that type. */
export async function tellDiskFull<Result>(
  deps: Deps,
  job: TrainingJob,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!noRoom.includes((error as NodeJS.ErrnoException).code)) throw error;
    throw await diskFull(deps, job, (error as Error).message);
  }
}

/** Room may come back, so the workflow waits for it: a failure that can be retried. */
export async function diskFull(
  deps: Deps,
  { shape }: TrainingJob,
  message: string,
): Promise<ApplicationFailure> {
  const { bavail, bsize } = await statfs(deps.home);
  const needed = countParameters(shape) * bytesPerParameter * numCheckpoints;
  return ApplicationFailure.create({
    message:
      `the disk of host ${deps.host} is full (${message}): ${megabytes(bavail * bsize)} free in ${deps.home}, ` +
      `checkpoints need about ${megabytes(needed)}. Free some room there`,
    type: PassingFailure.DiskFull,
  });
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}
