/** Reading and writing the files of a run directory, by the contract in `config/trainer.ts`. */
import { randomBytes } from 'node:crypto';
import { open, readFile, rename, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { canonicalJson } from '../config/digest.ts';
import type { Head } from '../config/manifests.ts';
import {
  controlSchema,
  trainerEventSchema,
  trainerResultSchema,
  trainerRunSchema,
  type Control,
  type TrainerEvent,
  type TrainerResult,
  type TrainerRun,
} from '../config/trainer.ts';

/** Writes aside and renames, so that a reader sees the old file or the new one, whole. */
async function writeWhole(file: string, text: string): Promise<void> {
  const aside = `${file}.${randomBytes(4).toString('hex')}`;
  await writeFile(aside, text);
  await rename(aside, file);
}

/** As `writeWhole`, and it survives the loss of power. */
async function writeDurably(file: string, text: string): Promise<void> {
  const aside = `${file}.${randomBytes(4).toString('hex')}`;
  await writeFile(aside, text, { flush: true });
  await rename(aside, file);
  const folder = await open(path.dirname(file));
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Null when there is none, or one that this Temper cannot read: a torn file, an older schema. */
export async function readRun(runDir: string): Promise<TrainerRun | null> {
  const text = await readIfThere(path.join(runDir, 'run.json'));
  if (text === undefined) return null;
  try {
    return trainerRunSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

export async function writeRun(runDir: string, run: TrainerRun): Promise<void> {
  await writeDurably(path.join(runDir, 'run.json'), JSON.stringify(run));
}

/** By which code the trainer of this folder was started, as its head said then. */
export async function writeCodes(runDir: string, codes: Head['codes']): Promise<void> {
  await writeDurably(path.join(runDir, 'codes.json'), canonicalJson(codes ?? []));
}

/** Whether it was started by the code that the head says; an older version noted none. */
export async function isOfCodes(runDir: string, { codes = [] }: Pick<Head, 'codes'>) {
  const noted = (await readIfThere(path.join(runDir, 'codes.json'))) ?? '[]';
  return noted === canonicalJson(codes);
}

/** Undefined when the file is not there. */
async function readIfThere(file: string): Promise<string | undefined> {
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

/** What a watcher tells: the rest of the contract is for other programs. */
export type Commands = Pick<
  Control,
  'fence' | 'acknowledged' | 'paused' | 'pause' | 'learningRates'
> &
  Partial<Pick<Control, 'stop' | 'stopAt'>>;

/** Tells the trainer whether to go on, at which rates, and which checkpoints it may delete. */
export async function writeControl(runDir: string, commands: Commands): Promise<void> {
  const control: Control = { schemaVersion: 1, stop: false, saveNow: 0, ...commands };
  await writeWhole(path.join(runDir, 'control.json'), JSON.stringify(control));
}

/** What the trainer was told last; null when there is nothing, or nothing that this Temper can read. */
export async function readControl(runDir: string): Promise<Control | null> {
  try {
    return controlSchema.parse(JSON.parse((await readIfThere(path.join(runDir, 'control.json')))!));
  } catch {
    return null;
  }
}

/** Tells the trainer that somebody watches. */
export async function touchControl(runDir: string): Promise<void> {
  const now = new Date();
  await utimes(path.join(runDir, 'control.json'), now, now);
}
