/** The comparison with nanoGPT's recipe: what it is given, how it is read, and a small one from end to end. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, describe, expect, test } from 'vitest';
import { writeCharacters } from '../../bench/support/characters.ts';
import { heldOutCurve, reached } from '../../bench/support/figures.ts';
import type { TrainerEvent } from '../../config/trainer.ts';
import { python } from '../../infra/layout.ts';

const projectDir = path.resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(path.join(os.tmpdir(), 'temper-train-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const text = 'First Citizen:\nBefore we proceed any further, hear me speak.\n\n'.repeat(80);
mkdirSync(path.join(folder, 'pretrain'));
const file = path.join(folder, 'pretrain/tinyshakespeare.txt');
writeFileSync(file, text);

describe('a text as characters', () => {
  test('each character is a token that the tokenizers library decodes again, and a tenth is held out', async () => {
    const corpus = writeCharacters(file, path.join(folder, 'characters'));
    const { shards, heldOut } = corpus.data;
    expect(corpus.vocabSize).toBe(4 + new Set(text).size);
    expect(shards[0]!.numTokens).toBe(Math.floor(text.length * 0.9));
    expect(heldOut).toMatchObject({ numTokens: text.length - shards[0]!.numTokens });
    const program =
      'import sys, numpy as np; from tokenizers import Tokenizer; ' +
      "print(Tokenizer.from_file(sys.argv[1]).decode(np.fromfile(sys.argv[2], '<u2').tolist()), end='')";
    const { stdout } = await execa(python, ['-c', program, corpus.tokenizer, heldOut.path], {
      stripFinalNewline: false,
    });
    expect(stdout).toBe(text.slice(shards[0]!.numTokens));
  });
});

describe('a curve of held-out losses', () => {
  const step = (at: number, number: number): TrainerEvent => ({
    event: 'step',
    step: number,
    loss: 2,
    lr: 1,
    grad_norm: 1,
    tokens_per_second: 1,
    num_tokens: number * 100,
    at,
  });
  const scoring = (at: number): TrainerEvent => ({ event: 'working', what: 'evaluating', at });
  const scored = (at: number, number: number, loss: number): TrainerEvent => ({
    event: 'eval',
    step: number,
    val_loss: loss,
    val_bpb: loss,
    at,
  });
  const curve = heldOutCurve([
    { event: 'start', step: 0, resumedFrom: null, at: 100 },
    step(102, 1),
    scoring(103),
    scoring(105),
    scored(109, 1, 2.5),
    step(111, 2),
    scoring(111),
    scored(120, 2, 1.9),
  ]);

  test('counts the time of training, a save included, and not that of scoring', () => {
    expect(curve).toEqual([
      { step: 1, numTokens: 100, valLoss: 2.5, seconds: 3 },
      { step: 2, numTokens: 200, valLoss: 1.9, seconds: 5 },
    ]);
  });

  test('reaches a loss at its first point that is no higher, or never', () => {
    expect(reached(curve, 2.5)).toBe(curve[0]);
    expect(reached(curve, 2)).toBe(curve[1]);
    expect(reached(curve, 1.8)).toBeNull();
  });
});

test('without its text the bench starts nothing', async () => {
  const { stdout, exitCode } = await bench(['--data', os.tmpdir()]);
  expect(exitCode).toBe(1);
  expect(JSON.parse(stdout.split('\n').at(-1)!).error).toContain('Nothing was started.');
});

test(
  'a small comparison trains both sides on the same tokens and ends with one JSON object',
  { timeout: 240_000 },
  async () => {
    const { stdout } = await bench(['--data', folder, '--pairs', '1', '--steps', '40']);
    const { figures, bounds, error } = JSON.parse(stdout.split('\n').at(-1)!);
    expect(error).toBeNull();
    const [{ planned, nanoGPT }] = figures.pairs;
    expect(nanoGPT.tokens).toBe(40 * 12 * 64);
    expect(planned.tokens).toBeLessThanOrEqual(nanoGPT.tokens);
    for (const { loss, seconds } of [planned, nanoGPT]) {
      expect(loss).toBeLessThan(Math.log(4 + new Set(text).size));
      expect(seconds).toBeGreaterThan(0);
    }
    const held = Object.fromEntries(
      bounds.map((bound: { name: string; holds: boolean }) => [bound.name, bound.holds]),
    );
    // A text of one sentence is no Shakespeare: the comparison must say that it does not count.
    expect(held['nanoGPT, distance from its published loss']).toBe(false);
    expect(held['planned, parameters as a share of those of nanoGPT']).toBe(true);
  },
);

async function bench(args: string[]) {
  return await execa(
    process.execPath,
    [path.join(projectDir, 'bench/run.ts'), 'train', '--threads', '1', ...args],
    { cwd: projectDir, reject: false },
  );
}
