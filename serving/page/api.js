/** The node's API as the page needs it: models, health, and an answer piece by piece. */

/**
 * What stands in the way of an answer:
 * key (not accepted), wait (busy or starting), gone (no connection), broken (it broke off), refused (will not do).
 * @typedef {'key' | 'wait' | 'gone' | 'broken' | 'refused'} Trouble
 */

export class ApiError extends Error {
  /**
   * @param {Trouble} trouble
   * @param {string} message
   * @param {{ retryAfterS?: number, code?: string | null }} [detail]
   */
  constructor(trouble, message, { retryAfterS = 2, code = null } = {}) {
    super(message);
    this.name = 'ApiError';
    this.trouble = trouble;
    this.retryAfterS = retryAfterS;
    this.code = code;
  }
}

/**
 * @typedef {object} Model
 * @property {string} id
 * @property {string} [version] model@version
 * @property {string} [bundle] digest
 * @property {boolean} [chat]
 * @property {{ dimensions: number }} [embeddings] of a model that turns texts into vectors
 * @property {number} [context_length]
 * @property {number} [default_max_tokens]
 * @property {boolean} [system_prompt]
 */

/**
 * @param {string} key
 * @returns {Promise<Model[]>}
 */
export async function listModels(key) {
  const response = await ask('v1/models', key, { signal: AbortSignal.timeout(10_000) });
  return (await response.json()).data;
}

/** True when the node answers at all. */
export async function isHealthy() {
  try {
    return (await fetch('health', { cache: 'no-store', signal: AbortSignal.timeout(5000) })).ok;
  } catch {
    return false;
  }
}

/**
 * @typedef {{ type: 'from', version: string | null, bundle: string | null }
 *   | { type: 'text', text: string }
 *   | { type: 'finish', reason: string }
 *   | { type: 'usage', tokens: number }} AnswerEvent
 */

/**
 * Streams one answer; `body` is that of /v1/chat/completions, or of /v1/completions when it has a prompt.
 * @param {string} key
 * @param {Record<string, unknown>} body
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<AnswerEvent, void, void>}
 */
export async function* streamAnswer(key, body, signal) {
  const route = 'prompt' in body ? 'v1/completions' : 'v1/chat/completions';
  const response = await ask(route, key, {
    method: 'POST',
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  yield {
    type: 'from',
    version: response.headers.get('x-temper-model'),
    bundle: response.headers.get('x-temper-bundle'),
  };
  for await (const data of serverSentEvents(response, signal)) {
    if (data === '[DONE]') return;
    const { error, choices, usage } = JSON.parse(data);
    if (error) throw new ApiError('broken', error.message);
    const choice = choices?.[0];
    const text = choice?.delta?.content ?? choice?.text ?? '';
    if (text !== '') yield { type: 'text', text };
    if (choice?.finish_reason) yield { type: 'finish', reason: choice.finish_reason };
    if (usage) yield { type: 'usage', tokens: usage.completion_tokens };
  }
  throw new ApiError('broken', 'The connection was lost.');
}

/**
 * The data of each event of a stream.
 * @param {Response} response
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<string, void, void>}
 */
async function* serverSentEvents(response, signal) {
  if (response.body === null) return;
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let held = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      held += decoder.decode(value, { stream: true }).replaceAll('\r', '');
      const events = held.split('\n\n');
      held = events.pop() ?? '';
      for (const event of events) {
        const lines = event.split('\n').filter((line) => line.startsWith('data:'));
        if (lines.length > 0) yield lines.map((line) => line.slice(5).trimStart()).join('\n');
      }
    }
  } catch (error) {
    signal.throwIfAborted();
    throw new ApiError('broken', 'The connection was lost.', { code: String(error) });
  } finally {
    // Whoever stops reading early lets the node stop too.
    reader.cancel().catch(() => {});
  }
}

/**
 * @param {string} route
 * @param {string} key
 * @param {RequestInit} init
 */
async function ask(route, key, init) {
  let response;
  try {
    response = await fetch(route, {
      ...init,
      cache: 'no-store',
      credentials: 'omit',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError('gone', `The serving node at ${location.host} does not answer.`);
  }
  if (response.ok) return response;
  throw await refusal(response);
}

/** @param {Response} response */
async function refusal(response) {
  const said = await response.json().catch(() => null);
  const message = said?.error?.message ?? `The node answered with status ${response.status}.`;
  const seconds = Number(response.headers.get('retry-after') ?? 'NaN');
  const detail = {
    code: said?.error?.code ?? null,
    ...(seconds >= 0 ? { retryAfterS: Math.min(seconds, 60) } : {}),
  };
  if (response.status === 401) return new ApiError('key', message, detail);
  if (response.status === 429 || response.status === 503) {
    return new ApiError('wait', message, detail);
  }
  return new ApiError(response.status >= 500 ? 'broken' : 'refused', message, detail);
}
