import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Ahead, inParallel } from '../../activities/preprocess-parallel.ts';

test('work begun ahead never exceeds its bound, and its results come in the order of beginning', async () => {
  const ahead = new Ahead<number>(3);
  let running = 0;
  let most = 0;
  for (let index = 0; index < 12; index += 1) {
    await ahead.begin(async () => {
      most = Math.max(most, (running += 1));
      await sleep((12 - index) % 5);
      running -= 1;
      return index;
    });
  }
  expect(await ahead.results()).toEqual(Array.from({ length: 12 }, (_, index) => index));
  expect(most).toBe(3);
});

test('a failure is told to whoever begins more or asks for the results, and the rest comes to its end', async () => {
  const ahead = new Ahead<string>(2);
  let ended = false;
  await ahead.begin(async () => {
    await sleep(1);
    throw new Error('the store is away');
  });
  await ahead.begin(async () => {
    await sleep(20);
    ended = true;
    return 'whole';
  });
  await expect(ahead.begin(async () => 'more')).rejects.toThrow('the store is away');
  await expect(ahead.results()).rejects.toThrow('the store is away');
  await ahead.settled();
  expect(ended).toBe(true);
});

test('after a failure nothing more of a list is begun', async () => {
  const begun: number[] = [];
  const work = async (item: number): Promise<void> => {
    begun.push(item);
    await sleep(item === 1 ? 1 : 10);
    if (item === 1) throw new Error('the store is away');
  };
  await expect(inParallel([...Array(20).keys()], work, 3)).rejects.toThrow('the store is away');
  await sleep(30);
  expect(begun).toEqual([0, 1, 2]);
});
