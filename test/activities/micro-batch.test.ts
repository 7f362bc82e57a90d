import { expect, test } from 'vitest';
import { halvedMicroBatch } from '../../activities/micro-batch.ts';
import { loadOf } from '../../config/measurements.ts';
import { recipe } from '../support/recipes.ts';

const decided = (size: number) => ({ step: 0, size, fence: 1, reason: '', at: '' });

test('what is halved are the rows that the trainer had, where chats share them', () => {
  const batch = { batchSize: 16, worldSize: 1 };
  expect(halvedMicroBatch(batch, [])).toBe(8);
  expect(halvedMicroBatch(batch, [], 2)).toBe(1);
  expect(halvedMicroBatch(batch, [decided(8)], 3)).toBe(1);
  expect(halvedMicroBatch(batch, [decided(4)], 16)).toBe(2);
  expect(halvedMicroBatch(batch, [decided(8)], 1)).toBeNull();
});

test('a phase that packs has a load of its own, and one that does not keeps its key', () => {
  const { sft } = recipe;
  const alone = loadOf(sft!, recipe.model);
  expect(alone).not.toHaveProperty('packing');
  const packed = loadOf({ ...sft!, packing: true }, recipe.model);
  expect(packed).toEqual({ ...alone, packing: true });
});
