/** The HTTP face of a serving node: OpenAI-compatible routes over its endpoints, a bearer key on each but /health. */
import { randomUUID } from 'node:crypto';
import { Hono } from 'hono';
import type { Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { stream } from 'hono/streaming';
import type { Logger } from 'pino';
import { readAbilities } from './abilities.ts';
import type { Answer, Endpoint, ServedBundle } from './endpoint.ts';
import { badRequest, errorBody, ServingError } from './errors.ts';
import type { KeyRing } from './keys.ts';
import type { AnswerHead, Shape } from './openai.ts';
import { chatShape, completionShape, embeddingList } from './openai.ts';
import { addPage } from './page.ts';
import type { Piece } from './protocol.ts';
import type { ParsedRequest } from './requests.ts';
import { parseChat, parseCompletion, parseEmbedding } from './requests.ts';

export interface AppOptions {
  keys: KeyRing;
  /** Read at each request: endpoints come and go. */
  endpoints: () => readonly Endpoint[];
  log: Logger;
  now: () => Date;
}

const maxBodyBytes = 4 * 2 ** 20;

/** Routes and nothing else: no port, no process, so that tests can ask it directly. */
export function createApp({ keys, endpoints, log, now }: AppOptions): Hono {
  const app = new Hono();

  app.onError((error, context) => {
    if (context.req.raw.signal.aborted) return new Response(null, { status: 499 });
    const known =
      error instanceof ServingError
        ? error
        : new ServingError(500, 'the serving node failed; its log says why', { code: 'internal' });
    if (known.status >= 500) log.error({ err: error, path: context.req.path }, 'a request failed');
    return errorResponse(known);
  });
  app.notFound((context) =>
    errorResponse(
      new ServingError(404, `there is no ${context.req.method} ${context.req.path} here`, {
        code: 'unknown_url',
      }),
    ),
  );

  app.get('/health', (context) => {
    const all = endpoints();
    const ready = all.filter((endpoint) => endpoint.engine !== null).length;
    return context.json({ status: 'ok', endpoints: all.length, ready });
  });

  addPage(app);

  app.use('*', async (context, next) => {
    if (!(await keys.accepts(context.req.header('authorization')))) {
      throw new ServingError(
        401,
        'expected a valid key in the header "Authorization: Bearer <key>"',
        { code: 'invalid_api_key' },
      );
    }
    await next();
  });
  app.use(
    '*',
    bodyLimit({
      maxSize: maxBodyBytes,
      onError: () => {
        throw new ServingError(413, `the body is larger than ${maxBodyBytes} bytes, the limit`, {
          code: 'body_too_large',
        });
      },
    }),
  );

  app.get('/v1/models', async (context) => {
    const ready = endpoints().filter((endpoint) => endpoint.served !== null);
    return context.json({ object: 'list', data: await Promise.all(ready.map(modelObject)) });
  });
  app.get('/v1/models/:model', async (context) => {
    const endpoint = find(endpoints(), context.req.param('model'));
    return context.json((await modelObject(endpoint)) as object);
  });
  app.post('/v1/completions', async (context) => {
    return respond(context, parseCompletion(await body(context)), completionShape, 'cmpl');
  });
  app.post('/v1/chat/completions', async (context) => {
    return respond(context, parseChat(await body(context)), chatShape, 'chatcmpl');
  });

  app.post('/v1/embeddings', async (context) => {
    const request = parseEmbedding(await body(context));
    const endpoint = find(endpoints(), request.model);
    const { served, events } = await endpoint.answer(request.job, context.req.raw.signal);
    name(context, served);
    const vectors: Float32Array[] = [];
    for await (const event of events) {
      if (event.type === 'vectors') {
        for (const [place, vector] of event.vectors.entries())
          vectors[event.first + place] = vector;
      } else if (event.type === 'end') {
        return context.json(embeddingList(request, vectors, event.usage) as object);
      }
    }
    throw new Error('an engine ended without its counts');
  });

  async function respond(
    context: Context,
    request: ParsedRequest,
    shape: Shape,
    prefix: string,
  ): Promise<Response> {
    const endpoint = find(endpoints(), request.model);
    const { signal } = context.req.raw;
    const answer = await endpoint.answer(request.job, signal);
    const { served, events } = answer;
    const head: AnswerHead = {
      id: `${prefix}-${randomUUID()}`,
      created: Math.floor(now().getTime() / 1000),
      model: request.model,
      served,
      logprobs: request.job.logprobs !== null,
    };
    name(context, served);
    if (request.job.stream) return streamed(context, request, head, shape, answer, log);
    const pieces: Piece[] = [];
    for await (const event of events) {
      if (event.type === 'piece') pieces.push(event.piece);
      else if (event.type === 'end')
        return context.json(shape.whole(head, pieces, event.usage) as object);
    }
    throw new Error('an engine ended without its counts');
  }

  return app;
}

/** Says which bundle answers. */
function name(context: Context, served: ServedBundle): void {
  context.header('x-temper-model', `${served.model}@${served.version}`);
  context.header('x-temper-bundle', served.bundle);
}

function errorResponse(error: ServingError): Response {
  const headers = new Headers({ 'content-type': 'application/json' });
  const { retryAfterS } = error.detail;
  if (retryAfterS !== undefined) headers.set('retry-after', String(retryAfterS));
  if (error.status === 401) headers.set('www-authenticate', 'Bearer');
  return new Response(JSON.stringify(errorBody(error)), { status: error.status, headers });
}

async function body(context: Context): Promise<unknown> {
  const text = await context.req.text();
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badRequest(`the body is not JSON: ${(error as Error).message}`);
  }
}

