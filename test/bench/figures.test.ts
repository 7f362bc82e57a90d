/** The benchmarks' arithmetic: what it counts, and what it refuses to count. */
import { describe, expect, test } from 'vitest';
import { account, trainerTimes, type ActivityRecord } from '../../bench/support/accounting.ts';
import {
  holds,
  median,
  medianRatio,
  quantile,
  rounded,
  tokensPerSecond,
} from '../../bench/support/figures.ts';
import { activityRecords, largestPayload } from '../../bench/support/histories.ts';
import { clip, lengthOf, subtract, union } from '../../bench/support/intervals.ts';
import type { TrainerEvent } from '../../config/trainer.ts';

const span = (from: number, to: number) => ({ from, to });

describe('intervals', () => {
  test('what overlaps, touches or lies within another becomes one interval', () => {
    const found = union([span(5, 9), span(0, 3), span(3, 4), span(6, 7), span(8, 10)]);
    expect(found).toEqual([span(0, 4), span(5, 10)]);
  });

  test('an empty or reversed interval covers nothing', () => {
    expect(union([span(2, 2), span(4, 1)])).toEqual([]);
    expect(lengthOf([span(4, 1)])).toBe(0);
  });

  test('overlapping time counts once', () => {
    expect(lengthOf([span(0, 10), span(5, 15), span(20, 21)])).toBe(16);
  });

  test('a clipped interval keeps only what lies inside', () => {
    const clipped = clip([span(0, 10), span(12, 30), span(40, 50)], span(5, 20));
    expect(clipped).toEqual([span(5, 10), span(12, 20)]);
  });

  test('subtraction cuts holes, ends and whole intervals', () => {
    const left = subtract([span(0, 10), span(20, 30), span(40, 45)], [span(3, 5), span(25, 50)]);
    expect(left).toEqual([span(0, 3), span(5, 10), span(20, 25)]);
  });

  test('inputs stay as they were', () => {
    const given = [span(0, 5), span(3, 8)];
    union(given);
    expect(given).toEqual([span(0, 5), span(3, 8)]);
  });
});

describe('figures', () => {
  test('a median of an even number is the mean of the middle two', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(() => median([])).toThrow('no values');
  });

  test('the ratio is taken in each pair, then the median of ratios', () => {
    // Medians of each side would give 100 / 100.
    const pairs = [
      { ours: 100, theirs: 50 },
      { ours: 10, theirs: 100 },
      { ours: 120, theirs: 100 },
    ];
    expect(medianRatio(pairs)).toBe(1.2);
  });

  test('a quantile is a value that was seen', () => {
    const values = Array.from({ length: 100 }, (_, index) => index + 1);
    expect(quantile(values, 0.95)).toBe(95);
    expect(quantile([7], 0.5)).toBe(7);
  });

  test('a bound holds at its limit, and never for what was not measured', () => {
    expect(holds({ name: 'a', value: 5, max: 5 })).toBe(true);
    expect(holds({ name: 'a', value: 5.0001, max: 5 })).toBe(false);
    expect(holds({ name: 'a', value: 5, min: 5.1 })).toBe(false);
    expect(holds({ name: 'a', value: null, max: 5 })).toBe(false);
    expect(holds({ name: 'a', value: NaN, min: 0 })).toBe(false);
  });

  test('numbers are rounded wherever they stand, text is not', () => {
    expect(rounded({ a: [1.234567], b: 'x1.234567', c: null }, 2)).toEqual({
      a: [1.23],
      b: 'x1.234567',
      c: null,
    });
  });
});

const start = (at: number): TrainerEvent => ({ event: 'start', step: 0, resumedFrom: null, at });
const step = (number: number, at: number): TrainerEvent => ({
  event: 'step',
  step: number,
  loss: 1,
  lr: 1,
  grad_norm: 1,
  tokens_per_second: 0,
  num_tokens: number * 100,
  at,
});
const end = (at: number): TrainerEvent => ({ event: 'end', step: 0, at });

describe('tokens a second', () => {
  test('the first steps are left out, and a pause for a save is counted', () => {
    // Ten slow steps of 5 s, then ten of 1 s, one of which waits 10 s for a save.
    const slow = Array.from({ length: 10 }, (_, index) => step(index + 1, 5 * (index + 1)));
    const fast = Array.from({ length: 10 }, (_, index) =>
      step(index + 11, 51 + index + (index >= 5 ? 10 : 0)),
    );
    expect(tokensPerSecond([start(0), ...slow, ...fast], 10)).toBe(1000 / 20);
  });

  test('events of a trainer that was lost on the way are refused', () => {
    expect(() => tokensPerSecond([start(0), step(1, 1), start(2), step(2, 3)], 1)).toThrow(
      'found 2 starts, expected one',
    );
  });

  test('too few steps are refused', () => {
    expect(() => tokensPerSecond([start(0), step(1, 1)], 10)).toThrow('Train for longer');
  });
});

