/** Tokens a second of the trainer by hand, against a bare PyTorch loop on the same shape, precision and optimizers. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import type { PretrainRecipe } from '../config/recipe.ts';
import { projectDir, python } from '../infra/layout.ts';
import { describeMachine } from '../infra/machine.ts';
import { planRecipe } from '../recipes/plan.ts';
import { say, type Measured } from './support/bench.ts';
import { writeCharacters } from './support/characters.ts';
import { medianRatio, tokensPerSecond, type Pair } from './support/figures.ts';
import { trainByHand } from './support/training.ts';

const vocabSize = 4096;
/** Enough that no step meets a window again; what they say does not matter for speed. */
const numTokens = 1_000_000;
/** Those of a process that are slower than the rest; fewer where there are few. */
const mostSkipped = 10;

/** Alternating pairs on the same tokens; the ratio is the median of theirs. */
export async function measureBareLoop({
  pairs: numPairs,
  steps,
  parameters,
  threads,
}: {
  pairs: number;
  steps: number;
  parameters: number;
  threads: number;
}): Promise<Measured> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'temper-train-'));
  try {
    const { tokenizer, tokens } = writeTokens(folder);
    const planned = planRecipe({
      statistics: { numTokens, bytes: 4 * numTokens },
      goal: 'base',
      budgetMs: 3_600_000,
      machine: { ...describeMachine(), cores: threads },
      seed: 1789,
      vocabSize,
      numChats: 0,
      numPreferences: 0,
      limits: { numParameters: parameters },
    });
    const recipe: PretrainRecipe = {
      ...planned.pretrain,
      numSteps: steps,
      warmupSteps: 1,
      decaySteps: 1,
      evalEverySteps: steps,
    };
    const { numParameters, model } = planned;
    const { batchSize, contextLength, precision, optimizer } = recipe;
    say(
      `Llama ${(numParameters / 1e6).toFixed(1)}M, ${steps} steps of ${batchSize} × ${contextLength} tokens, ${precision}, ${optimizer}`,
    );
    const skipSteps = Math.min(mostSkipped, Math.floor(steps / 3));
    const config = path.join(folder, 'bare-loop.json');
    writeFileSync(config, JSON.stringify({ model, recipe, tokens, skipSteps }));
    const data = {
      kind: 'tokens' as const,
      shards: [{ path: tokens, numTokens }],
      tokenBytes: 2 as const,
      heldOut: { path: tokens, numTokens: 0, bytes: 0 },
    };
    const pairs: Pair[] = [];
    for (let index = 0; index < numPairs; index += 1) {
      const pair: Partial<Pair> = {};
      const ours = async () => {
        const runDir = path.join(folder, 'run');
        const events = await trainByHand(runDir, { recipe: planned, tokenizer, data }, recipe);
        pair.ours = tokensPerSecond(events, skipSteps);
      };
      const theirs = async () => {
        pair.theirs = await bareLoop(config, threads);
      };
      // The side that comes first changes, so that neither always has the warmer machine.
      for (const side of index % 2 === 0 ? [ours, theirs] : [theirs, ours]) await side();
      const { ours: mine, theirs: bare } = pair as Pair;
      pairs.push({ ours: mine, theirs: bare });
      say(
        `  pair ${index + 1}: trainer ${mine.toFixed(0)}, bare loop ${bare.toFixed(0)} tokens a second, ratio ${(mine / bare).toFixed(3)}`,
      );
    }
    const ratio = medianRatio(pairs);
    return {
      figures: {
        ratio,
        pairs: pairs.map(({ ours, theirs }) => ({ trainer: ours, bareLoop: theirs })),
        numParameters,
        model,
        recipe,
      },
      bounds: [{ name: 'median ratio of tokens a second', value: ratio, min: 0.95 }],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Tokens that look random and are always the same, and a tokenizer that knows where text ends. */
function writeTokens(folder: string): { tokenizer: string; tokens: string } {
  const text = path.join(folder, 'text.txt');
  writeFileSync(text, 'any text');
  const { tokenizer } = writeCharacters(text, folder);
  let state = 1;
  const tokens = Uint16Array.from({ length: numTokens }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state >>> 16) % vocabSize;
  });
  const file = path.join(folder, 'tokens.bin');
  writeFileSync(file, new Uint8Array(tokens.buffer));
  return { tokenizer, tokens: file };
}

/** Tokens a second of the loop; the file names shape, recipe, tokens and the steps that are left out. */
export async function bareLoop(config: string, threads: number): Promise<number> {
  const { stdout } = await execa(python, ['-m', 'bench.support.bare_loop', '--config', config], {
    cwd: projectDir,
    env: { OMP_NUM_THREADS: String(threads), CUDA_VISIBLE_DEVICES: '' },
    stderr: 'inherit',
  });
  return z.object({ tokensPerSecond: z.number() }).parse(JSON.parse(stdout)).tokensPerSecond;
}
