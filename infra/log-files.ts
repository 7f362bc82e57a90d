/** The logs of a stack: the end of each file, and what is added to it. */
import { readdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import type { Layout } from './layout.ts';
import { partNames } from './programs.ts';
import { logFileOf } from './supervisor.ts';

/** What has a log: the parts of the stack, and who keeps them alive. */
export const loggedParts = [...partNames, 'supervisord'] as const;

export interface LogFile {
  part: string;
  file: string;
}

/** One file a part. */
export function partLogs(layout: Layout): LogFile[] {
  return loggedParts.map((part) => ({ part, file: logFileOf(layout, part) }));
}

/** What the trainers of a run print, for as long as this host keeps it. */
export function trainerLogs({ home }: Layout, run: string): LogFile[] {
  const folder = path.join(home, 'runs', run);
  let trials: string[];
  try {
    trials = readdirSync(folder);
  } catch {
    return [];
  }
  return trials
    .filter((trial) => /^(pretrain|sft|dpo|orpo)-\d+-\d+$/.test(trial))
    .map((trial) => ({
      part: trial.split('-')[0]!,
      file: path.join(folder, trial, 'trainer.log'),
    }));
}

/** Reads whole lines from near the end of a file on; each call gives those added since the one before. */
export class LogTail {
  readonly #file: string;
  readonly #mostBytes: number;
  #offset: number | null = null;
  #inode = 0;

  constructor(file: string, mostBytes: number) {
    this.#file = file;
    this.#mostBytes = mostBytes;
  }

  async read(): Promise<string[]> {
    let handle;
    try {
      handle = await open(this.#file, 'r');
    } catch {
      return [];
    }
    try {
      const { size, ino } = await handle.stat();
      // The supervisor turns full files over: the new one is read from its beginning.
      if (this.#offset !== null && (ino !== this.#inode || size < this.#offset)) this.#offset = 0;
      const first = this.#offset === null;
      const start = this.#offset ?? Math.max(0, size - this.#mostBytes);
      this.#inode = ino;
      const bytes = Buffer.alloc(size - start);
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
      const end = bytes.subarray(0, bytesRead).lastIndexOf(10) + 1;
      this.#offset = start + end;
      const lines = bytes.subarray(0, end).toString('utf8').split('\n').slice(0, -1);
      return first && start > 0 ? lines.slice(1) : lines;
    } finally {
      await handle.close();
    }
  }
}