/** The endpoint that a request names: by itself, or as the model@version that it serves now. */
function find(endpoints: readonly Endpoint[], model: string): Endpoint {
  const versionOf = ({ served }: Endpoint): string =>
    served === null ? '' : `${served.model}@${served.version}`;
  const found =
    endpoints.find((endpoint) => endpoint.name === model) ??
    endpoints.find((endpoint) => versionOf(endpoint) === model);
  if (found !== undefined) return found;
  const names = endpoints.flatMap((endpoint) => [endpoint.name, versionOf(endpoint)]);
  throw new ServingError(
    404,
    `model ${JSON.stringify(model)} is not served here; served are: ${names.filter((name) => name !== '').join(', ') || 'none yet'}`,
    { param: 'model', code: 'model_not_found' },
  );
}

async function modelObject({ name, served }: Endpoint): Promise<unknown> {
  return {
    id: name,
    object: 'model',
    created: 0,
    owned_by: 'temper',
    ...(served === null
      ? {}
      : {
          version: `${served.model}@${served.version}`,
          bundle: served.bundle,
          generation: served.generation,
          ...(await readAbilities(served)),
        }),
  };
}

function streamed(
  context: Context,
  request: ParsedRequest,
  head: AnswerHead,
  shape: Shape,
  { events, close }: Answer,
  log: Logger,
): Response {
  context.header('content-type', 'text/event-stream');
  context.header('cache-control', 'no-cache');
  return stream(context, async (out) => {
    const write = (data: unknown): Promise<unknown> =>
      out.write(`data: ${JSON.stringify(data)}\n\n`);
    // A generator that was not begun cannot be returned from, so this asks the answer itself.
    out.onAbort(close);
    try {
      for (const opening of shape.opening(head)) await write(opening);
      for await (const event of events) {
        if (out.aborted) return;
        if (event.type === 'piece') await write(shape.chunk(head, event.piece));
        else if (event.type === 'end' && request.includeUsage)
          await write(shape.usage(head, event.usage));
      }
      await out.write('data: [DONE]\n\n');
    } catch (error) {
      if (out.aborted || context.req.raw.signal.aborted) return;
      log.error({ err: error }, 'a stream broke off');
      const known =
        error instanceof ServingError ? error : new ServingError(500, 'the serving node failed');
      await write(errorBody(known));
    } finally {
      close();
    }
  });
}
