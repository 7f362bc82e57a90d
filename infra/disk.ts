/** How much room a stack needs before it, or a run on it, may start. */
import { statfs } from 'node:fs/promises';

/** A run writes its corpus, checkpoints and a bundle: with less than this the disk may fill on the way. */
export const leastFreeBytes = 5e9;

/** Bytes that may still be written below a folder. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** Throws one sentence when there is too little room for a run. */
export async function requireDisk(home: string, free = freeBytes(home)): Promise<void> {
  const found = await free;
  if (found >= leastFreeBytes) return;
  throw new Error(
    `${home}: found ${gigabytes(found)} free, expected at least ${gigabytes(leastFreeBytes)}. Free some, or set TEMPER_HOME to a folder on another disk.`,
  );
}

/** 5.0 GB. */
export function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
