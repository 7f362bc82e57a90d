/** A phase of training for benchmarks: planned by a pipeline, then trained under a workflow or by hand on the same files. */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { z } from 'zod';
import type { TrainedModel } from '../../activities/training-job.ts';
import type { PipelineFile } from '../../client/pipeline-file.ts';
import { corpusManifestSchema, type CorpusManifest } from '../../config/manifests.ts';
import type { BlobRef } from '../../config/digest.ts';
import { TaskQueue } from '../../config/queues.ts';
import type { PretrainRecipe, ReadingRecipe } from '../../config/recipe.ts';
import { trainerEventSchema, trainerRunSchema, type TrainerEvent } from '../../config/trainer.ts';
import { projectDir, python } from '../../infra/layout.ts';
import { downloadBlob } from '../../registry/blobs.ts';
import { findStage } from '../../registry/stages.ts';
import { readEvents } from '../../registry/training.ts';
import { workflowId } from '../../workflows/messages.ts';
import { lossesOf } from './recovery.ts';
import { runPipeline, type BenchStack } from './stack.ts';

/** The first steps of a process are slower than the rest. */
export const skipSteps = 10;
/** What a server does after its start, and the kernel after a stop, is not to be measured. */
export const settleMs = 3000;

/** What a training needs, in the store and on this disk. */
export interface Prepared {
  stack: BenchStack['stack'];
  recipe: ReadingRecipe;
  /** Digest of the corpus's stage record. */
  corpus: string;
  /** What a plan is made from. */
  statistics: { numTokens: number; bytes: number };
  vocabSize: number;
  tokenizer: string;
  data: Extract<z.infer<typeof trainerRunSchema>['data'], { kind: 'tokens' }>;
}

/** Runs the pipeline until its recipe is frozen, cancels it, and brings the training's inputs to disk. */
export async function prepare(
  bench: BenchStack,
  source: Pick<PipelineFile, 'pipeline' | 'baseDir'>,
  home: string,
  run = 'bench-prepare',
): Promise<Prepared> {
  const { temper, temporal, store, stack } = bench;
  const planned = await runPipeline(bench, { run, ...source }, ({ recipe }) => recipe !== null);
  const { pretrain = null } = planned.recipe ?? {};
  if (planned.recipe === null || pretrain === null) {
    throw new Error(`run ${run} ${planned.state}: ${planned.failure ?? 'no recipe'}`);
  }
  if (planned.state === 'running') await temper.cancel(run, 'only its corpus and plan were needed');
  for await (const { state } of temper.followStatus(run)) if (state !== 'running') break;
  const { corpus } = await temporal.workflow
    .getHandle<() => Promise<{ corpus: string }>>(workflowId.preprocess(run))
    .result();
  const manifest = await findStage(store, 'preprocess', corpus, corpusManifestSchema);
  if (manifest === null) throw new Error(`stages/preprocess/${corpus}: found nothing`);
  const fetch = async (ref: BlobRef) => {
    const local = path.join(home, 'by-hand-inputs', ref.sha256);
    mkdirSync(path.dirname(local), { recursive: true });
    await downloadBlob(store, ref, local);
    return local;
  };
  const data = await tokensOf(manifest, fetch);
  const tokenizer = await fetch(manifest.tokenizer);
  const { statistics, heldOut, vocabSize } = manifest;
  return {
    stack,
    recipe: { ...planned.recipe, pretrain },
    corpus,
    statistics: {
      numTokens: statistics.numTokens,
      bytes: Math.max(1, statistics.bytes - heldOut.bytes),
    },
    vocabSize,
    tokenizer,
    data,
  };
}

async function tokensOf(
  { shards, tokenBytes, heldOut }: CorpusManifest,
  fetch: (ref: BlobRef) => Promise<string>,
): Promise<Prepared['data']> {
  const local = [];
  for (const { tokens, numTokens } of shards) local.push({ path: await fetch(tokens), numTokens });
  const { tokens, numTokens, bytes } = heldOut;
  return {
    kind: 'tokens',
    shards: local,
    tokenBytes,
    heldOut: { path: await fetch(tokens), numTokens, bytes },
  };
}

