/** The trainer of the guide, put where the guide says, run by the real watcher. */
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CancelledFailure } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Deps } from '../../activities/deps.ts';
import { createTrainActivities } from '../../activities/train.ts';
import { endTrainer, findTrainer, signalTrainer } from '../../activities/trainer-process.ts';
import type { TrainerStart } from '../../activities/trainer-start.ts';
import type { Generation, TrainedModel } from '../../activities/training-job.ts';
import { modelManifestSchema } from '../../config/manifests.ts';
import { trainerResultSchema, type TrainingProgress } from '../../config/trainer.ts';
import { findStage } from '../../registry/stages.ts';
import { readEvents, readHead } from '../../registry/training.ts';
import { storeCorpus } from '../support/records.ts';
import { machine, recipe } from '../support/recipes.ts';
import { startS3 } from '../support/s3.ts';

const project = path.resolve(import.meta.dirname, '../..');
const numTokens = 4096;
const numSteps = 300;
const saveEverySteps = 25;
const shape = { ...recipe.model, hiddenSize: 32, intermediateSize: 64, numLayers: 1, numHeads: 2 };

let s3: Awaited<ReturnType<typeof startS3>>;
let projectDir: string;
let corpus: string;
beforeAll(async () => {
  s3 = await startS3();
  projectDir = await mkdtemp(path.join(os.tmpdir(), 'temper-own-'));
  // As the guide says: cp docs/guides/minimal_trainer.py trainer/launch.py
  cpSync(path.join(project, 'trainer'), path.join(projectDir, 'trainer'), { recursive: true });
  copyFileSync(
    path.join(project, 'docs/guides/minimal_trainer.py'),
    path.join(projectDir, 'trainer/launch.py'),
  );
  copyFileSync(path.join(project, 'requirements.txt'), path.join(projectDir, 'requirements.txt'));
  const pattern = Uint16Array.from({ length: numTokens }, (_, place) => (place * 7) % 64);
  corpus = await storeCorpus(s3.store, { tokens: pattern });
});
afterAll(async () => {
  await s3.stop();
  await rm(projectDir, { recursive: true, force: true });
});

let home: string;
let deps: Deps;
let runDir: string;
let trial: Generation['job']['trial'];
let activities: ReturnType<typeof createTrainActivities>;
beforeEach(async () => {
  home = await mkdtemp(path.join(os.tmpdir(), 'temper-own-home-'));
  useRun('undisturbed');
  deps = {
    store: s3.store,
    home,
    python: path.join(project, '.venv/bin/python'),
    projectDir,
    host: 'own',
    now: () => new Date(),
    // What the job is planned for.
    findInstructionSet: async () => machine.instructionSet,
  };
  activities = createTrainActivities(deps);
});
afterEach(async () => {
  await endTrainer(runDir, 0);
  await rm(home, { recursive: true, force: true });
});

function useRun(run: string): void {
  trial = { run, phase: 'pretrain', round: 0, trial: 0 };
  runDir = path.join(home, 'runs', run, 'pretrain-0-0');
  mkdirSync(runDir, { recursive: true });
}

async function open(steps = numSteps): Promise<Generation> {
  const phase = {
    ...recipe.pretrain,
    numSteps: steps,
    batchSize: 4,
    contextLength: 32,
    learningRate: 0.5,
    precision: 'fp32' as const,
    threads: 1,
    saveEverySteps,
  };
  const job = { trial, recipe: phase, shape, machine, corpus, init: null };
  const { stage } = await activities.findTrainedModel(job);
  const writer = `writer-${Math.random()}`;
  const { fence } = await activities.openTrainingGeneration({ trial, stage, writer });
  return { job, stage, fence, writer };
}

const prepare = async (generation: Generation) =>
  (await new MockActivityEnvironment().run(activities.prepareTrainer, generation)) as TrainerStart;
