/**
 * What the pipeline costs the trainer: tokens a second of pretraining under a workflow, watched and uploaded,
 * against the same trainer started by hand on the same files with no stack running. Alternating pairs.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { z } from 'zod';
import type { TrainedModel } from '../activities/training-job.ts';
import { readPipelineFile } from '../client/pipeline-file.ts';
import { corpusManifestSchema, type CorpusManifest } from '../config/manifests.ts';
import type { BlobRef } from '../config/digest.ts';
import { TaskQueue } from '../config/queues.ts';
import type { PretrainRecipe, ReadingRecipe } from '../config/recipe.ts';
import { trainerEventSchema, trainerRunSchema, type TrainerEvent } from '../config/trainer.ts';
import { projectDir, python } from '../infra/layout.ts';
import { trainerStartMs } from '../recipes/speed.ts';
import { downloadBlob } from '../registry/blobs.ts';
import { findStage } from '../registry/stages.ts';
import { readEvents } from '../registry/training.ts';
import { workflowId } from '../workflows/messages.ts';
import { defineBench, say } from './support/bench.ts';
import { medianRatio, tokensPerSecond, type Pair } from './support/figures.ts';
import { runPipeline, withHome, withStack, type BenchStack } from './support/stack.ts';

/** The first steps of a process are slower than the rest. */
const skipSteps = 10;
/** What a server does after its start, and the kernel after a stop, is not to be measured. */
const settleMs = 3000;

export const throughput = defineBench({
  name: 'throughput',
  summary: 'tokens a second of pretraining in the pipeline against the same trainer by hand',
  settings: z.strictObject({
    pipeline: z
      .string()
      .default('config/pipelines/quickstart.yaml')
      .describe('pipeline file whose corpus and model size are used'),
    pairs: z.int().min(1).max(50).default(7).describe('measurements each way'),
    seconds: z.number().positive().max(600).default(25).describe('planned training time of one'),
    keep: z.boolean().default(false).describe('leave the home folder'),
  }),
  async measure({ pipeline: file, pairs: numPairs, seconds, keep }) {
    const source = await readPipelineFile(file);
    return await withHome('throughput', { keep }, async (home) => {
      say('preparing the corpus, and planning');
      const prepared = await withStack(home, (stack) => prepare(stack, source, home));
      const recipe = shorten(prepared.recipe, seconds);
      const { numParameters, machine } = prepared.recipe;
      say(
        `Llama ${(numParameters / 1e6).toFixed(1)}M, ${recipe.numSteps} steps of ${recipe.batchSize} × ${recipe.contextLength} tokens, a save every ${recipe.saveEverySteps}`,
      );
      const pairs: Pair[] = [];
      for (let index = 0; index < numPairs; index += 1) {
        // Another seed each time: the pipeline would reuse a model that it has trained before.
        const seeded = { ...recipe, seed: recipe.seed + index };
        const pair: Partial<Pair> = {};
        const inPipeline = async () => {
          const events = await withStack(
            home,
            (stack) => trainInPipeline(stack, prepared, seeded, `bench-${index}`),
            prepared.stack,
          );
          pair.ours = tokensPerSecond(events, skipSteps);
        };
        const byHand = async () => {
          await sleep(settleMs);
          const events = await trainByHand(path.join(home, 'by-hand'), prepared, seeded);
          pair.theirs = tokensPerSecond(events, skipSteps);
        };
        // The side that comes first changes, so that neither always has the warmer machine.
        for (const side of index % 2 === 0 ? [inPipeline, byHand] : [byHand, inPipeline]) {
          await side();
        }
        const { ours, theirs } = pair as Pair;
        pairs.push({ ours, theirs });
        say(
          `  pair ${index + 1}: pipeline ${ours.toFixed(0)}, by hand ${theirs.toFixed(0)} tokens a second, ratio ${(ours / theirs).toFixed(3)}`,
        );
      }
      const ratio = medianRatio(pairs);
      return {
        figures: {
          ratio,
          pairs: pairs.map(({ ours, theirs }) => ({
            pipeline: ours,
            byHand: theirs,
            ratio: ours / theirs,
          })),
          model: { numParameters, shape: prepared.recipe.model },
          recipe,
          threads: recipe.threads,
          instructionSet: machine.instructionSet,
        },
        bounds: [{ name: 'median ratio of tokens a second', value: ratio, min: 0.95 }],
      };
    });
  },
});

interface Prepared {
  stack: BenchStack['stack'];
  recipe: ReadingRecipe;
  /** Digest of the corpus's stage record. */
  corpus: string;
  tokenizer: string;
  data: Extract<z.infer<typeof trainerRunSchema>['data'], { kind: 'tokens' }>;
}

/** Runs the pipeline until its recipe is frozen, cancels it, and brings the training's inputs to disk. */
async function prepare(
  bench: BenchStack,
  source: Awaited<ReturnType<typeof readPipelineFile>>,
  home: string,
): Promise<Prepared> {
  const { temper, temporal, store, stack } = bench;
  const run = 'bench-prepare';
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
  return { stack, recipe: { ...planned.recipe, pretrain }, corpus, tokenizer, data };
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
function shorten({ pretrain, estimate }: ReadingRecipe, seconds: number): PretrainRecipe {
  const stepS = (estimate.lostIfKilledMs - trainerStartMs) / pretrain.saveEverySteps / 1000;
  const numSteps = Math.max(2 * skipSteps + 1, Math.round(seconds / stepS));
  return {
    ...pretrain,
    numSteps,
    warmupSteps: Math.min(pretrain.warmupSteps, Math.ceil(numSteps / 10)),
    decaySteps: Math.floor(numSteps / 2),
  };
}

async function trainInPipeline(
  { temporal, store }: BenchStack,
  { recipe: { model, machine }, corpus }: Prepared,
  recipe: PretrainRecipe,
  run: string,
): Promise<TrainerEvent[]> {
  await sleep(settleMs);
  const trained = await temporal.workflow.execute<(input: unknown) => Promise<TrainedModel>>(
    'trainingWorkflow',
    {
      workflowId: workflowId.training(run, 'pretrain', 0),
      taskQueue: TaskQueue.control,
      args: [{ run, round: 0, trial: 0, recipe, shape: model, machine, corpus, init: null }],
    },
  );
  if (trained.reused) {
    throw new Error(`${run}: the model was reused, expected it to be trained. Delete the home.`);
  }
  const events = await readEvents(store, { run, phase: 'pretrain', round: 0, trial: 0 });
  return z.array(trainerEventSchema).parse(events);
}

/** The trainer as anybody may start it, in a run directory of its own. */
async function trainByHand(
  runDir: string,
  { recipe: { model }, tokenizer, data }: Prepared,
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
  rmSync(runDir, { recursive: true, force: true });
  return lines.map((line) => trainerEventSchema.parse(JSON.parse(line)));
}
