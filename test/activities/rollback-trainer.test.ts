/** Temper's own trainer under the real watcher, with one batch that spoils the loss: on past it, killed or not. */
import { cpSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTrainActivities } from '../../activities/train.ts';
import { EventTail } from '../../activities/trainer-files.ts';
import { endTrainer, findTrainer, signalTrainer } from '../../activities/trainer-process.ts';
import type { TrainerStart } from '../../activities/trainer-start.ts';
import type { Generation, TrainedModel } from '../../activities/training-job.ts';
import { putBlob } from '../../registry/blobs.ts';
import { readCheckpoint, readEvents, readHead } from '../../registry/training.ts';
import { storeCorpus } from '../support/records.ts';
import { machine, recipe } from '../support/recipes.ts';
import { startS3 } from '../support/s3.ts';
import { endOfTextTokenizer } from '../support/tokenizers.ts';

const project = path.resolve(import.meta.dirname, '../..');
const numTokens = 8192;
const numSteps = 60;
const badBatch = 33;
const shape = { ...recipe.model, hiddenSize: 32, intermediateSize: 64, numLayers: 1, numHeads: 2 };

let s3: Awaited<ReturnType<typeof startS3>>;
let folder: string;
let projectDir: string;
let corpus: string;
beforeAll(async () => {
  s3 = await startS3();
  folder = await mkdtemp(path.join(os.tmpdir(), 'temper-spoilt-'));
  projectDir = path.join(folder, 'project');
  cpSync(path.join(project, 'trainer'), path.join(projectDir, 'trainer'), { recursive: true });
  copyFileSync(path.join(project, 'requirements.txt'), path.join(projectDir, 'requirements.txt'));
  const file = path.join(projectDir, 'trainer/pretrain.py');
  const whole = 'loss = self.forward(*(part[piece] for part in batch)) / scored\n';
  const text = readFileSync(file, 'utf8');
  expect(text.split(whole)).toHaveLength(2);
  const isBad = `self.cursor == ${badBatch} * self.recipe.batchSize`;
  writeFileSync(file, text.replace(whole, `${whole.trimEnd()} * (math.nan if ${isBad} else 1)\n`));

  const tokenizer = await putBlob(s3.store, endOfTextTokenizer());
  const pattern = Uint16Array.from({ length: numTokens }, (_, place) => (place * 7) % 64);
  corpus = await storeCorpus(s3.store, { tokens: pattern, tokenizer });
}, 60_000);
afterAll(async () => {
  await s3.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Trains a run by one generation after the other, as the workflow does; `kill` may end a trainer. */
async function train(run: string, kill: (runDir: string) => Promise<void>): Promise<TrainedModel> {
  const trial = { run, phase: 'pretrain' as const, round: 0, trial: 0 };
  const home = path.join(folder, run);
  const runDir = path.join(home, 'runs', run, 'pretrain-0-0');
  mkdirSync(runDir, { recursive: true });
  const python = path.join(project, '.venv/bin/python');
  const now = () => new Date(0);
  const activities = createTrainActivities({
    store: s3.store,
    home,
    python,
    projectDir,
    host: run,
    now,
    // What the job is planned for.
    findInstructionSet: async () => machine.instructionSet,
  });
  const phase = {
    ...recipe.pretrain,
    numSteps,
    decaySteps: 20,
    batchSize: 4,
    contextLength: 32,
    precision: 'fp32' as const,
    threads: 1,
    saveEverySteps: 10,
  };
  const job: Generation['job'] = { trial, recipe: phase, shape, machine, corpus, init: null };
  try {
    for (let attempt = 0; attempt < 6; attempt += 1) {
      const { stage } = await activities.findTrainedModel(job);
      const writer = `${run}-${attempt}`;
      const { fence } = await activities.openTrainingGeneration({ trial, stage, writer });
      const generation = { job, stage, fence, writer };
      const env = new MockActivityEnvironment();
      const start = (await env.run(activities.prepareTrainer, generation)) as TrainerStart;
      const watched = { ...generation, start };
      const watching = env.run(activities.watchTrainer, watched) as Promise<TrainedModel>;
      const model = await Promise.all([watching, kill(runDir)]).then(
        ([trained]) => trained,
        (error: unknown) => {
          if (!/taken back|died/.test(String(error))) throw error;
          return null;
        },
      );
      if (model !== null) return model;
    }
    throw new Error(`${run} has no model after six generations`);
  } finally {
    await endTrainer(runDir, 0);
  }
}

test(
  'a batch without a finite loss is skipped from the checkpoint before it, to the same bits through kills',
  { timeout: 420_000 },
  async () => {
    const undisturbed = await train('undisturbed', async () => {});
    const rollbacks = [{ step: 30, skippedTo: 34, scale: 0.5 }];
    expect(undisturbed).toMatchObject({ numSteps, rollbacks });
    const trial = { run: 'undisturbed', phase: 'pretrain', round: 0, trial: 0 };
    const events = (await readEvents(s3.store, trial)) as { event: string; step: number }[];
    const steps = events.filter(({ event }) => event === 'step').map(({ step }) => step);
    expect(steps).toEqual(Array.from({ length: numSteps }, (_, index) => index + 1));

    // Once before the fault is met, once after the return.
    const kills = [12, 42];
    const disturbed = await train('disturbed', async (runDir) => {
      const at = kills[0];
      if (at === undefined) return;
      const deadline = Date.now() + 150_000;
      for (let step = 0; step < at; await sleep(5)) {
        const seen = await new EventTail(runDir).read();
        step = Math.max(0, ...seen.map((event) => (event.event === 'step' ? event.step : 0)));
        if (Date.now() > deadline) throw new Error(`not at step ${at} within 150 s`);
        // The one that meets the fault ends before the second kill, which its successor gets.
        if (step > 0 && (await findTrainer(runDir)).length === 0) return;
      }
      const trainer = await findTrainer(runDir);
      // On a busy machine it may have met the fault and ended before it was looked at.
      if (trainer.length === 0) return;
      kills.shift();
      await signalTrainer(trainer, 'SIGKILL');
    });
    expect(kills).toEqual([]);
    expect(disturbed).toEqual(undisturbed);
    const heads = await Promise.all(
      ['undisturbed', 'disturbed'].map(
        async (run) => (await readHead(s3.store, { ...trial, run }))!.value,
      ),
    );
    expect(heads[0]!.fence).toBe(2);
    expect(heads[1]!.fence).toBeGreaterThanOrEqual(4);
    const last = await Promise.all(
      heads.map(async ({ chain }) => await readCheckpoint(s3.store, chain.at(-1)!)),
    );
    expect(last[0]).toMatchObject({ step: numSteps, state: last[1]!.state });
  },
);
