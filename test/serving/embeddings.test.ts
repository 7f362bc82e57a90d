/** POST /v1/embeddings: what PyTorch makes of a text, in OpenAI's shapes, and in plain words what is refused. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Hono } from 'hono';
import pino from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createApp } from '../../serving/app.ts';
import { createEndpoint, type Endpoint } from '../../serving/endpoint.ts';
import { openKeyRing } from '../../serving/keys.ts';
import { probeBundle } from '../support/probe-bundle.ts';
import { testBundles, type TestBundles } from '../support/bundles.ts';

const log = pino({ level: 'silent' });
let bundles: TestBundles;
let folder: string;
let app: Hono;
const endpoints: Endpoint[] = [];

beforeAll(async () => {
  bundles = await testBundles();
  folder = await mkdtemp(path.join(tmpdir(), 'temper-embeddings-'));
  await writeFile(path.join(folder, 'keys'), 'a-key\n');
  for (const [name, from] of [
    ['finder', bundles.embedder],
    ['talker', bundles.chat],
    ['writer', bundles.base],
  ] as const) {
    const endpoint = createEndpoint(name, log);
    endpoints.push(endpoint);
    const bundle = name.padEnd(64, '0');
    await endpoint.activate({ model: name, version: 2, bundle, generation: 1, folder: from });
  }
  const keys = openKeyRing(path.join(folder, 'keys'), log);
  app = createApp({ keys, endpoints: () => endpoints, log, now: () => new Date(0) });
}, 120_000);

afterAll(async () => {
  await Promise.all(endpoints.map((one) => one.stop()));
  await rm(folder, { recursive: true });
});

async function ask(body: object, route = '/v1/embeddings') {
  const response = await app.request(route, {
    method: 'POST',
    headers: { authorization: 'Bearer a-key' },
    body: JSON.stringify(body),
  });
  // oxlint-disable-next-line typescript/no-explicit-any
  return { response, body: (await response.json()) as any };
}

const close = (found: number[], expected: number[]) => {
  expect(found.length).toBe(expected.length);
  for (const [at, number] of expected.entries()) expect(found[at]).toBeCloseTo(number, 4);
};

test('texts of different lengths get the vectors that PyTorch makes of each alone', async () => {
  const { texts, ids, vectors } = bundles.expected.embedded;
  const { response, body } = await ask({ model: 'finder', input: texts });
  expect(response.status).toBe(200);
  expect(response.headers.get('x-temper-model')).toBe('finder@2');
  expect(response.headers.get('x-temper-bundle')).toBe('finder'.padEnd(64, '0'));
  expect(body).toMatchObject({ object: 'list', model: 'finder' });
  const numTokens = ids.flat().length;
  expect(body.usage).toEqual({ prompt_tokens: numTokens, total_tokens: numTokens });
  expect(body.data.map(({ index }: { index: number }) => index)).toEqual([0, 1, 2]);
  for (const [at, expected] of vectors.entries()) close(body.data[at].embedding, expected);
  const length = Math.hypot(...(body.data[0].embedding as number[]));
  expect(length).toBeCloseTo(1, 5);
});

test('a text, a list of texts, token ids and lists of them mean the same', async () => {
  const { texts, ids, vectors } = bundles.expected.embedded;
  const bare = ids[2]!.slice(1, -1);
  for (const input of [texts[2], [texts[2]], ids[2], bare, [bare]]) {
    const { body } = await ask({ model: 'finder@2', input });
    expect(body.data.length).toBe(1);
    close(body.data[0].embedding, vectors[2]!);
    expect(body.usage.prompt_tokens).toBe(ids[2]!.length);
  }
});

test('base64 holds the same numbers as little-endian float32', async () => {
  const input = bundles.expected.embedded.texts[0];
  const plain = await ask({ model: 'finder', input, encoding_format: 'float', dimensions: 64 });
  const packed = await ask({ model: 'finder', input, encoding_format: 'base64' });
  const bytes = Buffer.from(packed.body.data[0].embedding, 'base64');
  const numbers = Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(4 * at));
  expect(numbers).toEqual(plain.body.data[0].embedding);
});

test('more texts than one pass takes come back each in its place', async () => {
  const { texts, vectors } = bundles.expected.embedded;
  const input = Array.from({ length: 120 }, (_, at) => texts[at % 3]!);
  const { body } = await ask({ model: 'finder', input });
  for (const at of [0, 1, 2, 58, 119]) close(body.data[at].embedding, vectors[at % 3]!);
});

test.each([
  [{ input: [] }, 'input: found an empty list', 'input', null],
  [{ input: '' }, 'the input has no tokens', 'input', null],
  [{ input: 3 }, 'input: expected a string, a list of strings, a list of token ids', 'input', null],
  [
    { input: [5, 99_999] },
    'found token id 99999, expected ids below the vocabulary',
    'input',
    null,
  ],
  [{ input: 'a', dimensions: 8 }, 'dimensions: found 8, expected 64 or none', 'dimensions', null],
  [{ input: 'a', encoding_format: 'hex' }, 'expected float or base64', 'encoding_format', null],
  [
    { input: ['a', 'state '.repeat(200)] },
    /input 1 has \d+ tokens with the two around it; the model reads 96 at most/,
    'input',
    'context_length_exceeded',
  ],
])('%j is refused', async (wanted, message, param, code) => {
  const { response, body } = await ask({ model: 'finder', ...wanted });
  expect(response.status).toBe(400);
  expect(body.error.message).toMatch(message);
  expect(body.error).toMatchObject({ type: 'invalid_request_error', param, code });
});

test('a model that embeds continues nothing, and one that continues embeds nothing', async () => {
  const messages = [{ role: 'user', content: 'Who?' }];
  const asked = [
    await ask({ model: 'finder', messages }, '/v1/chat/completions'),
    await ask({ model: 'finder', prompt: 'The state' }, '/v1/completions'),
    await ask({ model: 'talker', input: 'The state' }),
    await ask({ model: 'writer', input: 'The state' }),
  ];
  expect(asked.map(({ response }) => response.status)).toEqual([400, 400, 400, 400]);
  const texts = 'this model turns texts into vectors and continues none: use POST /v1/embeddings';
  const goal = 'or deploy a model with goal';
  expect(asked.map(({ body }) => body.error.message)).toEqual([
    `${texts}, ${goal} base or assistant`,
    `${texts}, ${goal} base or assistant`,
    `this model makes no vectors: use POST /v1/chat/completions, ${goal} embeddings`,
    `this model makes no vectors: use POST /v1/completions, ${goal} embeddings`,
  ]);
  expect(asked.map(({ body }) => body.error.code)).toEqual([
    'completions_not_supported',
    'completions_not_supported',
    'embeddings_not_supported',
    'embeddings_not_supported',
  ]);
});

test('a list of models says which one embeds', async () => {
  const response = await app.request('/v1/models', { headers: { authorization: 'Bearer a-key' } });
  const { data } = (await response.json()) as { data: object[] };
  expect(data[0]).toMatchObject({
    id: 'finder',
    chat: false,
    embeddings: { dimensions: 64 },
    context_length: 96,
  });
  expect(data[1]).not.toHaveProperty('embeddings');
});

test('a bundle whose vectors are not those of PyTorch is not servable', async () => {
  const wrong = path.join(folder, 'wrong');
  await cp(bundles.embedder, wrong, { recursive: true });
  const file = path.join(wrong, 'probe.json');
  const probe = JSON.parse(await readFile(file, 'utf8')) as { embeddings: number[][] };
  probe.embeddings[1]![0]! += 0.01;
  await writeFile(file, JSON.stringify(probe));
  await expect(probeBundle(wrong)).rejects.toThrow(
    /the probe's vectors differ from PyTorch's by 0\.0100/,
  );
  expect((await probeBundle(bundles.embedder)).difference).toBeLessThan(1e-5);
});
