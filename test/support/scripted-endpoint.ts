/** An endpoint that says what a test tells it, as slowly as the test likes; the app over it is the real one. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Endpoint, ServedBundle } from '../../serving/endpoint.ts';
import type { EngineEvent } from '../../serving/engine-process.ts';
import { ServingError } from '../../serving/errors.ts';
import type { Job } from '../../serving/protocol.ts';

export interface Script {
  pieces: string[];
  delayMs?: number;
  /** Thrown after the pieces instead of an end. */
  fails?: Error;
  /** Answered so many times with 429 first. */
  busy?: number;
}

export interface ScriptedEndpoint extends Endpoint {
  script: Script;
  readonly jobs: Job[];
}

/** Serves `folder`'s abilities under `name`, and none of its words. */
export function scriptedEndpoint(name: string, folder: string): ScriptedEndpoint {
  const jobs: Job[] = [];
  let numRequests = 0;
  const served: ServedBundle = {
    model: name,
    version: 2,
    bundle: '4be1c2a9d0f3'.padEnd(64, '7'),
    generation: 1,
    folder,
  };
  const endpoint: ScriptedEndpoint = {
    name,
    served,
    engine: null,
    script: { pieces: [] },
    jobs,
    get numRequests() {
      return numRequests;
    },
    activate: () => Promise.reject(new Error('a scripted endpoint has one bundle')),
    stop: () => Promise.resolve(),
    answer(job, signal) {
      const { script } = endpoint;
      if (script.busy !== undefined && script.busy > 0) {
        script.busy -= 1;
        const detail = { code: 'queue_full', retryAfterS: 2 };
        throw new ServingError(429, `endpoint ${name} is busy`, detail);
      }
      if ('inputs' in job) throw new Error('a scripted endpoint makes no vectors');
      jobs.push(job);
      numRequests += 1;
      const leaving = new AbortController();
      const close = (): void => {
        if (!leaving.signal.aborted) numRequests -= 1;
        leaving.abort();
      };
      signal.addEventListener('abort', close);
      return Promise.resolve({ served, events: speak(script, leaving.signal, close), close });
    },
  };
  return endpoint;
}

async function* speak(
  script: Script,
  signal: AbortSignal,
  close: () => void,
): AsyncGenerator<EngineEvent, void, void> {
  try {
    for (const text of script.pieces) {
      if (script.delayMs !== undefined) await sleep(script.delayMs, undefined, { signal });
      yield { type: 'piece', piece: { index: 0, text, tokens: [], finishReason: null } };
    }
    if (script.fails !== undefined) throw script.fails;
    yield { type: 'piece', piece: { index: 0, text: '', tokens: [], finishReason: 'stop' } };
    const completionTokens = script.pieces.length;
    yield { type: 'end', usage: { promptTokens: 1, completionTokens } };
  } finally {
    close();
  }
}
