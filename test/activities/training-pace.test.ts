import { expect, test } from 'vitest';
import { Pace } from '../../activities/trainer-pace.ts';
import type { TrainerEvent } from '../../config/trainer.ts';

const step = (number: number, at: number): TrainerEvent => ({
  event: 'step',
  step: number,
  loss: 1,
  lr: 1,
  grad_norm: 1,
  tokens_per_second: 1,
  num_tokens: 1,
  at,
});
const working = (at: number): TrainerEvent => ({ event: 'working', what: 'evaluating', at });

/** A pace that has seen the events at the times they name. */
function paceOf(...events: TrainerEvent[]): Pace {
  const pace = new Pace(0);
  for (const event of events) pace.see(event, event.at * 1000);
  return pace;
}

test('a trainer that says nothing while it starts is given three minutes', () => {
  expect(paceOf().isHung(180_000)).toBe(false);
  expect(paceOf().isHung(180_001)).toBe(true);
});

test('preparing rows is a sign of life, after which loading may still take its three minutes', () => {
  const pace = paceOf({ event: 'working', what: 'preparing', at: 100 });
  expect(pace.isHung(280_000)).toBe(false);
  expect(pace.isHung(280_001)).toBe(true);
});

test('an evaluation has a limit of two minutes from its last sign of life, whatever the pace of steps', () => {
  const pace = paceOf(step(1, 1), step(2, 2), working(3), working(90));
  expect(pace.isHung(90_000 + 120_000)).toBe(false);
  expect(pace.isHung(90_000 + 120_001)).toBe(true);
});

test('the time of an evaluation is no part of how long a step takes', () => {
  const pace = paceOf(step(1, 1), step(2, 2), working(3), working(60), step(3, 62));
  expect(pace.limitMs()).toBe(60_000);
});

test('slow steps lengthen the limit, to twenty of the slowest', () => {
  expect(paceOf(step(1, 10), step(2, 20)).limitMs()).toBe(200_000);
});

test('a pause is no hang however long it takes, and no part of how long a step takes', () => {
  const pace = paceOf(step(1, 1), step(2, 2), { event: 'paused', step: 2, at: 3 });
  pace.rest(900_000_000);
  expect(pace.isHung(900_000_000 + 60_000)).toBe(false);
  expect(pace.isHung(900_000_000 + 60_001)).toBe(true);
  pace.see(step(3, 900_001), 900_001_000);
  expect(pace.limitMs()).toBe(60_000);
});

test('time in which the watcher itself was stopped or asleep is no silence of the trainer', () => {
  const pace = paceOf(step(1, 1), step(2, 2));
  for (let now = 2_000; now <= 50_000; now += 500) pace.look(now);
  // Suspended for an hour, then back: the trainer has what was left, and no less.
  pace.look(3_650_000);
  expect(pace.isHung(3_650_000)).toBe(false);
  for (let now = 3_650_500; now <= 3_662_000; now += 500) pace.look(now);
  expect(pace.isHung(3_662_000)).toBe(false);
  expect(pace.isHung(3_662_001)).toBe(true);
});

test('a trainer whose clock was set forward is given no longer for it', () => {
  const pace = paceOf(step(1, 1), step(2, 2));
  pace.see(step(3, 7_203), 3_000);
  expect(pace.limitMs()).toBe(60_000);
});

test('it is occupied from the start of a save or an evaluation until the next step or checkpoint', () => {
  const pace = paceOf(step(1, 1));
  expect(pace.isOccupied).toBe(false);
  pace.see({ event: 'save_started', step: 1, at: 2 }, 2_000);
  expect(pace.isOccupied).toBe(true);
  pace.see({ event: 'checkpoint', step: 1, path: 'checkpoints/1', at: 3 }, 3_000);
  expect(pace.isOccupied).toBe(false);
  pace.see(working(4), 4_000);
  expect(pace.isOccupied).toBe(true);
});
