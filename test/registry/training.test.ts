import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BlobRef } from '../../config/digest.ts';
import { putBlob } from '../../registry/blobs.ts';
import type { Store } from '../../registry/store.ts';
import {
  commitCheckpoint,
  commitFinished,
  commitLearningRate,
  commitRollback,
  openGeneration,
  putEvents,
  readCheckpoint,
  readEvents,
  readHead,
} from '../../registry/training.ts';
import { rollbacksOf } from '../../registry/rollbacks.ts';
import { checkpointOf, digestOf, modelOf } from '../support/records.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

let s3: TestS3;
let store: Store;
let file: BlobRef;
let other: BlobRef;

beforeAll(async () => {
  s3 = await startS3();
  ({ store } = s3);
  file = await putBlob(store, Buffer.from('weights'));
  other = await putBlob(store, Buffer.from('other weights'));
}, 60_000);
afterAll(async () => s3.stop());

/** Digest of the job. */
const stage = digestOf('5');
const trialOf = (run: string) => ({ run, phase: 'pretrain', round: 0, trial: 0 });
const steps = (head: { chain: { step: number }[] }) => head.chain.map((entry) => entry.step);

/** Numbers below 1, the same for the same seed (a linear congruential generator). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** The store with seeded waits around every access to a head, so that seeds make different interleavings. */
function jittered(random: () => number): Store {
  const wait = async (): Promise<void> => sleep(Math.floor(random() * 12));
  return {
    ...store,
    async get(key) {
      await wait();
      const found = await store.get(key);
      await wait();
      return found;
    },
    async replace(key, bytes, etag) {
      await wait();
      return store.replace(key, bytes, etag);
    },
  };
}

interface Try {
  fence: number;
  step: number;
  /** Highest fence that was surely open when the commit began. */
  openedBefore: number;
  outcome: 'committed' | 'fenced';
}

/** Three generations, the older ones going on after the next has opened. */
async function interleave(seed: number): Promise<void> {
  const random = seeded(seed);
  const slow = jittered(random);
  const trial = trialOf(`property-${seed}`);
  const tries: Try[] = [];
  /** Chain as it was when a generation opened. */
  const inherited = new Map<number, number[]>();
  let opened = 0;
  const writers: Promise<void>[] = [];
  const write = async (writer: { fence: number; writer: string }): Promise<void> => {
    for (let count = 1; count <= 4; count += 1) {
      await sleep(Math.floor(random() * 25));
      const step = writer.fence * 100 + count;
      const openedBefore = opened;
      const manifest = checkpointOf(step, writer.fence, file);
      const outcome = await commitCheckpoint(slow, trial, writer, manifest).then(
        () => 'committed' as const,
        (error: Error) => {
          if (error.name !== 'Fenced') throw error;
          return 'fenced' as const;
        },
      );
      tries.push({ fence: writer.fence, step, openedBefore, outcome });
    }
  };
  for (const writer of ['a', 'b', 'c']) {
    const head = await openGeneration(slow, trial, { stage, writer });
    expect(head).toMatchObject({ fence: opened + 1, writer });
    opened = head.fence;
    inherited.set(head.fence, steps(head));
    writers.push(write({ fence: head.fence, writer }));
    await sleep(Math.floor(random() * 120));
  }
  await Promise.all(writers);

  const head = (await readHead(store, trial))?.value;
  if (head === undefined) return expect.unreachable('the head is gone');
  const chain = steps(head);
  expect(chain).toEqual(
    tries
      .filter(({ outcome }) => outcome === 'committed')
      .map(({ step }) => step)
      .toSorted((a, b) => a - b),
  );
  for (const { fence, openedBefore, outcome } of tries) {
    if (openedBefore > fence) expect(outcome).toBe('fenced');
    if (fence === 3) expect(outcome).toBe('committed');
  }
  for (const [fence, before] of inherited) {
    // Nothing of an older generation arrived after a newer one had opened.
    const older = head.chain.filter((entry) => entry.fence < fence);
    expect(older.map((entry) => entry.step)).toEqual(before);
  }
}

test(
  'whatever the interleaving of stale and current writers, nothing stale is reachable',
  {
    timeout: 60_000,
  },
  async () => {
    await Promise.all(Array.from({ length: 12 }, async (_, index) => interleave(1000 + index)));
  },
);

test('of generations that are opened at once each has a fence of its own', async () => {
  const trial = trialOf('gang');
  const heads = await Promise.all(
    ['a', 'b', 'c'].map(async (id) => openGeneration(store, trial, { stage, writer: id })),
  );
  expect(heads.map(({ fence }) => fence).toSorted()).toEqual([1, 2, 3]);
});

