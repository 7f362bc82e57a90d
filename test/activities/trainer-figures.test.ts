import { describe, expect, test } from 'vitest';
import { Figures } from '../../activities/trainer-figures.ts';
import { Metrics } from '../../activities/trainer-metrics.ts';
import type { Deps } from '../../activities/deps.ts';
import type { Generation } from '../../activities/training-job.ts';
import type { TrainerEvent } from '../../config/trainer.ts';

const step = (number: number, at: number, more: object = {}): TrainerEvent => ({
  event: 'step',
  step: number,
  loss: 3,
  lr: 0.01,
  grad_norm: 0.5,
  tokens_per_second: 1000,
  num_tokens: number,
  at,
  ...more,
});

function figuresOf(...events: TrainerEvent[]): Figures {
  const figures = new Figures();
  for (const event of events) figures.see(event);
  return figures;
}

describe('figures of a training', () => {
  test('are the last that its trainer told, and the time left by the pace of its last steps', () => {
    const figures = figuresOf(
      step(10, 100, { memory: 5e8, mfu: 0.3 }),
      { event: 'eval', step: 10, val_loss: 3.5, val_bpb: 1.2, at: 101 },
      step(11, 104, { memory: 6e8, mfu: 0.4 }),
    );
    expect(figures.of(21)).toEqual({
      loss: 3,
      tokensPerSecond: 1000,
      learningRate: 0.01,
      gradNorm: 0.5,
      mfu: 0.4,
      memoryBytes: 6e8,
      valLoss: 3.5,
      valBpb: 1.2,
      leftMs: 40_000,
    });
  });

  test('hold nothing that a trainer does not tell, and no time left before two steps', () => {
    expect(figuresOf(step(1, 1)).of(10)).toEqual({
      loss: 3,
      tokensPerSecond: 1000,
      learningRate: 0.01,
      gradNorm: 0.5,
    });
  });

  test('take no pause and no restart for the pace of steps', () => {
    const pause: TrainerEvent = { event: 'paused', step: 2, at: 3 };
    const figures = figuresOf(step(1, 1), step(2, 2), pause, step(3, 9000), step(4, 9001));
    expect(figures.of(14).leftMs).toBe(10_000);
    const start: TrainerEvent = { event: 'start', step: 2, resumedFrom: 'x', at: 8000 };
    const resumed = figuresOf(step(3, 4), start, step(3, 9000), step(4, 9002));
    expect(resumed.of(14).leftMs).toBe(20_000);
  });

  test('of a device tell its memory rather than that of the process', () => {
    const figures = figuresOf(step(1, 1, { memory: 5e8, device_memory: 7e9 }));
    expect(figures.of(10).memoryBytes).toBe(7e9);
  });
});

test('what a training tells is stored every 15 s, and more seldom the longer it is watched', () => {
  const metrics = new Metrics({} as Deps, {} as Generation, 0);
  expect(metrics.isDue(14_999)).toBe(false);
  expect(metrics.isDue(15_000)).toBe(true);
  expect(metrics.isDue(29_999)).toBe(false);
  const week = 7 * 24 * 3_600_000;
  expect(metrics.isDue(week)).toBe(true);
  expect(metrics.isDue(week + 3_000_000)).toBe(false);
  expect(metrics.isDue(week + 3_050_000)).toBe(true);
});
