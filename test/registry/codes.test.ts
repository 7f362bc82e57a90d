/** By which code a training is computed is decided in its head, as it goes from host to host. */
import { expect, test } from 'vitest';
import type { Head } from '../../config/manifests.ts';
import { commitCode } from '../../registry/codes.ts';
import {
  checkpointState,
  commitCheckpoint,
  commitEnding,
  openGeneration,
  readHead,
} from '../../registry/training.ts';
import { memoryStore } from '../support/memory-store.ts';
import { digestOf } from '../support/records.ts';

const [planned, other, third] = ['a', 'b', 'c'].map(digestOf) as [string, string, string];

/** A trial with checkpoints at these steps, and a way to go on from one by some code. */
async function trained(...steps: number[]) {
  const store = memoryStore();
  const trial = { run: 'coded', phase: 'pretrain', round: 0, trial: 0 };
  const open = async () => {
    const writer = `w${Math.random()}`;
    return { ...(await openGeneration(store, trial, { stage: digestOf('5'), writer })), writer };
  };
  const save = async (...more: number[]) => {
    const { fence, writer } = (await readHead(store, trial))!.value;
    for (const step of more) {
      const manifest = { schemaVersion: 1 as const, step, fence, files: {} };
      const state = checkpointState({});
      await commitCheckpoint(store, trial, { fence, writer }, { ...manifest, state });
    }
  };
  const by = async (code: string, step: number) => {
    const { fence, writer } = await open();
    const decision = { step, code, isPlanned: code === planned };
    const { head, isOther } = await commitCode(store, trial, { fence, writer }, decision);
    return { ...told(head), isOther };
  };
  await open();
  await save(...steps);
  return { store, trial, open, save, by };
}
const told = ({ codes, chain }: Head) => ({ codes, steps: chain.map(({ step }) => step) });

test('the code that a training began with needs no word', async () => {
  const { by } = await trained(10, 20);
  expect(await by(planned, 20)).toEqual({ codes: undefined, steps: [10, 20], isOther: false });
});

test('other code is noted with the step, once, and so is the way back', async () => {
  const { by, save } = await trained(10, 20);
  const first = [{ step: 20, code: other }];
  expect(await by(other, 20)).toEqual({ codes: first, steps: [10, 20], isOther: true });
  await save(30);
  expect(await by(other, 30)).toEqual({ codes: first, steps: [10, 20, 30], isOther: false });
  const back = [...first, { step: 30, code: planned }];
  expect(await by(planned, 30)).toEqual({ codes: back, steps: [10, 20, 30], isOther: true });
  const more = [...back.slice(0, 1), { step: 30, code: third }];
  expect(await by(third, 30)).toMatchObject({ codes: more, isOther: true });
});

test('what other code computed after a step that is gone on from counts no more', async () => {
  const { by, save } = await trained(10, 20);
  await by(other, 20);
  await save(30);
  expect(await by(planned, 20)).toEqual({ codes: undefined, steps: [10, 20], isOther: true });
});

test('code that only makes the model of where the budget ended the training is not noted', async () => {
  const { by, open, store, trial } = await trained(10, 20);
  const { fence, writer } = await open();
  const ending = {
    step: 10,
    newest: 20,
    reason: 'r',
    spentMs: 1,
    limitMs: 1,
    at: '2026-01-01T00:00:00Z',
  };
  await commitEnding(store, trial, { fence, writer }, ending);
  expect(await by(other, 10)).toEqual({ codes: undefined, steps: [10, 20], isOther: false });
});
