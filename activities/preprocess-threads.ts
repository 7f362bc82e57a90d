/** A few threads shared by the activities of one worker process; each does one task at a time. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { oldGenerationMb, youngGenerationMb } from '../config/data-memory.ts';
import type { TaskName, ThreadReply, ThreadRequest, ThreadTasks } from './preprocess-thread.ts';

interface Job {
  request: ThreadRequest;
  given: readonly ArrayBuffer[];
  onProgress: (done: number, total: number) => void;
  resolve: (output: never) => void;
  reject: (error: Error) => void;
}

/** A thread has loaded other code than its process: what it makes must not stand under the name of the process's code. */
export class OutdatedCode extends Error {
  override readonly name = 'OutdatedCode';
}

/** Threads start when they are first needed and never keep the process alive. */
export class ThreadPool {
  readonly #size: number;
  readonly #idle: Worker[] = [];
  readonly #waiting: Job[] = [];
  readonly #busy = new Map<Worker, Job>();
  readonly #onOutdated: () => void;
  #isCurrent: () => boolean = () => true;

  /** `onOutdated`: what a process does that can do nothing right any more, such as to end and be started again. */
  constructor(size = availableParallelism(), onOutdated: () => void = () => {}) {
    this.#size = size;
    this.#onOutdated = onOutdated;
  }

  /** Asks of each thread, once it has loaded its code, whether that is still the code of this process. */
  checkCode(isCurrent: () => boolean): void {
    this.#isCurrent = isCurrent;
  }

  /**
   * Runs a task in a thread; an error there comes back with its name and message. The memory that is `given` to it is not
   * copied, and is gone here; views of other memory should be all of it, since all of it is copied.
   */
  run<Name extends TaskName>(
    task: Name,
    input: ThreadTasks[Name]['input'],
    onProgress: (done: number, total: number) => void = () => {},
    given: readonly ArrayBuffer[] = [],
  ): Promise<ThreadTasks[Name]['output']> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request: { task, input }, given, onProgress, resolve, reject });
      this.#startNext();
    });
  }

  async close(): Promise<void> {
    const threads = [...this.#idle.splice(0), ...this.#busy.keys()];
    await Promise.all(threads.map(async (thread) => thread.terminate()));
  }

  #startNext(): void {
    if (this.#waiting.length === 0) return;
    const thread = this.#idle.pop() ?? (this.#busy.size < this.#size ? this.#newThread() : null);
    if (thread === null) return;
    const job = this.#waiting.shift()!;
    try {
      thread.postMessage(job.request, job.given);
    } catch (error) {
      // What cannot be copied to a thread fails alone; the thread is as free as before.
      this.#idle.push(thread);
      thread.unref();
      job.reject(error as Error);
      this.#startNext();
      return;
    }
    this.#busy.set(thread, job);
    thread.ref();
  }

  /** Whoever waits hears that the queue moves: one task may take longer than a heartbeat may. */
  #tellWaiting(): void {
    for (const waiting of this.#waiting) waiting.onProgress(0, 0);
  }

  #newThread(): Worker {
    const thread = new Worker(new URL('./preprocess-thread.ts', import.meta.url), {
      resourceLimits: {
        maxOldGenerationSizeMb: oldGenerationMb,
        maxYoungGenerationSizeMb: youngGenerationMb,
      },
    });
    let fault: Error | null = null;
    let isChecked = false;
    thread.on('message', (reply: ThreadReply) => {
      const job = this.#busy.get(thread);
      // With its first word it has loaded everything; files that change later are not read by it.
      if (!isChecked && !this.#isCurrent()) {
        fault = new OutdatedCode(
          'the code on the disk is newer than this worker. It ends, and its successor does this again.',
        );
        void thread.terminate();
        this.#onOutdated();
        return;
      }
      isChecked = true;
      if (reply.kind === 'progress') {
        job?.onProgress(reply.done, reply.total);
        this.#tellWaiting();
        return;
      }
      this.#busy.delete(thread);
      thread.unref();
      this.#idle.push(thread);
      if (reply.kind === 'done') {
        job?.resolve(reply.output as never);
      } else {
        const error = new Error(reply.message);
        error.name = reply.name;
        if (reply.stack !== undefined) error.stack = reply.stack;
        job?.reject(error);
      }
      this.#startNext();
      this.#tellWaiting();
    });
    thread.on('error', (error) => {
      fault = error instanceof Error ? error : new Error(String(error));
    });
    thread.on('exit', (code) => {
      const job = this.#busy.get(thread);
      this.#busy.delete(thread);
      const at = this.#idle.indexOf(thread);
      if (at >= 0) this.#idle.splice(at, 1);
      job?.reject(fault ?? new Error(`a preprocessing thread ended with code ${code}`));
      this.#startNext();
    });
    return thread;
  }
}
