/** Reading and writing the files of a run directory, by the contract in `config/trainer.ts`. */
import { randomBytes } from 'node:crypto';
import { open, readFile, rename, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import {
  trainerEventSchema,
  trainerResultSchema,
  type Control,
  type TrainerEvent,
  type TrainerResult,
} from '../config/trainer.ts';

/** Writes aside and renames, so that a reader sees the old file or the new one, whole. */
export async function writeWhole(file: string, text: string): Promise<void> {
  const aside = `${file}.${randomBytes(4).toString('hex')}`;
  await writeFile(aside, text);
  await rename(aside, file);
}

/** Undefined when the file is not there. */
export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Null while the trainer has not ended. */
export async function readResult(runDir: string): Promise<TrainerResult | null> {
  const text = await readIfThere(path.join(runDir, 'result.json'));
  return text === undefined ? null : trainerResultSchema.parse(JSON.parse(text));
}

/** Follows events.jsonl; each call gives the whole lines written since the one before. */
export class EventTail {
  readonly #file: string;
  #offset = 0;

  constructor(runDir: string) {
    this.#file = path.join(runDir, 'events.jsonl');
  }

  async read(): Promise<TrainerEvent[]> {
    let handle;
    try {
      handle = await open(this.#file, 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
    try {
      const { size } = await handle.stat();
      const bytes = Buffer.alloc(Math.max(0, size - this.#offset));
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, this.#offset);
      const end = bytes.subarray(0, bytesRead).lastIndexOf(10) + 1;
      this.#offset += end;
      return bytes.subarray(0, end).toString('utf8').split('\n').flatMap(parseEvent);
    } finally {
      await handle.close();
    }
  }
}

/** A line that a killed trainer left half-written is skipped: what it said happens again. */
function parseEvent(line: string): TrainerEvent[] {
  try {
    const event = trainerEventSchema.safeParse(JSON.parse(line));
    return event.success ? [event.data] : [];
  } catch {
    return [];
  }
}

export async function writeControl(runDir: string, control: Control): Promise<void> {
  await writeWhole(path.join(runDir, 'control.json'), JSON.stringify(control));
}

/** Tells the trainer that somebody watches. */
export async function touchControl(runDir: string): Promise<void> {
  const now = new Date();
  await utimes(path.join(runDir, 'control.json'), now, now);
}
