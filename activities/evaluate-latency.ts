/** How fast the evaluation's server answers one stream of greedy decoding. */
import { readFile } from 'node:fs/promises';
import { Context } from '@temporalio/activity';
import { z } from 'zod';
import type { EvaluationServer } from './evaluate-server.ts';

/** One answer of 64 tokens; no machine that can train takes so long for it. */
const requestLimitMs = 120_000;

const completionSchema = z.looseObject({ usage: z.looseObject({ completion_tokens: z.number() }) });

/** The median of five: time to the first token, and tokens a second after it. */
export async function measureLatency(
  { url, name }: Pick<EvaluationServer, 'url' | 'name'>,
  apiKeyFile: string,
  limitMs = requestLimitMs,
): Promise<{ firstTokenMs: number; tokensPerSecond: number }> {
  const key = (await readFile(apiKeyFile, 'utf8')).trim();
  const { cancellationSignal } = Context.current();
  const ask = async (maxTokens: number) => {
    const startedAt = performance.now();
    const answered = await fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: name,
        prompt: 'The state of the union',
        max_tokens: maxTokens,
        temperature: 0,
      }),
      signal: AbortSignal.any([cancellationSignal, AbortSignal.timeout(limitMs)]),
    })
      .then(async (response) => ({ status: response.status, body: await response.text() }))
      // `fetch` says TypeError of a lost connection, which would count as a fault of our own.
      .catch((cause: unknown) => {
        throw new Error(`latency: the evaluation's server did not answer`, { cause });
      });
    if (answered.status !== 200) throw new Error(`latency: the server answered ${answered.status}`);
    const { usage } = completionSchema.parse(JSON.parse(answered.body));
    return { ms: performance.now() - startedAt, numTokens: usage.completion_tokens };
  };
  const median = (values: number[]) =>
    values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
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
