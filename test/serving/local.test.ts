import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { UnservableError } from '../../serving/errors.ts';
import { probeBundle } from '../support/probe-bundle.ts';
import { python, testBundles, type TestBundles } from '../support/bundles.ts';

const run = promisify(execFile);
const projectDir = path.resolve(import.meta.dirname, '../..');
let bundles: TestBundles;
let folder: string;
let keyFile: string;
let child: ChildProcess | null = null;

beforeAll(async () => {
  bundles = await testBundles();
  folder = await mkdtemp(path.join(tmpdir(), 'temper-local-'));
  keyFile = path.join(folder, 'keys');
  await writeFile(keyFile, 'local-key\n');
}, 60_000);

afterAll(async () => {
  child?.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

/** The one line that it prints. */
async function start(bundle: string): Promise<Record<string, unknown>> {
  const flags = ['--bundle', bundle, '--name', 'tiny', '--api-key-file', keyFile, '--port', '0'];
  child = spawn(process.execPath, ['serving/local.ts', ...flags], {
    cwd: projectDir,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: child.stdout! })) return JSON.parse(line);
  throw new Error('it said nothing');
}

test('lm-evaluation-harness scores through it as PyTorch does, and it ends when its input closes', async () => {
  const ready = await start(bundles.chat);
  expect(ready).toMatchObject({ ok: true, url: expect.stringMatching(/^http:\/\/127/) });
  expect(ready['probeDifference']).toBeLessThan(1e-4);
  const { stdout } = await run(
    python,
    [
      'test/support/score_through_server.py',
      String(ready['url']),
      bundles.tokenizer,
      path.join(bundles.chat, '../expected.json'),
    ],
    { cwd: projectDir, env: { ...process.env, OPENAI_API_KEY: 'local-key', HF_HUB_OFFLINE: '1' } },
  );
  const found = JSON.parse(stdout.trim().split('\n').at(-1)!);
  const { ids, logprobs } = bundles.expected.scored;
  const scores: [number, boolean][] = found.alone;
  for (const [place, cut] of [1, 4, 9].entries()) {
    const sum = logprobs.slice(cut - 1).reduce((all, logprob) => all + logprob, 0);
    expect(Math.abs(scores[place]![0] - sum)).toBeLessThan(1e-4 * ids.length);
    expect(scores[place]![1]).toBe(false);
  }
  // The greedy continuation is recognised as greedy.
  expect(scores[3]![1]).toBe(true);
  expect(found.together).toEqual(found.alone);
  expect(found.long[0][0]).toBeLessThan(-94);
  const { completion } = bundles.expected.prompt;
  expect(found.text).toEqual([completion.slice(0, completion.indexOf('state'))]);

  const exited = once(child!, 'exit');
  child!.stdin!.end();
  expect(await exited).toEqual([0, null]);
}, 60_000);

test('a bundle that answers otherwise than PyTorch is ModelNotServable, by how far', async () => {
  const wrong = path.join(folder, 'wrong');
  await cp(bundles.chat, wrong, { recursive: true });
  await cp(path.join(bundles.other, 'probe.json'), path.join(wrong, 'probe.json'));
  const line = await start(wrong);
  expect(line).toMatchObject({
    ok: false,
    type: 'ModelNotServable',
    message: expect.stringMatching(/logits differ from PyTorch's by [\d.]+, allowed are 0.001/),
  });
  expect(line['probeDifference']).toBeGreaterThan(1);
  if (child!.exitCode === null) await once(child!, 'exit');
  expect(child!.exitCode).toBe(1);
});

test('the probe as a function: the difference of a good bundle, a refusal for what is none', async () => {
  const { difference, tolerance } = await probeBundle(bundles.chat);
  expect(difference).toBeLessThan(tolerance);
  const damaged = path.join(folder, 'damaged');
  await cp(bundles.chat, damaged, { recursive: true });
  await writeFile(path.join(damaged, 'model.onnx'), 'not a model');
  await expect(probeBundle(damaged)).rejects.toThrow(UnservableError);
  await expect(probeBundle(path.join(folder, 'nowhere'))).rejects.toThrow(/serving.json/);
  const short = path.join(folder, 'short');
  await cp(bundles.chat, short, { recursive: true });
  await writeFile(
    path.join(short, 'serving.json'),
    JSON.stringify({
      schemaVersion: 1,
      contextLength: 96,
      bosToken: '<|bos|>',
      eosTokens: ['<|eos|>'],
      chat: true,
      maxNewTokens: 8,
      numLayers: 1,
      numKvHeads: 2,
      headDim: 16,
      vocabSize: 371,
    }),
  );
  await expect(probeBundle(short)).rejects.toThrow(
    /model.onnx inputs: missing none, unexpected past_key_values.1.key/,
  );
});
