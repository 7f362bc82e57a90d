/** `temper curves` on a real registry, with Temporal away: what S3 keeps is all that curves need. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rememberEvents } from '../../client/curves.ts';
import { pipelineSchema } from '../../config/pipeline.ts';
import { putRunRecord } from '../../registry/runs.ts';
import {
  commitLearningRate,
  commitRollback,
  openGeneration,
  putEvents,
  readEvents,
  type TrialPath,
} from '../../registry/training.ts';
import { runCommand } from '../support/command.ts';
import { digestOf } from '../support/records.ts';
import { machine, recipe } from '../support/recipes.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

let s3: TestS3;
let folder: string;
const trial: TrialPath = { run: 'policy-7f3a', phase: 'pretrain', round: 0, trial: 0 };
const step = (number: number, loss: number) => ({
  event: 'step',
  step: number,
  loss,
  lr: 0.01,
  grad_norm: 0.5,
  tokens_per_second: 1000,
  num_tokens: number * 100,
  mfu: 0.4,
  memory: 1_000_000_000,
  at: 1_700_000_000 + number,
});
const steps = (from: number, to: number, more = 0) =>
  Array.from({ length: to - from + 1 }, (_, at) => step(from + at, 9 - (from + at) / 10 + more));

beforeAll(async () => {
  s3 = await startS3();
  folder = mkdtempSync(path.join(os.tmpdir(), 'temper-curves-'));
  const { store } = s3;
  const pipeline = pipelineSchema.parse({
    version: 1,
    name: 'policy',
    data: { sources: [{ path: './docs', license: 'internal' }] },
  });
  for (const run of ['policy-7f3a', 'policy-11aa']) {
    await putRunRecord(store, run, 'spec', { pipeline, machine });
    await putRunRecord(store, run, 'plan', recipe);
  }
  const opened = await openGeneration(store, trial, { stage: digestOf('a'), writer: 'one' });
  const writer = { fence: opened.fence, writer: 'one' };
  await putEvents(store, trial, 1, 0, [
    { event: 'start', step: 0, resumedFrom: null, peak_flops: 1e12, at: 1_700_000_000 },
    ...steps(1, 20),
    { event: 'eval', step: 20, val_loss: 7.25, val_bpb: 2.5, at: 1_700_000_020.5 },
  ]);
  await putEvents(store, trial, 1, 1, steps(21, 40, 50));
  await commitLearningRate(store, trial, writer, {
    order: 1,
    execution: 'x',
    step: 10,
    scale: 0.5,
    by: 'somebody',
    why: null,
    at: new Date(1_700_000_010_000).toISOString(),
  });
  await commitRollback(store, trial, writer, {
    step: 20,
    skippedTo: 40,
    scale: 0.5,
    fault: { kind: 'spike', first: 21, step: 24, found: 57, bound: 8 },
    at: new Date(1_700_000_041_000).toISOString(),
  });
  await openGeneration(store, trial, { stage: digestOf('a'), writer: 'two' });
  await putEvents(store, trial, 2, 0, steps(21, 30));
  const other = { ...trial, run: 'policy-11aa' };
  await openGeneration(store, other, { stage: digestOf('b'), writer: 'one' });
  await putEvents(store, other, 1, 0, steps(1, 15, 1));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await s3?.stop();
});

const temper = (...args: string[]) => run('curves', ...args);
const run = (...args: string[]) => runCommand(s3, args, { env: { LANG: 'C.UTF-8', LC_ALL: '' } });

describe('temper curves', { timeout: 120_000 }, () => {
  test('draws the loss with held-out text, rates and returns at their steps', async () => {
    const { exitCode, stdout } = await temper('policy-7f3a');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^pretrain: step 30 of /);
    expect(stdout).toMatch(/[\u2801-\u28ff]/);
    expect(stdout).toContain('● held-out');
    expect(stdout).toMatch(/▲ step 10: learning rate ×0\.5 from step 10/);
    expect(stdout).toMatch(/▲ step 21: loss 57\.00 since step 21.*taken back to step 20/);
    expect(stdout).toMatch(/MFU +40\.0 %/);
  });

  test('lays two runs over each other', async () => {
    const { exitCode, stdout } = await temper('policy-7f3a', 'policy-11aa');
    expect(exitCode).toBe(0);
    expect(stdout).toContain('  * policy-7f3a   + policy-11aa');
    expect(stdout).toMatch(/loss +6\.000 +8\.500/);
  });

  test('is what a comparison ends with, and its page', async () => {
    const file = path.join(folder, 'pair.html');
    const { exitCode, stdout } = await run('compare', 'policy-7f3a', 'policy-11aa', '-o', file);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/pretrain: loss over tokens trained on\n {2}\* policy-7f3a/);
    expect(stdout.trimEnd().endsWith(file)).toBe(true);
    expect(readFileSync(file, 'utf8')).toContain('over the tokens trained on');
  });

  test('as JSON gives every step that counts, once', async () => {
    const { stdout } = await temper('policy-7f3a', '--json');
    const { runs } = JSON.parse(stdout) as {
      runs: { run: string; phases: { points: { step: number; loss: number }[] }[] }[];
    };
    const [{ points }] = runs[0]!.phases as [{ points: { step: number; loss: number }[] }];
    expect(points.map((point) => point.step)).toEqual(
      Array.from({ length: 30 }, (_, index) => index + 1),
    );
    expect(points.every(({ loss }) => loss < 10)).toBe(true);
  });

  test('writes event files for TensorBoard, the same ones when asked again', async () => {
    const place = path.join(folder, 'policy-7f3a', 'pretrain');
    const files = () => readdirSync(place).map((name) => readFileSync(path.join(place, name)));
    const { exitCode, stdout } = await temper('policy-7f3a', '--tensorboard', folder);
    expect(exitCode).toBe(0);
    expect(stdout).toContain(`✓ pretrain: 31 values in ${place}`);
    expect(stdout).toContain(`tensorboard --logdir ${folder}`);
    const [before] = files();
    await temper('policy-7f3a', '--tensorboard', folder, '--json');
    expect(files()).toEqual([before]);
    expect(before!.includes('held_out/bits_per_byte')).toBe(true);
  });

  test('says which folder it could not write, and which run it does not know, and ends with 2', async () => {
    const denied = await temper('policy-7f3a', '--tensorboard', import.meta.filename);
    expect([denied.exitCode, denied.stderr]).toEqual([
      2,
      expect.stringContaining(`--tensorboard: cannot write below ${import.meta.filename}`),
    ]);
    const unknown = await temper('policy-7f3b');
    expect([unknown.exitCode, unknown.stderr]).toEqual([
      2,
      expect.stringContaining('Did you mean policy-7f3a?'),
    ]);
  });
});

test('whoever looks again and again fetches each piece of the events once', async () => {
  const fetched: string[] = [];
  const store = rememberEvents({
    ...s3.store,
    get: async (key) => {
      fetched.push(key);
      return await s3.store.get(key);
    },
  });
  const first = await readEvents(store, trial);
  expect(await readEvents(store, trial)).toEqual(first);
  const pieces = fetched.filter((key) => key.endsWith('.zst'));
  expect(pieces).toHaveLength(3);
});
