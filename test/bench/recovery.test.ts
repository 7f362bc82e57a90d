/** What a benchmark of kills reads from the events of a training. */
import { expect, test } from 'vitest';
import { lossesOf, startsOf, trainingAgainMs } from '../../bench/support/recovery.ts';
import { trainerEventSchema, type TrainerEvent } from '../../config/trainer.ts';

const start = (step: number, at: number): TrainerEvent =>
  trainerEventSchema.parse({
    event: 'start',
    step,
    resumedFrom: step === 0 ? null : `checkpoints/${step}`,
    at,
  });
const step = (number: number, at: number, loss = 10 - number): TrainerEvent =>
  trainerEventSchema.parse({
    event: 'step',
    step: number,
    loss,
    lr: 0.1,
    grad_norm: 1,
    tokens_per_second: 100,
    num_tokens: number * 10,
    at,
  });
/** Killed after step 3, and again before it had made a step; goes on from 2. */
const events = [
  start(0, 0),
  step(1, 1),
  step(2, 2),
  step(3, 3),
  start(2, 8),
  start(2, 12),
  step(3, 13),
  step(4, 14),
];

test('a start says from where, and how many steps are computed again', () => {
  expect(startsOf(events)).toEqual([
    { step: 0, lost: 0 },
    { step: 2, lost: 1 },
    { step: 2, lost: 0 },
  ]);
});

test('a step that is computed again counts once, and shows when its loss differs', () => {
  expect(lossesOf(events)).toEqual([
    [1, [9]],
    [2, [8]],
    [3, [7]],
    [4, [6]],
  ]);
  expect(lossesOf([...events, step(4, 20, 5)]).at(-1)).toEqual([4, [6, 5]]);
});

test('training goes on with the first step of a trainer that was started after the kill', () => {
  expect(trainingAgainMs(events, 3.5)).toBe(9500);
  expect(trainingAgainMs(events, 9)).toBe(4000);
  expect(trainingAgainMs(events, 13.5)).toBeNull();
});