const watch = async (
  generation: Generation,
  start: TrainerStart,
  env = new MockActivityEnvironment(),
) => (await env.run(activities.watchTrainer, { ...generation, start })) as TrainedModel;
/** A Python whose trainer stands still once this checkpoint has its name: no kill comes too late for it. */
function pythonThatStops(step: number): string {
  const patches = path.join(home, 'patches');
  mkdirSync(patches, { recursive: true });
  const lines = [
    'import os, pathlib, signal',
    'rename = pathlib.Path.rename',
    'def rename_and_stop(self, target):',
    '    renamed = rename(self, target)',
    `    if renamed.name == '${step}':`,
    '        os.kill(os.getpid(), signal.SIGSTOP)',
    '    return renamed',
    'pathlib.Path.rename = rename_and_stop',
  ];
  writeFileSync(path.join(patches, 'sitecustomize.py'), `${lines.join('\n')}\n`);
  const program = path.join(home, 'python');
  const script = `#!/bin/sh\nPYTHONPATH='${patches}' exec '${deps.python}' "$@"\n`;
  writeFileSync(program, script, { mode: 0o755 });
  return program;
}

const chain = async () => (await readHead(s3.store, trial))?.value.chain.map(({ step }) => step);

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 45_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within 45 s: ${condition.toString()}`);
    await sleep(50);
  }
}

test(
  'trains, commits its checkpoints, and after a SIGKILL goes on from the newest to the same weights',
  { timeout: 150_000 },
  async () => {
    const first = await open();
    const beats: TrainingProgress[] = [];
    const env = new MockActivityEnvironment();
    env.on('heartbeat', (beat: TrainingProgress) => beats.push(beat));
    const undisturbed = await watch(first, await prepare(first), env);
    expect(undisturbed).toMatchObject({
      phase: 'pretrain',
      numSteps,
      numTokens: numSteps * 4 * 32,
    });
    expect((await chain())!.at(-1)).toBe(numSteps);
    expect(beats.some(({ tokensPerSecond }) => (tokensPerSecond ?? 0) > 0)).toBe(true);
    const manifest = await findStage(s3.store, 'pretrain', first.stage, modelManifestSchema);
    expect(Object.keys(manifest!.files)).toEqual(
      expect.arrayContaining(['config.json', 'model.safetensors']),
    );
    const losses = ((await readEvents(s3.store, trial)) as { event: string; loss: number }[])
      .filter(({ event }) => event === 'step')
      .map(({ loss }) => loss);
    expect(losses).toHaveLength(numSteps);
    expect(losses.at(-1)).toBeLessThan(losses[0]! * 0.9);

    useRun('killed');
    const stopsAt = 2 * saveEverySteps;
    activities = createTrainActivities({ ...deps, python: pythonThatStops(stopsAt) });
    const lost = await open();
    const start = await prepare(lost);
    const watching = watch(lost, start).then(
      () => null,
      (error: unknown) => error as Error,
    );
    await until(() => existsSync(path.join(runDir, 'checkpoints', String(stopsAt))));
    await signalTrainer(await findTrainer(runDir), 'SIGKILL');
    const error = await watching;
    expect(error?.message).toBe(`the trainer of pretrain died at step ${stopsAt}`);
    activities = createTrainActivities(deps);
    const next = await open();
    const again = await prepare(next);
    expect(again.adopted).toBe(false);
    expect(again.resumedFrom).toBe(stopsAt);
    const resumed = await watch(next, again);
    expect(resumed.weights).toBe(undisturbed.weights);
  },
);

test(
  'saves and says Stopped when a person cancels, and the next generation goes on from there',
  { timeout: 90_000 },
  async () => {
    useRun('cancelled');
    const generation = await open(100_000);
    const start = await prepare(generation);
    const env = new MockActivityEnvironment();
    const watching = watch(generation, start, env).then(
      () => null,
      (error: unknown) => error as Error,
    );
    // What counts in the store may go: of many checkpoints few are left on the disk.
    const oldest = path.join(runDir, 'checkpoints', String(saveEverySteps));
    await until(async () => ((await chain())?.length ?? 0) > 3 && !existsSync(oldest));
    env.cancel('CANCELLED');
    expect(await watching).toBeInstanceOf(CancelledFailure);
    expect(await findTrainer(runDir)).toEqual([]);
    const text = readFileSync(path.join(runDir, 'result.json'), 'utf8');
    const result = trainerResultSchema.parse(JSON.parse(text));
    expect(result).toMatchObject({ ok: false, type: 'Stopped' });
    expect((await chain())!.at(-1)).toBe(result.step);
  },
);
