/** A trainer that does not stop when its budget is spent is ended: in time, whole, and only by whom it belongs to. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { readResult } from '../../activities/trainer-files.ts';
import { endTrainer, findTrainer } from '../../activities/trainer-process.ts';
import type { TrainingProgress } from '../../config/trainer.ts';
import { FailureType } from '../../config/failures.ts';
import { until } from '../support/scripted-host.ts';
import {
  environment,
  fileStore,
  scriptedHost,
  type ScriptedHost,
} from '../support/scripted-training.ts';

let host: ScriptedHost;
afterEach(async () => {
  vi.restoreAllMocks();
  await host.close();
});

const budget = {
  timeMs: 600_000,
  usd: null,
  usdPerHour: 0,
  whenSpent: 'finish',
  share: 1,
} as const;
const holder = 'training/x';

/** Trains with a budget that is spent as soon as the trainer has told a step. */
async function obstinate(saveEverySteps = 5) {
  let ahead = 0;
  const store = fileStore();
  const now = () => new Date(Date.now() + ahead);
  host = await scriptedHost(store, {
    run: 'spent',
    now,
    changes: { numSteps: 9000, saveEverySteps },
  });
  await host.script({ stepMs: 20, obstinate: true });
  const { trial } = (await host.open()).job;
  await host.activities.leaseHost({ host: null, holder, unwatchedExitS: 600, trial });
  const generation = await host.open({ budget });
  const start = await host.prepare(generation);
  const env = environment();
  const beats: TrainingProgress[] = [];
  env.on('heartbeat', (beat: TrainingProgress) => beats.push(beat));
  const watching = host.watch(generation, start, env);
  watching.catch(() => undefined);
  await until(() => (beats.at(-1)?.step ?? 0) > 5);
  ahead = 590_000;
  await until(async () =>
    (await readFile(path.join(host.runDir, 'control.json'), 'utf8')).includes('"stop":true'),
  );
  return { generation, watching };
}

/** Lets the clock by which patience is measured run ahead. */
function skip(ms: number): void {
  const real = performance.now.bind(performance);
  vi.spyOn(performance, 'now').mockImplementation(() => real() + ms);
}

test('one that goes on is ended after its patience, and the budget ends the training', async () => {
  const { watching } = await obstinate();
  skip(40_000);
  await expect(watching).rejects.toThrow('the budget is spent');
  expect(await readResult(host.runDir)).toMatchObject({ type: 'Stopped' });
});

test('whose generation is over is left to the next one', async () => {
  // It commits nothing, by which its watcher would learn of that.
  const { generation, watching } = await obstinate(9000);
  const before = await findTrainer(host.runDir);
  await host.open({ stage: generation.stage });
  skip(40_000);
  await expect(watching).rejects.toMatchObject({ type: FailureType.Fenced });
  expect(await findTrainer(host.runDir)).toEqual(before);
});

test('one that is in the middle of a save or an evaluation is not killed for it', async () => {
  host = await scriptedHost(fileStore(), { run: 'busy' });
  await host.script({ stepMs: 1500 });
  const start = async () => {
    await host.prepare(await host.open());
    await until(() => existsSync(path.join(host.runDir, 'events.jsonl')));
  };
  await start();
  await endTrainer(host.runDir, 100, async () => true);
  expect(await readResult(host.runDir)).toMatchObject({ type: 'Stopped' });
  await host.script({ stepMs: 60_000 });
  await start();
  await endTrainer(host.runDir, 100);
  expect(await readResult(host.runDir)).toBeNull();
});
