/**
 * The planner's recipe against a published one at the same size and on as many tokens: Tiny Shakespeare by
 * characters, beside nanoGPT's recipe for a laptop's CPU, both trained here in turn.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { z } from 'zod';
import type { ReadingRecipe } from '../config/recipe.ts';
import { projectDir, python } from '../infra/layout.ts';
import { describeMachine } from '../infra/machine.ts';
import { planRecipe } from '../recipes/plan.ts';
import { say, type Measured } from './support/bench.ts';
import { writeCharacters, type CharacterCorpus } from './support/characters.ts';
import { heldOutCurve, median, reached, type HeldOutPoint } from './support/figures.ts';
import { trainByHand } from './support/training.ts';

export const shakespeareFile = 'pretrain/tinyshakespeare.txt';
/** nanoGPT's README: what its recipe for a CPU trains on, and the held-out loss that it ends at. */
const published = { batchSize: 12, contextLength: 64, numParameters: 0.8e6, loss: 1.88 };
/** Both sides score the held-out text so often on the way; the time of that counts for neither. */
const numEvaluations = 20;

/** Trains both sides in turn, each pair with its own seed, and compares them. */
export async function measureShakespeare({
  data,
  pairs: numPairs,
  steps,
  seconds,
  threads,
}: {
  data: string;
  pairs: number;
  steps: number;
  seconds: number;
  threads: number;
}): Promise<Measured> {
  const file = path.resolve(data, shakespeareFile);
  if (!existsSync(file)) {
    throw new Error(`found no ${shakespeareFile} in ${data}. Nothing was started.`);
  }
  const folder = mkdtempSync(path.join(os.tmpdir(), 'temper-train-'));
  try {
    const corpus = writeCharacters(file, folder);
    const numTokens = steps * published.batchSize * published.contextLength;
    const recipe = plan(corpus, { numTokens, seconds, threads });
    for (const { choice, value } of recipe.reasons) say(`  ${choice.padEnd(12)}${value}`);
    const pairs: Trainings[] = [];
    for (let index = 0; index < numPairs; index += 1) {
      const pair: Partial<Trainings> = {};
      const ours = async () => {
        pair.ours = await trainPlanned(path.join(folder, 'run'), corpus, recipe, index);
      };
      const theirs = async () => {
        pair.theirs = await trainPeer(folder, corpus, { steps, threads, seed: index });
      };
      // The side that comes first changes, so that neither always has the warmer machine.
      for (const side of index % 2 === 0 ? [ours, theirs] : [theirs, ours]) await side();
      pairs.push(pair as Trainings);
    }
    return compare(pairs, recipe, numTokens);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Trainings {
  ours: HeldOutPoint[];
  theirs: HeldOutPoint[];
}

/** What the planner makes of the text, given the size, the windows and the tokens of the other side. */
function plan(
  { bytes, vocabSize, data }: CharacterCorpus,
  { numTokens, seconds, threads }: { numTokens: number; seconds: number; threads: number },
): ReadingRecipe {
  const [shard] = data.shards;
  const { numParameters, contextLength } = published;
  return planRecipe({
    statistics: { numTokens: shard!.numTokens, bytes },
    goal: 'base',
    budgetMs: seconds * 1000,
    machine: { ...describeMachine(), cores: threads },
    seed: 1789,
    vocabSize,
    numChats: 0,
    numPreferences: 0,
    limits: { numParameters, numTokens, contextLength },
  });
}

async function trainPlanned(
  runDir: string,
  { tokenizer, data }: CharacterCorpus,
  planned: ReadingRecipe,
  index: number,
): Promise<HeldOutPoint[]> {
  const { pretrain } = planned;
  const recipe = {
    ...pretrain,
    seed: pretrain.seed + index,
    // An evaluation looks on: it moves no bit of the model.
    evalEverySteps: Math.ceil(pretrain.numSteps / numEvaluations),
  };
  const curve = heldOutCurve(
    await trainByHand(runDir, { recipe: planned, tokenizer, data }, recipe),
  );
  tell('planned', curve);
  return curve;
}

const peerLine = z.object({
  step: z.int(),
  numTokens: z.int(),
  valLoss: z.number(),
  seconds: z.number(),
});

async function trainPeer(
  folder: string,
  { vocabSize, data }: CharacterCorpus,
  { steps, threads, seed }: { steps: number; threads: number; seed: number },
): Promise<HeldOutPoint[]> {
  const config = path.join(folder, 'nanogpt.json');
  const evalEverySteps = Math.ceil(steps / numEvaluations);
  const [shard] = data.shards;
  const settings = { threads, seed, vocabSize, numSteps: steps, evalEverySteps };
  const files = { train: shard!.path, heldOut: data.heldOut };
  writeFileSync(config, JSON.stringify({ ...settings, ...files }));
  const child = execa(python, ['-m', 'bench.support.nanogpt', '--config', config], {
    cwd: projectDir,
    env: { OMP_NUM_THREADS: String(threads), CUDA_VISIBLE_DEVICES: '' },
    stderr: 'inherit',
    buffer: false,
  });
  const curve: HeldOutPoint[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    curve.push(peerLine.parse(JSON.parse(line)));
  }
  await child;
  tell('nanoGPT', curve);
  return curve;
}

function tell(side: string, curve: readonly HeldOutPoint[]): void {
  const { step, valLoss, seconds } = curve.at(-1)!;
  say(`  ${side}: ${valLoss.toFixed(4)} after ${step} steps, ${seconds.toFixed(1)} s`);
}

function compare(pairs: readonly Trainings[], recipe: ReadingRecipe, numTokens: number): Measured {
  const compared = pairs.map(({ ours, theirs }) => {
    const [ourEnd, theirEnd] = [ours.at(-1)!, theirs.at(-1)!];
    const met = reached(ours, theirEnd.valLoss);
    return {
      planned: { loss: ourEnd.valLoss, seconds: ourEnd.seconds, tokens: ourEnd.numTokens },
      nanoGPT: { loss: theirEnd.valLoss, seconds: theirEnd.seconds, tokens: theirEnd.numTokens },
      reached: met && { seconds: met.seconds, tokens: met.numTokens },
      // A training that never got there took for ever.
      ratio: met === null ? Infinity : met.seconds / theirEnd.seconds,
    };
  });
  const ratio = median(compared.map((pair) => pair.ratio));
  const worst = Math.max(...compared.map(({ planned }) => planned.loss));
  const off = Math.max(...compared.map(({ nanoGPT }) => Math.abs(nanoGPT.loss - published.loss)));
  const { numParameters, model, pretrain } = recipe;
  return {
    figures: { ratio, pairs: compared, numParameters, model, recipe: pretrain },
    bounds: [
      { name: 'nanoGPT, distance from its published loss', value: off, max: 0.03 },
      {
        name: "time to nanoGPT's last loss, as a share of its time",
        value: Number.isFinite(ratio) ? ratio : null,
        max: 0.5,
      },
      { name: 'planned, highest last loss, nats a character', value: worst, max: 1.65 },
      {
        name: 'planned, time as a share of that of nanoGPT',
        value: median(compared.map(({ planned, nanoGPT }) => planned.seconds / nanoGPT.seconds)),
        max: 1,
      },
      {
        name: 'planned, tokens as a share of those of nanoGPT',
        value: Math.max(...compared.map(({ planned }) => planned.tokens / numTokens)),
        max: 1,
      },
      {
        name: 'planned, parameters as a share of those of nanoGPT',
        value: numParameters / published.numParameters,
        min: 0.95,
        max: 1.05,
      },
    ],
  };
}
