/** A steady stream of requests to a served model: one at every tick, whether or not those before it have been answered. */
import { quantile } from './figures.ts';

export interface StreamOptions {
  url: string;
  apiKey: string;
  /** Name of the endpoint. */
  model: string;
  perSecond: number;
}

export interface Answered {
  sentAt: number;
  ms: number;
  /** Digest of the bundle that answered. */
  bundle: string | null;
  /** Null when it was answered well. */
  failure: string | null;
}

const timeoutMs = 20_000;

/** Starts the stream; `stop` resolves with every request when the last one has been answered. */
export function startStream({ url, apiKey, model, perSecond }: StreamOptions): {
  stop: () => Promise<Answered[]>;
} {
  const sent: Promise<Answered>[] = [];
  const send = async (): Promise<Answered> => {
    const sentAt = Date.now();
    const began = performance.now();
    let bundle: string | null = null;
    let failure: string | null = null;
    try {
      const response = await fetch(`${url}/v1/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
        body: JSON.stringify({ model, prompt: 'The state of', max_tokens: 8, temperature: 0 }),
        signal: AbortSignal.timeout(timeoutMs),
      });
      bundle = response.headers.get('x-temper-bundle');
      const text = await response.text();
      if (!response.ok) failure = `status ${response.status}: ${text.slice(0, 200)}`;
      else if (bundle === null) failure = 'the answer names no bundle';
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error);
    }
    return { sentAt, ms: performance.now() - began, bundle, failure };
  };
  const timer = setInterval(() => sent.push(send()), 1000 / perSecond);
  return {
    async stop() {
      clearInterval(timer);
      return await Promise.all(sent);
    },
  };
}

/** How a stream went, in a few figures. */
export function summarise(requests: readonly Answered[]): {
  requests: number;
  failed: number;
  failures: string[];
  medianMs: number;
  p95Ms: number;
  maxMs: number;
} {
  const failures = requests.flatMap(({ failure }) => (failure === null ? [] : [failure]));
  const times = requests.map(({ ms }) => ms);
  return {
    requests: requests.length,
    failed: failures.length,
    failures: [...new Set(failures)].slice(0, 5),
    medianMs: quantile(times, 0.5),
    p95Ms: quantile(times, 0.95),
    maxMs: Math.max(...times),
  };
}
