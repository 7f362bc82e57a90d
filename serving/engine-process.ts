/** The parent's side of an engine process: start it, wait for its probe, hand it jobs, let it go. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EngineLostError, ServingError, UnservableError } from './errors.ts';
import type {
  EmbeddingJob,
  EngineStats,
  FromEngine,
  Job,
  Piece,
  ProbeOutcome,
  ToEngine,
  Usage,
} from './protocol.ts';

export type EngineEvent =
  | { type: 'piece'; piece: Piece }
  | { type: 'vectors'; first: number; vectors: Float32Array[] }
  | { type: 'end'; usage: Usage };

export interface Engine {
  readonly pid: number;
  readonly probe: ProbeOutcome;
  readonly alive: boolean;
  /** Fulfilled when the process is gone. */
  readonly exited: Promise<void>;
  /** Throws ServingError when the job is refused, EngineLostError when the process dies. */
  generate(job: Job | EmbeddingJob, signal: AbortSignal): AsyncGenerator<EngineEvent, void, void>;
  stats(): Promise<EngineStats>;
  /** Ends the process when its jobs are done, or after the time given. */
  drain(timeoutMs: number): Promise<void>;
  kill(): Promise<void>;
}

export interface EngineOptions {
  /** Time until the probe must have been answered. */
  readyTimeoutMs?: number;
  signal?: AbortSignal;
}

type Answer = Exclude<FromEngine, { type: 'ready' | 'unservable' }>;

/** Starts an engine on a bundle folder; resolves when it has answered the probe within its tolerance. */
export async function startEngine(folder: string, options: EngineOptions = {}): Promise<Engine> {
  const { readyTimeoutMs = 120_000, signal } = options;
  signal?.throwIfAborted();
  const child = fork(path.join(import.meta.dirname, 'engine.ts'), [folder], {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    // The engine needs no secret of the node; the mark of its stack is how an orphan is found.
    env: {
      PATH: process.env['PATH'],
      TZ: process.env['TZ'],
      TEMPER_STACK_HOME: process.env['TEMPER_STACK_HOME'],
      // ONNX Runtime would report to its makers, and leave a file of it in the temporary folder.
      ORT_DISABLE_TELEMETRY: '1',
    },
    execArgv: [],
  });
  const listeners = new Map<number, (answer: Answer) => void>();
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  let alive = true;
  void exited.then(() => {
    alive = false;
    const lost = lostAnswer();
    for (const [id, listener] of listeners) listener({ ...lost, id });
  });

  const first = new Promise<FromEngine>((resolve) => child.once('message', resolve as () => void));
  const timer = new AbortController();
  const outcome = await Promise.race([
    first,
    exited.then(() => null),
    sleep(readyTimeoutMs, 'late' as const, { signal: timer.signal, ref: false }).catch(() => null),
    ...(signal === undefined
      ? []
      : [
          once(signal, 'abort', { signal: timer.signal })
            .catch(() => null)
            .then(() => null),
        ]),
  ]);
  timer.abort();
  if (outcome === null || outcome === 'late' || outcome.type !== 'ready') {
    child.kill('SIGKILL');
    await exited;
    if (outcome === 'late') {
      throw new EngineLostError(
        `the engine did not answer its probe in ${readyTimeoutMs / 1000} s; is the machine overloaded?`,
      );
    }
    if (outcome?.type === 'unservable') {
      throw new UnservableError(outcome.message, outcome.difference);
    }
    signal?.throwIfAborted();
    throw new EngineLostError(
      `the engine ended before it was ready (exit code ${child.exitCode}, signal ${child.signalCode})`,
    );
  }
  child.on('message', (message: FromEngine) => {
    if (message.type === 'ready' || message.type === 'unservable') return;
    listeners.get(message.id)?.(message);
  });

  let lastId = 0;
  const send = (message: ToEngine): void => {
    // A channel that has just closed is seen as the exit of the process.
    if (child.connected) child.send(message, () => {});
  };

  async function* generate(
    job: Job | EmbeddingJob,
    stop: AbortSignal,
  ): AsyncGenerator<EngineEvent, void, void> {
    const id = ++lastId;
    const inbox: Answer[] = [];
    let wake = (): void => {};
    let over = false;
    const leave = (): void => {
      stop.removeEventListener('abort', onAbort);
      // An abort may come while nobody reads: the engine is told at once, and once.
      if (listeners.delete(id) && !over) send({ type: 'cancel', id });
    };
    const onAbort = (): void => {
      leave();
      wake();
    };
    listeners.set(id, (answer) => {
      inbox.push(answer);
      wake();
    });
    stop.addEventListener('abort', onAbort);
    try {
      if (!alive) throw new EngineLostError('the engine process is gone');
      send({ type: 'generate', id, job });
      for (;;) {
        stop.throwIfAborted();
        const answer = inbox.shift();
        if (answer === undefined) {
          await new Promise<void>((resolve) => (wake = resolve));
          continue;
        }
        if (answer.type === 'piece') {
          yield { type: 'piece', piece: answer.piece };
        } else if (answer.type === 'vectors') {
          yield { type: 'vectors', first: answer.first, vectors: answer.vectors };
        } else if (answer.type === 'end') {
          over = true;
          yield { type: 'end', usage: answer.usage };
          return;
        } else if (answer.type === 'refused') {
          over = true;
          throw refusal(answer);
        }
      }
    } finally {
      leave();
    }
  }

  async function stats(): Promise<EngineStats> {
    const id = ++lastId;
    const answer = await new Promise<Answer>((resolve) => {
      listeners.set(id, resolve);
      send({ type: 'stats', id });
      if (!alive) resolve({ ...lostAnswer(), id });
    });
    listeners.delete(id);
    if (answer.type !== 'stats') throw new EngineLostError('the engine process is gone');
    return answer.stats;
  }

  async function kill(): Promise<void> {
    child.kill('SIGKILL');
    await exited;
  }

  return {
    pid: child.pid!,
    probe: outcome.probe,
    get alive() {
      return alive;
    },
    exited,
    generate,
    stats,
    kill,
    async drain(timeoutMs) {
      const deadline = Date.now() + timeoutMs;
      while (alive && listeners.size > 0 && Date.now() < deadline) await sleep(20);
      await kill();
    },
  };
}

const lostStatus = -1;

function lostAnswer(): Answer & { type: 'refused' } {
  return { type: 'refused', id: 0, status: lostStatus, message: 'the engine process died' };
}

function refusal({ status, message, param, code }: Answer & { type: 'refused' }): Error {
  if (status === lostStatus) return new EngineLostError(message);
  return new ServingError(status, message, {
    ...(param === undefined ? {} : { param }),
    ...(code === undefined ? {} : { code }),
  });
}