test('a generation opened again by its writer keeps its fence, until somebody else took over', async () => {
  const trial = trialOf('again');
  expect((await openGeneration(store, trial, { stage, writer: 'a' })).fence).toBe(1);
  expect((await openGeneration(store, trial, { stage, writer: 'a' })).fence).toBe(1);
  expect((await openGeneration(store, trial, { stage, writer: 'b' })).fence).toBe(2);
  // Back again, it is a new generation: what it did under fence 1 stays fenced off.
  expect((await openGeneration(store, trial, { stage, writer: 'a' })).fence).toBe(3);
  const stale = commitCheckpoint(store, trial, { fence: 1, writer: 'a' }, checkpointOf(1, 1, file));
  await expect(stale).rejects.toMatchObject({ name: 'Fenced' });
});

test('the right fence in the hands of another writer commits nothing', async () => {
  const trial = trialOf('impostor');
  await openGeneration(store, trial, { stage, writer: 'a' });
  const impostor = { fence: 1, writer: 'b' };
  const refusal = { name: 'Fenced' };
  await expect(
    commitCheckpoint(store, trial, impostor, checkpointOf(1, 1, file)),
  ).rejects.toMatchObject(refusal);
  await expect(commitFinished(store, trial, impostor, modelOf(file))).rejects.toMatchObject(
    refusal,
  );
  expect((await readHead(store, trial))?.value).toMatchObject({ chain: [], finished: null });
});

test('nothing is committed before a generation was opened', async () => {
  const writer = { fence: 1, writer: 'a' };
  await expect(
    commitCheckpoint(store, trialOf('unopened'), writer, checkpointOf(1, 1, file)),
  ).rejects.toMatchObject({ name: 'Fenced' });
  expect(await readHead(store, trialOf('unopened'))).toBeNull();
});

test('the chain grows by step, and each entry leads to its manifest', async () => {
  const trial = trialOf('chain');
  const writer = { fence: 1, writer: 'a' };
  await openGeneration(store, trial, { stage, writer: 'a' });
  for (const step of [100, 300, 200]) {
    await commitCheckpoint(store, trial, writer, checkpointOf(step, 1, file));
  }
  const head = (await readHead(store, trial))?.value;
  expect(head?.chain.map((entry) => entry.step)).toEqual([100, 200, 300]);
  expect(await readCheckpoint(store, head!.chain[1]!)).toEqual(checkpointOf(200, 1, file));
  const copy = await store.get('runs/chain/pretrain/0/0/checkpoints/00000200-1.json');
  expect(JSON.parse(String(copy?.bytes))).toEqual(checkpointOf(200, 1, file));
});

test('a step committed again with the same bits is a success, with other bits an error naming both', async () => {
  const trial = trialOf('exact');
  await openGeneration(store, trial, { stage, writer: 'a' });
  const first = { fence: 1, writer: 'a' };
  const before = await commitCheckpoint(store, trial, first, checkpointOf(10, 1, file));
  expect(await commitCheckpoint(store, trial, first, checkpointOf(10, 1, file))).toEqual(before);

  await openGeneration(store, trial, { stage, writer: 'b' });
  const second = { fence: 2, writer: 'b' };
  const repeated = await commitCheckpoint(store, trial, second, checkpointOf(10, 2, file));
  expect(repeated.chain).toEqual(before.chain);
  const different = checkpointOf(10, 2, other);
  const commit = commitCheckpoint(store, trial, second, different);
  await expect(commit).rejects.toMatchObject({
    name: 'CheckpointMismatch',
    message: expect.stringMatching(
      new RegExp(`${checkpointOf(10, 1, file).state}.*${different.state}.*model.safetensors`),
    ),
  });
  expect((await readHead(store, trial))?.value.chain).toEqual(before.chain);
});

test('a checkpoint whose files are not in the store, or do not fit its state, is refused', async () => {
  const trial = trialOf('whole');
  const writer = { fence: 1, writer: 'a' };
  await openGeneration(store, trial, { stage, writer: 'a' });
  const absent = checkpointOf(10, 1, { sha256: digestOf('a'), bytes: 7 });
  await expect(commitCheckpoint(store, trial, writer, absent)).rejects.toMatchObject({
    name: 'ArtifactMismatch',
    message: expect.stringContaining('is not in the store'),
  });
  const false_ = { ...checkpointOf(10, 1, file), state: digestOf('0') };
  await expect(commitCheckpoint(store, trial, writer, false_)).rejects.toMatchObject({
    name: 'ArtifactMismatch',
  });
  expect((await readHead(store, trial))?.value.chain).toEqual([]);
});

