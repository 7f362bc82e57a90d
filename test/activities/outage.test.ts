/** A store that is away for long: training goes on, on a disk with room for few checkpoints, and uploads catch up. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CheckpointUploads } from '../../activities/checkpoint-uploads.ts';
import { keepParted } from '../../activities/pending-checkpoints.ts';
import { createTrainActivities } from '../../activities/train.ts';
import type { TrainerStart } from '../../activities/trainer-start.ts';
import { endTrainer } from '../../activities/trainer-process.ts';
import type { Generation, TrainedModel } from '../../activities/training-job.ts';
import { readBlob } from '../../registry/blobs.ts';
import type { Store } from '../../registry/store.ts';
import { openGeneration, readCheckpoint, readEvents, readHead } from '../../registry/training.ts';
import { memoryStore } from '../support/memory-store.ts';
import { storeCorpus } from '../support/records.ts';
import * as host from '../support/scripted-host.ts';
import { startS3 } from '../support/s3.ts';
import { machine, recipe } from '../support/recipes.ts';

const trial = { run: 'outage', phase: 'pretrain', round: 0, trial: 0 } as const;
let home: string;
let runDir: string;
beforeEach(async () => {
  home = await mkdtemp(path.join(os.tmpdir(), 'temper-outage-'));
  runDir = path.join(home, 'runs', trial.run, 'pretrain-0-0');
});
afterEach(async () => {
  await endTrainer(runDir, 0);
  await rm(home, { recursive: true, force: true });
});

test(
  'training goes on through 60 checkpoints that the store refuses, with few of them on the disk, and uploads catch up',
  { timeout: 60_000 },
  async () => {
    const room = 24;
    const numSteps = 72;
    const s3 = await startS3();
    try {
      const corpus = await storeCorpus(s3.store);
      const deps = host.scriptedDeps({ store: s3.store, home, host: 'h' });
      const activities = createTrainActivities(deps);
      await host.scriptTrainer(home, { stepMs: 150, disk: room });
      const phase = { ...recipe.pretrain, numSteps, saveEverySteps: 1, evalEverySteps: 1000 };
      const job = { trial, recipe: phase, shape: recipe.model, machine, corpus, init: null };
      const generation = await host.openGeneration(activities, job);
      const env = new MockActivityEnvironment();
      const start = (await env.run(activities.prepareTrainer, generation)) as TrainerStart;
      const watching = env.run(activities.watchTrainer, {
        ...generation,
        start,
      }) as Promise<TrainedModel>;
      const steps = async () => (await readdir(path.join(runDir, 'checkpoints'))).map(Number);
      await host.until(async () => Math.max(0, ...(await steps())) >= 3);
      await s3.kill();
      const awayFrom = Math.max(...(await steps()));
      let most = 0;
      const result = path.join(runDir, 'result.json');
      while (!existsSync(result)) {
        most = Math.max(most, (await steps()).length);
        await sleep(30);
      }
      const saved = (await readFile(path.join(runDir, 'events.jsonl'), 'utf8')).match(
        /"event":"checkpoint"/g,
      );
      expect(JSON.parse(await readFile(result, 'utf8'))).toMatchObject({ ok: true });
      expect(saved!.length - awayFrom).toBeGreaterThanOrEqual(60);
      expect(most).toBeLessThanOrEqual(room);
      await s3.restart();

      expect(await watching).toMatchObject({ numSteps });
      const { chain } = (await readHead(s3.store, trial))!.value;
      expect(chain.at(-1)?.step).toBe(numSteps - 1);
      for (const entry of chain) {
        const { files } = await readCheckpoint(s3.store, entry);
        const state = JSON.parse((await readBlob(s3.store, files['state.json']!)).toString()) as {
          cursor: number;
        };
        expect(state.cursor).toBe(entry.step * phase.batchSize);
      }
      const events = (await readEvents(s3.store, trial)) as { event: string; step: number }[];
      const told = events.flatMap(({ event, step }) => (event === 'step' ? [step] : []));
      expect(told).toEqual(Array.from({ length: numSteps }, (_, index) => index + 1));
      expect(events.some(({ event }) => event === 'save_failed')).toBe(false);
    } finally {
      await s3.stop();
    }
  },
);

async function uploadsOf(store: Store): Promise<CheckpointUploads> {
  const head = await openGeneration(store, trial, { stage: 'a'.repeat(64), writer: 'w' });
  const job = { trial } as Generation['job'];
  const generation = { job, stage: head.stage, fence: head.fence, writer: 'w' };
  const deps = host.scriptedDeps({ store, home, host: 'h' });
  return new CheckpointUploads(deps, generation, head, async () => {});
}

async function folderOf(step: number): Promise<string> {
  const folder = path.join(home, String(step));
  await mkdir(folder);
  await writeFile(path.join(folder, 'state.json'), JSON.stringify({ step, files: {} }));
  return folder;
}

test('the one that is being read to a slow store stays on the disk until it counts', async () => {
  await new MockActivityEnvironment().run(async () => {
    const gate = Promise.withResolvers<void>();
    const store = memoryStore();
    const slow: Store = {
      ...store,
      async putFileIfAbsent(key, file) {
        await gate.promise;
        return await store.putIfAbsent(key, await readFile(file));
      },
    };
    const uploads = await uploadsOf(slow);
    for (const step of [1, 2, 3, 4]) uploads.offer(step, await folderOf(step));
    expect(uploads.acknowledged).toEqual([2, 3]);
    gate.resolve();
    await uploads.settle();
    expect(uploads.acknowledged).toEqual([1, 2, 3, 4]);
  });
});

test('of a gang four wait at most, the same on every host, so that all have one in common', async () => {
  let pending: { step: number }[] = [];
  for (let step = 10; step <= 600; step += 10) pending = keepParted([...pending, { step }]);
  expect(pending.map(({ step }) => step)).toEqual([320, 480, 590, 600]);
});
