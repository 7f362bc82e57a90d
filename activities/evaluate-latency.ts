/** How fast the evaluation's server answers: one stream of greedy decoding, or texts that are embedded. */
import { readFile } from 'node:fs/promises';
import { Context } from '@temporalio/activity';
import { z } from 'zod';
import type { EvaluationServer } from './evaluate-server.ts';

/** One answer of 64 tokens; no machine that can train takes so long for it. */
const requestLimitMs = 120_000;

const completionSchema = z.looseObject({ usage: z.looseObject({ completion_tokens: z.number() }) });
const embeddingsSchema = z.looseObject({ usage: z.looseObject({ prompt_tokens: z.number() }) });

interface Latency {
  firstTokenMs: number;
  tokensPerSecond: number;
}

type Asked = Pick<EvaluationServer, 'url' | 'name'>;

/** Asks the server; resolves with its answer and the time that it took. */
async function asking({ url }: Asked, apiKeyFile: string, limitMs: number) {
  const key = (await readFile(apiKeyFile, 'utf8')).trim();
  const { cancellationSignal } = Context.current();
  return async (route: string, body: object) => {
    const startedAt = performance.now();
    const answered = await fetch(`${url}/v1/${route}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.any([cancellationSignal, AbortSignal.timeout(limitMs)]),
    })
      .then(async (response) => ({ status: response.status, body: await response.text() }))
      // `fetch` says TypeError of a lost connection, which would count as a fault of our own.
      .catch((cause: unknown) => {
        throw new Error(`latency: the evaluation's server did not answer`, { cause });
      });
    if (answered.status !== 200) throw new Error(`latency: the server answered ${answered.status}`);
    return { ms: performance.now() - startedAt, answer: JSON.parse(answered.body) as unknown };
  };
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

/** The median of five: time to the first token, and tokens a second after it. */
export async function measureLatency(
  server: Asked,
  apiKeyFile: string,
  limitMs = requestLimitMs,
): Promise<Latency> {
  const send = await asking(server, apiKeyFile, limitMs);
  const ask = async (maxTokens: number) => {
    const { ms, answer } = await send('completions', {
      model: server.name,
      prompt: 'The state of the union',
      max_tokens: maxTokens,
      temperature: 0,
    });
    return { ms, numTokens: completionSchema.parse(answer).usage.completion_tokens };
  };
  const first: number[] = [];
  const rates: number[] = [];
  for (let round = 0; round < 5; round += 1) {
    const one = await ask(1);
    const many = await ask(64);
    first.push(one.ms);
    if (many.numTokens > 1)
      rates.push(((many.numTokens - 1) / Math.max(1, many.ms - one.ms)) * 1000);
  }
  return { firstTokenMs: median(first), tokensPerSecond: rates.length === 0 ? 0 : median(rates) };
}

/** The median of five: time for one short text, and tokens a second in texts as long as the model reads. */
export async function measureEmbedding(
  server: Asked,
  { contextLength, apiKeyFile }: { contextLength: number; apiKeyFile: string },
  limitMs = requestLimitMs,
): Promise<Latency> {
  const send = await asking(server, apiKeyFile, limitMs);
  const ask = async (input: unknown) => {
    const { ms, answer } = await send('embeddings', { model: server.name, input });
    return { ms, numTokens: embeddingsSchema.parse(answer).usage.prompt_tokens };
  };
  // Its tokens are the first of every vocabulary, and stand for the bytes of a text.
  const text = Array.from({ length: contextLength - 2 }, (_, place) => 10 + (place % 200));
  const [first, rates]: [number[], number[]] = [[], []];
  for (let round = 0; round < 5; round += 1) {
    first.push((await ask('The state of the union')).ms);
    const { ms, numTokens } = await ask([text, text, text, text]);
    rates.push((numTokens / Math.max(1, ms)) * 1000);
  }
  return { firstTokenMs: median(first), tokensPerSecond: median(rates) };
}