test('a phase finishes once, with one model', async () => {
  const trial = trialOf('finished');
  const writer = { fence: 1, writer: 'a' };
  await openGeneration(store, trial, { stage, writer: 'a' });
  const head = await commitFinished(store, trial, writer, modelOf(file));
  expect(head.finished).not.toBeNull();
  expect(await commitFinished(store, trial, writer, modelOf(file))).toEqual(head);
  await expect(commitFinished(store, trial, writer, modelOf(file, 3.4))).rejects.toMatchObject({
    name: 'CheckpointMismatch',
  });
  await expect(commitCheckpoint(store, trial, writer, checkpointOf(10, 1, file))).rejects.toThrow(
    'found a finished phase',
  );
});

test('events come back in the order of generations and pieces, each piece once', async () => {
  const trial = trialOf('events');
  await putEvents(store, trial, 1, 0, [{ step: 1 }]);
  await putEvents(store, trial, 1, 1, [{ step: 2 }, { step: 3 }]);
  await putEvents(store, trial, 1, 1, [{ step: 2 }, { step: 3 }]);
  await putEvents(store, trial, 2, 0, [{ step: 4 }]);
  expect(await readEvents(store, trial)).toEqual([
    { step: 1 },
    { step: 2 },
    { step: 3 },
    { step: 4 },
  ]);
});

test('a name under which another job was trained is refused, and what it made stays as it was', async () => {
  const trial = trialOf('taken');
  const before = await openGeneration(store, trial, { stage, writer: 'a' });
  const other = openGeneration(store, trial, { stage: digestOf('6'), writer: 'b' });
  await expect(other).rejects.toMatchObject({
    name: 'NameTaken',
    message: expect.stringMatching(/another job.*under another name/),
  });
  expect((await readHead(store, trial))?.value).toEqual(before);
});

test('an event that two generations stored comes back once', async () => {
  const trial = trialOf('adopted');
  const step = (number: number, at: number) => ({ event: 'step', step: number, at });
  await putEvents(store, trial, 1, 0, [step(1, 1), step(2, 2)]);
  await putEvents(store, trial, 2, 0, [step(1, 1), step(2, 2), step(3, 3)]);
  const checkpoint = { event: 'checkpoint', step: 2, at: 9 };
  await putEvents(store, trial, 3, 0, [step(2, 8), checkpoint]);
  const events = await readEvents(store, trial);
  expect(events).toEqual([step(1, 1), step(2, 2), step(3, 3), checkpoint]);
});

const asked = { by: 'ann', why: null, at: new Date(0).toISOString() };

test('a checkpoint and a model count only when they were computed at the rates that were decided', async () => {
  const trial = trialOf('rates');
  const writer = { fence: 1, writer: 'a' };
  await openGeneration(store, trial, { stage, writer: 'a' });
  await commitLearningRate(store, trial, writer, { order: 1, step: 10, scale: 0.5, ...asked });
  const halved = [{ step: 10, scale: 0.5 }];
  const commit = (step: number, used?: typeof halved) =>
    commitCheckpoint(store, trial, writer, checkpointOf(step, 1, file), {
      ...(used && { learningRates: used }),
    });
  // The rate of the step that follows is no part of it.
  await commit(10);
  const refusal = { name: 'RatesDiffer' };
  await expect(commit(11)).rejects.toMatchObject({
    name: 'RatesDiffer',
    message:
      'step 11 is discarded: it was computed with the planned rate throughout, decided was ×0.5 from step 10 on',
  });
  await expect(commit(11, [{ step: 9, scale: 0.5 }])).rejects.toMatchObject(refusal);
  await expect(commit(11, [{ step: 10, scale: 0.25 }])).rejects.toMatchObject(refusal);
  const finished = { ...modelOf(file), numSteps: 20 };
  await expect(commitFinished(store, trial, writer, finished)).rejects.toMatchObject(refusal);
  const before = (await readHead(store, trial))!.value;
  expect(before).toMatchObject({ chain: [{ step: 10 }], finished: null });

  // What changed nothing is no difference.
  await commit(11, [{ step: 0, scale: 1 }, ...halved, { step: 10.5, scale: 0.5 }]);
  const head = await commitFinished(store, trial, writer, finished, { learningRates: halved });
  expect(head.chain).toHaveLength(2);
  expect(head.finished).not.toBeNull();
});

