/**
 * Reads files in a thread with a bound on its memory and on the time that it may stand still. A part of a file that
 * ends the thread is refused, and the file is read again without it: readers are deterministic, so what was handed on
 * before is passed over.
 */
import { Worker } from 'node:worker_threads';
import type { Refusal } from '../decode.ts';
import type { FileRecord } from './types.ts';

export interface ThreadRequest {
  file: string;
  name: string;
  textField: string;
  /** Records that were handed on already. */
  skip: number;
  /** Parts of the file that are not read again, by their name inside it. */
  refused: Record<string, Refusal>;
}
export type ThreadReply =
  | { kind: 'records'; records: FileRecord[] }
  | { kind: 'leaf'; inside: string; before: number }
  | { kind: 'end' }
  | { kind: 'failed'; message: string };

export interface Limits {
  heapMb: number;
  /** Buffers and what native code holds, which the heap's bound does not count. */
  outsideMb: number;
  /** For which nothing may be heard while a part is read. */
  stillMs: number;
}
const usualLimits: Limits = { heapMb: 512, outsideMb: 1024, stillMs: 120_000 };
/** Parts of one file that may end the thread before the rest of it is given up. */
const maxFaults = 20;
const lookMs = 50;

let idle: { thread: Worker; limits: Limits } | null = null;

/** The records of a file that a parser of others reads. */
export async function* readContained(
  file: string,
  name: string,
  textField: string,
  limits: Limits = usualLimits,
): AsyncGenerator<FileRecord> {
  const refused: Record<string, Refusal> = {};
  let skip = 0;
  let faults = 0;
  let reused = takeIdle(limits);
  for (;;) {
    const thread = reused ?? newThread(limits);
    const attempt = attemptOf(thread, { file, name, textField, skip, refused }, limits);
    let fault: Fault | null = null;
    for (;;) {
      const next = await attempt.next();
      if (next.done === true) {
        fault = next.value;
        break;
      }
      skip += 1;
      yield next.value;
    }
    if (fault === null) return;
    // What other files left in a thread is no fault of this one: only new threads judge it.
    if (reused !== null) {
      reused = null;
      continue;
    }
    // What was refused already cannot be what ends it again: then nothing of the file is safe.
    const known = fault.inside === '' || Object.hasOwn(refused, fault.inside);
    if (known || faults >= maxFaults) {
      yield { position: null, ...fault.refusal };
      return;
    }
    faults += 1;
    refused[fault.inside] = fault.refusal;
    skip = Math.min(skip, fault.before);
  }
}

interface Fault {
  /** What was being read; '' for the file itself. */
  inside: string;
  /** Records of the file before it. */
  before: number;
  refusal: Refusal;
}

async function* attemptOf(
  thread: Worker,
  request: ThreadRequest,
  limits: Limits,
): AsyncGenerator<FileRecord, Fault | null> {
  thread.ref();
  const replies: ThreadReply[] = [];
  let died: string | null = null;
  let wake: () => void = () => {};
  const onMessage = (reply: ThreadReply): void => {
    replies.push(reply);
    wake();
  };
  const onError = (error: Error): void => {
    died = (error as NodeJS.ErrnoException).code ?? error.message;
    wake();
  };
  const onExit = (code: number): void => {
    died ??= `exit ${code}`;
    wake();
  };
  thread.on('message', onMessage).on('error', onError).on('exit', onExit);
  const watching = watchOutside(thread, limits, () => (died ??= outside));
  let [inside, before] = ['', 0];
  let whole = false;
  try {
    thread.postMessage(request);
    for (;;) {
      const reply = replies.shift();
      if (reply === undefined) {
        if (died !== null) return { inside, before, refusal: crashed(died, limits) };
        const heard = new Promise<boolean>((resolve) => {
          const timer = setTimeout(() => resolve(false), limits.stillMs);
          wake = () => {
            clearTimeout(timer);
            resolve(true);
          };
        });
        if (!(await heard)) {
          const detail = `nothing came of it within ${limits.stillMs / 1000} s`;
          return { inside, before, refusal: { reason: 'timed_out', detail } };
        }
      } else if (reply.kind === 'leaf') ({ inside, before } = reply);
      else if (reply.kind === 'end') {
        whole = true;
        return null;
      } else if (reply.kind === 'failed') throw new Error(reply.message);
      else {
        yield* reply.records;
        thread.postMessage({ kind: 'go-on' });
      }
    }
  } finally {
    clearInterval(watching);
    thread.off('message', onMessage).off('error', onError).off('exit', onExit);
    if (whole && idle === null) {
      thread.unref();
      idle = { thread, limits };
    } else {
      await thread.terminate();
    }
  }
}

const outside = 'memory outside its heap';

/** Ends the thread where it holds too much outside its heap; asked of the thread itself, for others share the process. */
function watchOutside(
  thread: Worker,
  { outsideMb }: Limits,
  tooMuch: () => void,
): ReturnType<typeof setInterval> {
  let asking = false;
  const look = async (): Promise<void> => {
    if (asking) return;
    asking = true;
    // One that has ended cannot be asked.
    const found = await thread.getHeapStatistics().catch(() => null);
    asking = false;
    if (found === null) return;
    const bytes = found.external_memory + found.malloced_memory;
    if (bytes <= outsideMb * 1024 * 1024) return;
    tooMuch();
    await thread.terminate();
  };
  return setInterval(() => void look(), lookMs);
}

/** A thread that has read a file to its end reads the next one. */
function takeIdle(limits: Limits): Worker | null {
  if (idle === null || idle.limits.heapMb !== limits.heapMb) return null;
  const { thread } = idle;
  idle = null;
  return thread;
}

function newThread({ heapMb }: Limits): Worker {
  const thread = new Worker(new URL('./thread.ts', import.meta.url), {
    resourceLimits: { maxOldGenerationSizeMb: heapMb },
  });
  thread.once('exit', () => {
    if (idle?.thread === thread) idle = null;
  });
  // One that ends while nobody reads has harmed nobody.
  return thread.on('error', () => {});
}

function crashed(code: string, { heapMb, outsideMb }: Limits): Refusal {
  const memory = code === 'ERR_WORKER_OUT_OF_MEMORY';
  const limitMb = memory ? heapMb : outsideMb;
  return memory || code === outside
    ? { reason: 'too_large', detail: `needs more than ${limitMb} MiB of memory to be read` }
    : { reason: 'crashed', detail: `ended its reader (${code})` };
}
