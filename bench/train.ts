/**
 * The planner's recipe against a published one at the same size and on as many tokens: Tiny Shakespeare by
 * characters, beside nanoGPT's recipe for a laptop's CPU, both trained here in turn.
 */
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { z } from 'zod';
import type { Recipe } from '../config/recipe.ts';
import { python } from '../infra/layout.ts';
import { describeMachine } from '../infra/machine.ts';
import { planRecipe } from '../recipes/plan.ts';
import { defineBench, say } from './support/bench.ts';
import { writeCharacters, type CharacterCorpus } from './support/characters.ts';
import { heldOutCurve, median, reached, type HeldOutPoint } from './support/figures.ts';
import { plainProcess, trainByHand } from './support/hand-trainer.ts';
import { withFolder } from './support/folder.ts';

const needed = 'pretrain/tinyshakespeare.txt';
/** nanoGPT's README: what its recipe for a CPU trains on, and the held-out loss that it ends at. */
const published = { batchSize: 12, contextLength: 64, numParameters: 0.8e6, loss: 1.88 };
/** Both sides score the held-out text so often on the way; the time of that counts for neither. */
const numEvaluations = 20;

export const train = defineBench({
  name: 'train',
  summary: 'Tiny Shakespeare by characters: the planned recipe beside that of nanoGPT for a CPU',
  settings: z.strictObject({
    data: z.string().describe(`folder of public data with ${needed}`),
    pairs: z.int().min(1).max(20).default(3).describe('trainings each way, each with its own seed'),
    steps: z.int().min(20).default(2000).describe('of nanoGPT; fewer make no comparison'),
    seconds: z.number().positive().default(72).describe('time that the planner is given'),
    threads: z.int().min(1).default(2).describe('of each side'),
  }),
  async measure({ data, pairs: numPairs, steps, seconds, threads }) {
    const file = path.resolve(data, needed);
    if (!existsSync(file)) throw new Error(`found no ${needed} in ${data}. Nothing was started.`);
    return await withFolder('train', async (folder) => {
      const corpus = writeCharacters(file, folder);
      const numTokens = steps * published.batchSize * published.contextLength;
      const recipe = plan(corpus, { numTokens, seconds, threads });
      for (const { choice, value } of recipe.reasons) say(`  ${choice.padEnd(12)}${value}`);
      const pairs: { ours: HeldOutPoint[]; theirs: HeldOutPoint[] }[] = [];
      for (let index = 0; index < numPairs; index += 1) {
        const pair: Partial<(typeof pairs)[number]> = {};
        const ours = async () => {
          pair.ours = await trainPlanned(path.join(folder, 'run'), corpus, recipe, index);
        };
        const theirs = async () => {
          pair.theirs = await trainPeer(folder, corpus, { steps, threads, seed: index });
        };
        // The side that comes first changes, so that neither always has the warmer machine.
        for (const side of index % 2 === 0 ? [ours, theirs] : [theirs, ours]) await side();
        pairs.push(pair as Required<typeof pair>);
      }
      return compare(pairs, recipe, numTokens);
    });
  },
});

/** What the planner makes of the text, given the size, the windows and the tokens of the other side. */
function plan(
  { bytes, vocabSize, data }: CharacterCorpus,
  { numTokens, seconds, threads }: { numTokens: number; seconds: number; threads: number },
): Recipe {
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
  { model, pretrain }: Recipe,
  index: number,
): Promise<HeldOutPoint[]> {
  const recipe = {
    ...pretrain,
    seed: pretrain.seed + index,
    // An evaluation looks on: it moves no bit of the model.
    evalEverySteps: Math.ceil(pretrain.numSteps / numEvaluations),
  };
  const curve = heldOutCurve(await trainByHand(runDir, { model, tokenizer, data }, recipe));
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
    ...plainProcess,
    env: { ...plainProcess.env, OMP_NUM_THREADS: String(threads) },
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

function compare(
  pairs: readonly { ours: HeldOutPoint[]; theirs: HeldOutPoint[] }[],
  recipe: Recipe,
  numTokens: number,
) {
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