/** The planned pretraining, cut to so many seconds by the planner's own estimate; saves and evaluations come as often as planned. */
export function shorten({ pretrain, estimate }: ReadingRecipe, seconds: number): PretrainRecipe {
  const planned = estimate.time!.find(({ phase }) => phase === 'pretrain')!;
  const stepS = planned.stepsMs / pretrain.numSteps / 1000;
  const numSteps = Math.max(2 * skipSteps + 1, Math.round(seconds / stepS));
  return {
    ...pretrain,
    numSteps,
    warmupSteps: Math.min(pretrain.warmupSteps, Math.ceil(numSteps / 10)),
    decaySteps: Math.floor(numSteps / 2),
  };
}

/** Starts the training of a trial in a run of its own, under its workflow. */
export async function startInPipeline(
  { temporal }: BenchStack,
  { recipe: { model, machine }, corpus }: Prepared,
  recipe: PretrainRecipe,
  run: string,
) {
  return await temporal.workflow.start<(input: unknown) => Promise<TrainedModel>>(
    'trainingWorkflow',
    {
      workflowId: workflowId.training(run, 'pretrain', 0),
      taskQueue: TaskQueue.control,
      args: [{ run, round: 0, trial: 0, recipe, shape: model, machine, corpus, init: null }],
    },
  );
}

/** As `startInPipeline`, to its end; returns what the trainer told. */
export async function trainInPipeline(
  stack: BenchStack,
  prepared: Prepared,
  recipe: PretrainRecipe,
  run: string,
): Promise<TrainerEvent[]> {
  await sleep(settleMs);
  const trained = await (await startInPipeline(stack, prepared, recipe, run)).result();
  if (trained.reused) {
    throw new Error(`${run}: the model was reused, expected it to be trained. Delete the home.`);
  }
  const events = await readEvents(stack.store, { run, phase: 'pretrain', round: 0, trial: 0 });
  return z.array(trainerEventSchema).parse(events);
}

/** What an undisturbed training gave. */
export interface Reference {
  /** Of the last checkpoint, SHA-256 by name: weights, optimizer, random numbers, place in the data. */
  files: Record<string, string>;
  losses: ReturnType<typeof lossesOf>;
}

/** Trains by hand, and keeps what others are held against. */
export async function referenceOf(
  runDir: string,
  prepared: Prepared,
  recipe: PretrainRecipe,
): Promise<Reference> {
  const events = await runTrainer(runDir, prepared, recipe);
  const folder = path.join(runDir, 'checkpoints', String(recipe.numSteps));
  const files: Record<string, string> = {};
  for (const name of readdirSync(folder).toSorted()) {
    files[name] = createHash('sha256')
      .update(readFileSync(path.join(folder, name)))
      .digest('hex');
  }
  rmSync(runDir, { recursive: true, force: true });
  return { files, losses: lossesOf(events) };
}

/** What the trainer itself needs of it. */
type Inputs = Pick<Prepared, 'tokenizer' | 'data'> & { recipe: Pick<ReadingRecipe, 'model'> };

/** The trainer as anybody may start it, in a run directory of its own. */
export async function trainByHand(
  runDir: string,
  prepared: Inputs,
  recipe: PretrainRecipe,
): Promise<TrainerEvent[]> {
  const events = await runTrainer(runDir, prepared, recipe);
  rmSync(runDir, { recursive: true, force: true });
  return events;
}

async function runTrainer(
  runDir: string,
  { recipe: { model }, tokenizer, data }: Inputs,
  recipe: PretrainRecipe,
): Promise<TrainerEvent[]> {
  rmSync(runDir, { recursive: true, force: true });
  mkdirSync(runDir, { recursive: true });
  const config = path.join(runDir, 'run.json');
  const run = trainerRunSchema.parse({
    schemaVersion: 1,
    runDir,
    recipe,
    model,
    tokenizer,
    init: null,
    data,
    resumeFrom: null,
  });
  writeFileSync(config, JSON.stringify(run));
  const output = { file: path.join(runDir, 'trainer.log') };
  await execa(python, ['-m', 'trainer.launch', '--config', config], {
    cwd: projectDir,
    stdin: 'ignore',
    stdout: output,
    stderr: output,
    extendEnv: false,
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      LANG: 'C.UTF-8',
      PYTHONUNBUFFERED: '1',
    },
    forceKillAfterDelay: 5000,
  });
  const lines = readFileSync(path.join(runDir, 'events.jsonl'), 'utf8').trim().split('\n');
  return lines.map((line) => trainerEventSchema.parse(JSON.parse(line)));
}
