/**
 * An endpoint: one name, and the bundle that answers under it now. Moves traffic to another bundle
 * without losing a request, and starts a dead engine again while requests wait.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Engine, EngineEvent } from './engine-process.ts';
import { startEngine } from './engine-process.ts';
import { EngineLostError, ServingError, unavailable } from './errors.ts';
import type { EmbeddingJob, Job, ProbeOutcome } from './protocol.ts';

/** A bundle folder on this host, and what it is. */
export interface ServedBundle {
  model: string;
  version: number;
  /** Digest of the bundle. */
  bundle: string;
  generation: number;
  folder: string;
}

export interface EndpointLimits {
  /** Requests at a time, answered or waiting; one more gets 429. */
  maxRequests: number;
  /** How long a request waits for an engine that is being started again. */
  waitMs: number;
  /** How long the requests of a replaced bundle may go on. */
  drainMs: number;
}

export const defaultLimits: EndpointLimits = { maxRequests: 64, waitMs: 10_000, drainMs: 60_000 };

export interface Answer {
  served: ServedBundle;
  events: AsyncGenerator<EngineEvent, void, void>;
  /** Cancels what is left of the answer and frees its place; a second time, or after the end, does nothing. */
  close: () => void;
}

export interface Endpoint {
  readonly name: string;
  readonly served: ServedBundle | null;
  readonly engine: Engine | null;
  readonly numRequests: number;
  /** Starts the bundle, and moves traffic once it answered its probe; throws and keeps the old one else. */
  activate(bundle: ServedBundle, signal?: AbortSignal): Promise<ProbeOutcome>;
  /** Resolves with the first event at hand, so that a refusal still has a status of its own. */
  answer(job: Job | EmbeddingJob, signal: AbortSignal): Promise<Answer>;
  /** Lets requests end, then ends the engine. */
  stop(): Promise<void>;
}

/** An engine that lived so long is trusted again: its next death restarts it at once. */
const healthyMs = 30_000;
const longestBackoffMs = 30_000;

function died(cause: EngineLostError): ServingError {
  return unavailable('the engine died in the middle of this answer; ask again', cause);
}

/** Makes an endpoint that serves nothing yet. */
export function createEndpoint(name: string, log: Logger, limits = defaultLimits): Endpoint {
  const stopping = new AbortController();
  let served: ServedBundle | null = null;
  let engine: Engine | null = null;
  let numRequests = 0;
  let failures = 0;
  let waiters: (() => void)[] = [];
  const draining = new Set<Promise<void>>();

  function adopt(next: Engine, bundle: ServedBundle): void {
    engine = next;
    served = bundle;
    for (const wake of waiters.splice(0)) wake();
    const startedAt = Date.now();
    void next.exited.then(() => {
      if (engine !== next) return;
      engine = null;
      failures = Date.now() - startedAt > healthyMs ? 0 : failures + 1;
      if (!stopping.signal.aborted) void revive(bundle.bundle);
    });
  }

  async function revive(digest: string): Promise<void> {
    for (;;) {
      const delayMs = failures <= 1 ? 0 : Math.min(longestBackoffMs, 125 * 2 ** failures);
      log.warn(
        { endpoint: name, bundle: digest, failures, delayMs },
        'engine died; starting it again',
      );
      try {
        await sleep(delayMs, undefined, { signal: stopping.signal, ref: false });
        if (engine !== null || served?.bundle !== digest) return;
        const next = await startEngine(served.folder, { signal: stopping.signal });
        // Meanwhile another bundle may have taken over.
        if (engine === null && served?.bundle === digest && !stopping.signal.aborted) {
          adopt(next, served);
        } else {
          await next.kill();
        }
        return;
      } catch (error) {
        if (stopping.signal.aborted) return;
        failures += 1;
        log.error({ endpoint: name, bundle: digest, err: error }, 'engine did not start');
      }
    }
  }

  async function waitForEngine(deadline: number, signal: AbortSignal): Promise<Engine> {
    for (;;) {
      signal.throwIfAborted();
      if (engine?.alive === true) return engine;
      const left = deadline - Date.now();
      if (left <= 0 || stopping.signal.aborted) {
        throw unavailable(
          served === null
            ? `endpoint ${name} has no model ready yet; try again in a moment`
            : `the engine of endpoint ${name} is being started again; try again in a moment`,
        );
      }
      let wake = (): void => {};
      await Promise.race([
        new Promise<void>((resolve) => waiters.push((wake = resolve))),
        sleep(Math.min(left, 500), undefined, { ref: false }),
      ]);
      waiters = waiters.filter((waiter) => waiter !== wake);
    }
  }

  /** Gives the first event back in front of the rest, and closes the answer with the last one. */
  async function* closing(
    first: EngineEvent,
    rest: AsyncGenerator<EngineEvent, void, void>,
    close: () => void,
  ): AsyncGenerator<EngineEvent, void, void> {
    try {
      yield first;
      yield* rest;
    } catch (error) {
      throw error instanceof EngineLostError ? died(error) : error;
    } finally {
      close();
    }
  }

  return {
    name,
    get served() {
      return served;
    },
    get engine() {
      return engine;
    },
    get numRequests() {
      return numRequests;
    },
    async activate(bundle, signal) {
      if (served?.bundle === bundle.bundle && engine?.alive === true) {
        served = bundle;
        return engine.probe;
      }
      const stop = AbortSignal.any([stopping.signal, ...(signal === undefined ? [] : [signal])]);
      const next = await startEngine(bundle.folder, { signal: stop });
      if (stop.aborted) await next.kill();
      stop.throwIfAborted();
      const old = engine;
      failures = 0;
      adopt(next, bundle);
      if (old !== null) {
        const drained = old.drain(limits.drainMs).finally(() => draining.delete(drained));
        draining.add(drained);
      }
      return next.probe;
    },
    async answer(job, signal) {
      if (numRequests >= limits.maxRequests) {
        throw new ServingError(
          429,
          `endpoint ${name} is busy with ${numRequests} requests, its limit; try again in a second`,
          { code: 'queue_full', retryAfterS: 1 },
        );
      }
      numRequests += 1;
      const leaving = new AbortController();
      let isOpen = true;
      const close = (): void => {
        if (!isOpen) return;
        isOpen = false;
        signal.removeEventListener('abort', close);
        numRequests -= 1;
        leaving.abort();
      };
      // Also when nobody has begun to read the answer.
      signal.addEventListener('abort', close);
      try {
        const deadline = Date.now() + limits.waitMs;
        for (let tries = 1; ; tries += 1) {
          const chosen = await waitForEngine(deadline, signal);
          const bundle = served!;
          const events = chosen.generate(job, leaving.signal);
          try {
            const first = await events.next();
            if (first.done === true) throw new Error('an engine answered without an event');
            return { served: bundle, events: closing(first.value, events, close), close };
          } catch (error) {
            if (!(error instanceof EngineLostError)) throw error;
            // Nothing has been said to the client yet, so the job may be asked again; once, for it
            // may be the job that kills the engine.
            if (tries > 1) throw died(error);
            log.warn({ endpoint: name, bundle: bundle.bundle }, 'a request is asked again');
          }
        }
      } catch (error) {
        close();
        throw error;
      }
    },
    async stop() {
      const deadline = Date.now() + limits.drainMs;
      while (numRequests > 0 && Date.now() < deadline) await sleep(20);
      stopping.abort();
      for (const wake of waiters.splice(0)) wake();
      const last = engine;
      engine = null;
      await last?.kill();
      await Promise.all(draining);
    },
  };
}