const activity = (name: string, from: number, to: number): ActivityRecord => ({
  workflowId: 'w',
  name,
  from,
  to,
});

describe('the account of a run', () => {
  test('a trainer starts when it is launched and works from its start event to its last event', () => {
    const activities = [activity('prepareTrainer', 1000, 3000)];
    const { work, starting } = trainerTimes({
      activities,
      events: [start(8), step(1, 9), end(20)],
    });
    expect(starting).toEqual([span(3000, 8000)]);
    expect(work).toEqual([span(8000, 20_000)]);
  });

  test('a trainer that was lost and launched again works and starts twice', () => {
    const activities = [
      activity('prepareTrainer', 0, 1000),
      activity('prepareTrainer', 9000, 10_000),
    ];
    const { work, starting } = trainerTimes({
      activities,
      events: [start(3), step(1, 8), start(12), end(20)],
    });
    expect(starting).toEqual([span(1000, 3000), span(10_000, 12_000)]);
    expect(work).toEqual([span(3000, 8000), span(12_000, 20_000)]);
  });

  test('work, starting and overhead make up the whole, and the overhead says where it was', () => {
    const training = [
      activity('findTrainedModel', 1000, 1500),
      activity('prepareTrainer', 2000, 3000),
      activity('watchTrainer', 3000, 11_000),
    ];
    const found = account(
      span(0, 20_000),
      [...training, activity('cleanShards', 500, 1000), activity('exportOnnx', 12_000, 19_000)],
      [{ activities: training, events: [start(5), end(10)] }],
    );
    expect(found.totalMs).toBe(20_000);
    expect(found.workMs).toBe(500 + 5000 + 7000);
    expect(found.startingMs).toBe(2000);
    expect(found.overheadMs).toBe(5500);
    expect(found.workMs + found.startingMs + found.overheadMs).toBe(found.totalMs);
    expect(found.overheadShare).toBe(0.275);
    expect(found.overhead).toEqual([
      { what: 'between activities', ms: 3000 },
      { what: 'prepareTrainer', ms: 1000 },
      { what: 'watchTrainer', ms: 1000 },
      { what: 'findTrainedModel', ms: 500 },
    ]);
  });

  test('activities side by side count once, and those outside the run not at all', () => {
    const shards = [activity('cleanShards', 0, 600), activity('cleanShards', 300, 800)];
    const later = activity('awaitConvergence', 5000, 6000);
    const found = account(span(0, 1000), [...shards, later], []);
    expect(found.workMs).toBe(800);
    expect(found.overheadShare).toBe(0.2);
  });
});

describe('histories', () => {
  const at = (seconds: number) => ({ seconds, nanos: 500_000_000 });
  const events = [
    {
      eventId: 5,
      eventTime: at(1),
      activityTaskScheduledEventAttributes: {
        activityType: { name: 'exportOnnx' },
        input: {
          payloads: [{ metadata: { encoding: new Uint8Array(9) }, data: new Uint8Array(70) }],
        },
      },
    },
    {
      eventId: 6,
      eventTime: at(4),
      activityTaskStartedEventAttributes: { scheduledEventId: 5 },
    },
    {
      eventId: 7,
      eventTime: at(9),
      activityTaskCompletedEventAttributes: {
        scheduledEventId: 5,
        result: { payloads: [{ metadata: {}, data: new Uint8Array(30) }] },
      },
    },
    {
      eventId: 8,
      eventTime: at(9),
      activityTaskScheduledEventAttributes: { activityType: { name: 'evaluateModel' } },
    },
  ] as unknown as Parameters<typeof activityRecords>[1];

  test('an activity counts from its start, not from when it was scheduled; one that has not ended does not count', () => {
    expect(activityRecords('pipeline/a', events)).toEqual([
      { workflowId: 'pipeline/a', name: 'exportOnnx', from: 4500, to: 9500 },
    ]);
  });

  test('the largest payload is found wherever it lies; metadata are none', () => {
    expect(largestPayload(events)).toBe(70);
  });
});
