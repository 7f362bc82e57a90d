/** A generation that is opened late, by an attempt that others have followed, takes nothing from them. */
import { expect, test } from 'vitest';
import {
  checkpointState,
  commitCheckpoint,
  commitEnding,
  commitFinished,
  endingOf,
  openGeneration,
  readHead,
  stopWriter,
} from '../../registry/training.ts';
import { putBlob } from '../../registry/blobs.ts';
import { memoryStore } from '../support/memory-store.ts';
import { digestOf, modelOf } from '../support/records.ts';

const stage = digestOf('5');
const trial = { run: 'late', phase: 'pretrain', round: 0, trial: 0 };

test('an attempt follows the generation before it, or the stop of that, and no later one', async () => {
  const store = memoryStore();
  const open = async (writer: string, after?: string) =>
    (await openGeneration(store, trial, { stage, writer, after })).fence;
  expect(await open('first')).toBe(1);
  expect(await open('second', 'first')).toBe(2);
  await expect(open('late', 'first')).rejects.toThrow(/fence 2 is of another generation/);
  expect(await open(stopWriter('second'), 'second')).toBe(3);
  expect(await open('third', 'second')).toBe(4);
  expect(await open('third', 'second')).toBe(4);
  await expect(open(stopWriter('second'), 'second')).rejects.toMatchObject({ name: 'Fenced' });
  // Another execution of the run knows of none before it.
  expect(await open('recovered')).toBe(5);
});

test('an attempt that has outlived its time takes no fence', async () => {
  const store = memoryStore();
  await openGeneration(store, trial, { stage, writer: 'first' });
  const isOver = () => true;
  await expect(openGeneration(store, trial, { stage, writer: 'late', isOver })).rejects.toThrow(
    'It is over',
  );
  // What it has won already it may read again.
  expect((await openGeneration(store, trial, { stage, writer: 'first', isOver })).fence).toBe(1);
});

test('what was added after one end by the budget does not take back a later one', async () => {
  const store = memoryStore();
  const file = await putBlob(store, Buffer.from('weights'));
  let at = 0;
  const now = () => new Date(Date.UTC(2026, 0, 1, 0, 0, (at += 1))).toISOString();
  const end = async (step: number) => {
    const writer = `w${step}`;
    const last = endingOf((await readHead(store, trial))?.value ?? {});
    const continued = last && { ending: last, at: now() };
    const { fence } = await openGeneration(store, trial, { stage, writer, continued });
    const files = { weights: file };
    const state = checkpointState(files);
    const manifest = { schemaVersion: 1 as const, step, fence, files, state };
    await commitCheckpoint(store, trial, { fence, writer }, manifest);
    const decision = { step, newest: step, reason: 'r', spentMs: step, limitMs: step, at: now() };
    const head = await commitEnding(store, trial, { fence, writer }, decision);
    const model = { ...modelOf(file), numSteps: step };
    await commitFinished(store, trial, { fence, writer }, model);
    return endingOf(head)!;
  };
  const first = await end(10);
  const second = await end(20);
  const opened = async (writer: string, ending: typeof first) =>
    await openGeneration(store, trial, { stage, writer, continued: { ending, at: now() } });
  const late = await opened('late', first);
  expect(late.finished).not.toBeNull();
  expect(endingOf(late)?.step).toBe(20);
  expect((await opened('more', second)).finished).toBeNull();
});