const fault = { kind: 'spike', first: 26, step: 29, found: 7, bound: 4 } as const;
const decided = { step: 20, skippedTo: 29, scale: 0.5, fault, at: asked.at };

test('after a return to an earlier step only what was computed by it counts', async () => {
  const trial = trialOf('returned');
  const first = { fence: 1, writer: 'a' };
  await openGeneration(store, trial, { stage, writer: 'a' });
  for (const step of [10, 20, 27]) {
    await commitCheckpoint(store, trial, first, checkpointOf(step, 1, file));
  }
  const step = (number: number, at: number) => ({ event: 'step', step: number, at });
  await putEvents(store, trial, 1, 0, [step(20, 1), step(21, 2), { event: 'eval', step: 28 }]);
  const head = await commitRollback(store, trial, first, decided);
  expect(steps(head)).toEqual([10, 20]);
  expect(head.rollbacks).toEqual([{ ...decided, fence: 1 }]);
  // Said again, as after a lost reply, it is what it was.
  const again = await commitRollback(store, trial, first, { ...decided, step: 10 });
  expect(again).toEqual(head);

  const second = { fence: 2, writer: 'b' };
  expect((await openGeneration(store, trial, { stage, writer: 'b' })).rollbacks).toHaveLength(1);
  await expect(commitRollback(store, trial, first, decided)).rejects.toMatchObject({
    name: 'Fenced',
  });
  await putEvents(store, trial, 2, 0, [step(21, 5)]);
  expect(await readEvents(store, trial)).toEqual([step(20, 1), step(21, 5)]);

  // The step itself lies before the jump.
  await commitCheckpoint(store, trial, second, checkpointOf(20, 2, file));
  const commit = (rollbacks: { step: number; skippedTo: number; scale: number }[]) =>
    commitCheckpoint(store, trial, second, checkpointOf(30, 2, other), { rollbacks });
  await expect(commit([])).rejects.toMatchObject({
    name: 'RatesDiffer',
    message:
      'step 30 is discarded: it was computed with no return to an earlier step, decided was batch 29 after step 20',
  });
  await expect(commit([{ step: 20, skippedTo: 28, scale: 0.5 }])).rejects.toThrow('batch 28');
  await expect(commit([{ step: 20, skippedTo: 29, scale: 0.25 }])).rejects.toThrow('step 30');
  const obeyed = [{ step: 20, skippedTo: 29, scale: 0.5 }];
  expect(steps(await commit(obeyed))).toEqual([10, 20, 30]);
  const finished = { ...modelOf(file), numSteps: 40 };
  await expect(commitFinished(store, trial, second, finished)).rejects.toThrow('step 40');
  const end = await commitFinished(store, trial, second, finished, { rollbacks: obeyed });
  expect(end.finished).not.toBeNull();
});

test('a return to before an earlier one undoes that', () => {
  const at = (step: number, skippedTo: number) => ({ ...decided, step, skippedTo, fence: 1 });
  const last = { step: 10, skippedTo: 50, scale: 0.5 };
  expect(rollbacksOf([at(20, 29), at(30, 45), at(10, 50)])).toEqual([last]);
  expect(rollbacksOf([at(10, 19), at(10, 50)])).toEqual([last]);
  expect(rollbacksOf([at(10, 50), at(20, 61)])).toHaveLength(2);
});

test('a change of the rate is refused at a step that a checkpoint has passed', async () => {
  const trial = trialOf('passed');
  const writer = { fence: 1, writer: 'a' };
  await openGeneration(store, trial, { stage, writer: 'a' });
  await commitCheckpoint(store, trial, writer, checkpointOf(20, 1, file));
  const change = (order: number, step: number, execution?: string) =>
    commitLearningRate(store, trial, writer, {
      order,
      ...(execution && { execution }),
      step,
      scale: 0.5,
      ...asked,
    });
  await expect(change(1, 19)).rejects.toThrow(/change of the rate at step 19.*none before step 20/);
  expect((await readHead(store, trial))!.value.learningRates).toEqual([]);
  await change(1, 20);
  // Said again, as after a lost reply, it is what it was.
  expect((await change(1, 25)).learningRates).toMatchObject([{ order: 1, step: 20 }]);
  expect((await change(1, 25, 'another')).learningRates).toMatchObject([
    { order: 1, step: 20 },
    { order: 1, step: 25, execution: 'another' },
  ]);
});
