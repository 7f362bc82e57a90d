/** Attempts that were stopped, and are woken when others have taken their place: what they do harms nobody. */
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterEach, expect, test } from 'vitest';
import { createTrainActivities } from '../../activities/train.ts';
import { findTrainer } from '../../activities/trainer-process.ts';
import { recordModel } from '../../activities/trained-model.ts';
import type { TrainerStop } from '../../activities/trainer-stop.ts';
import { FailureType } from '../../config/failures.ts';
import { modelManifestSchema } from '../../config/manifests.ts';
import { blobKey } from '../../registry/blobs.ts';
import { readCost } from '../../registry/costs.ts';
import { readLeases } from '../../registry/leases.ts';
import { reportHost } from '../../registry/hosts.ts';
import { findStage } from '../../registry/stages.ts';
import { openGeneration } from '../../registry/training.ts';
import { modelOf } from '../support/records.ts';
import { until } from '../support/scripted-host.ts';
import {
  fileStore,
  headOf,
  scriptedHost,
  type ScriptedHost,
} from '../support/scripted-training.ts';

let host: ScriptedHost;
afterEach(async () => {
  await host.close();
});

const stop = async (given: Omit<TrainerStop, 'keepLog'>) => {
  const env = new MockActivityEnvironment({ startToCloseTimeoutMs: 120_000 });
  await env.run(host.activities.stopTrainer, { ...given, keepLog: false });
};

test('a preparation that was overtaken while it fetched its checkpoint removes nothing of the newer trainer', async () => {
  const store = fileStore();
  host = await scriptedHost(store, { run: 'overtaken' });
  await host.script({ dieAt: 15, stepMs: 10 });
  const first = await host.open();
  await expect(host.watch(first, await host.prepare(first))).rejects.toThrow('died');
  const { chain } = await headOf(store, 'overtaken');
  const { sha256 } = chain.at(-1)!.manifest;
  // Its manifest is long in coming.
  const comes = Promise.withResolvers<void>();
  let asked = false;
  const slow = createTrainActivities({
    ...host.deps,
    store: {
      ...store,
      async get(key) {
        if (key === blobKey(sha256)) {
          asked = true;
          await comes.promise;
        }
        return await store.get(key);
      },
    },
  });
  const stale = await host.open();
  const overtaken = new MockActivityEnvironment().run(slow.prepareTrainer, stale);
  overtaken.catch(() => undefined);
  await until(() => asked);
  await host.open();
  // As the newer generation's trainer on this host leaves them.
  const newer = path.join(host.runDir, 'checkpoints', '20');
  await mkdir(newer);
  await writeFile(path.join(host.runDir, 'events.jsonl'), 'newer');
  comes.resolve();
  await expect(overtaken).rejects.toMatchObject({ type: FailureType.Fenced });
  expect([existsSync(newer), existsSync(path.join(host.runDir, 'events.jsonl'))]).toEqual([
    true,
    true,
  ]);
});

test('who records a model late leaves the trainer of a newer generation alone', async () => {
  const store = fileStore();
  host = await scriptedHost(store, { run: 'late-record' });
  await host.script({ stepMs: 60 });
  const stale = await host.open();
  const current = await host.open();
  await host.prepare(current);
  const head = await headOf(store, 'late-record');
  const manifest = modelOf({ sha256: 'a'.repeat(64), bytes: 1 });
  await recordModel(host.deps, stale, manifest, head);
  expect(await findTrainer(host.runDir)).toHaveLength(1);
  await recordModel(host.deps, current, manifest, head);
  expect(await findTrainer(host.runDir)).toEqual([]);
  expect(existsSync(host.runDir)).toBe(false);
});

test('a stop ends the generation that it was meant for, once for all hosts and attempts, and no other', async () => {
  const store = fileStore();
  host = await scriptedHost(store, { run: 'late-stop' });
  await host.script({ stepMs: 60 });
  const first = await host.open();
  await host.prepare(first);
  const { stage } = first;
  const { trial } = first.job;
  await stop({ trial, stage, after: first.writer });
  const { fence } = await headOf(store, 'late-stop');
  expect(fence).toBe(first.fence + 1);
  await stop({ trial, stage, after: first.writer });
  expect((await headOf(store, 'late-stop')).fence).toBe(fence);
  const second = await host.open();
  await host.prepare(second);
  await stop({ trial, stage, after: first.writer });
  expect((await headOf(store, 'late-stop')).fence).toBe(second.fence);
  expect(await findTrainer(host.runDir)).toHaveLength(1);
});

test('a stop ends the trainer where the next generation was opened, though nobody heard of it', async () => {
  const store = fileStore();
  host = await scriptedHost(store, { run: 'unheard' });
  await host.script({ stepMs: 400 });
  const first = await host.open();
  await host.prepare(first);
  const { stage, writer } = first;
  const { trial } = first.job;
  await host.activities.openTrainingGeneration({ trial, stage, writer: 'asked', after: writer });
  await stop({ trial, stage, after: [writer, 'asked'] });
  expect(await findTrainer(host.runDir)).toEqual([]);
  const { fence } = await headOf(store, 'unheard');
  await stop({ trial, stage, after: [writer, 'asked'] });
  expect((await headOf(store, 'unheard')).fence).toBe(fence);
});

test('a stop of a job whose name another has taken touches nothing of that', async () => {
  const store = fileStore();
  host = await scriptedHost(store, { run: 'replaced' });
  await host.script({ stepMs: 60 });
  const mine = await host.open();
  const { trial } = mine.job;
  const other = 'f'.repeat(64);
  await openGeneration(store, trial, { stage: other, writer: 'other', replaces: true });
  await mkdir(path.join(host.runDir, 'checkpoints'), { recursive: true });
  await stop({ trial, stage: mine.stage });
  expect((await headOf(store, 'replaced')).writer).toBe('other');
  expect(existsSync(host.runDir)).toBe(true);
});

test('a host is given back by who held it then, not by who has the same name since', async () => {
  const store = fileStore();
  let at = Date.parse('2026-01-01T00:00:00Z');
  host = await scriptedHost(store, { run: 'released', now: () => new Date(at) });
  const { trial } = (await host.open()).job;
  const lease = { holder: 'training/x', trial };
  const take = async () =>
    await host.activities.leaseHost({ ...lease, host: null, unwatchedExitS: 600 });
  const end = async () => (await readLeases(store, 'local')).hosts['one']!.expiresAt;
  await take();
  at += 300_000;
  const askedAt = at;
  await host.activities.releaseHost({ ...lease, host: 'one', askedAt });
  expect(Date.parse(await end())).toBe(0);
  at += 60_000;
  await take();
  const before = await end();
  await host.activities.releaseHost({ ...lease, host: 'one', askedAt });
  expect(await end()).toBe(before);
  const { leases } = await readCost(store, 'released');
  expect(leases.map(({ until: ends }) => Date.parse(ends) > at)).toEqual([false, true]);
});

test('a training without a checkpoint waits for the planned instruction set while a host has it; one that has any goes on', async () => {
  const store = fileStore();
  host = await scriptedHost(store, { run: 'kinds' });
  await host.script({ dieAt: 15, stepMs: 10 });
  const first = await host.open();
  const { trial } = first.job;
  const ask = { host: null, holder: 'training/x', unwatchedExitS: 600, trial };
  const { leaseHost } = host.activities;
  const amx = { ...ask, instructionSet: 'amx' as const };
  const busy = { lacks: 'the instruction set amx' };
  expect(await leaseHost({ ...amx, waitedS: 60 })).toMatchObject({ busy });
  expect((await readLeases(store, 'local')).hosts).toEqual({});
  expect(await leaseHost({ ...ask, instructionSet: 'avx2' })).toMatchObject({ busy: null });
  const report = { schemaVersion: 1 as const, host: 'two', instructionSet: 'amx' as const };
  await reportHost(store, 'local', { ...report, at: new Date().toISOString() });
  expect(await leaseHost({ ...amx, waitedS: 600 })).toMatchObject({ busy });
  await reportHost(store, 'local', { ...report, at: new Date(0).toISOString() });
  expect(await leaseHost({ ...amx, waitedS: 600 })).toMatchObject({ busy: null });
  // Its trainer may live there.
  expect(await leaseHost({ ...amx, host: 'one' })).toMatchObject({ busy: null });
  await expect(host.watch(first, await host.prepare(first))).rejects.toThrow('died');
  expect(await leaseHost(amx)).toMatchObject({ busy: null });
});

test('a training that goes on with another instruction set than was planned says so, and is not exact', async () => {
  const store = fileStore();
  const planned = await scriptedHost(store, { run: 'other-set' });
  host = await scriptedHost(store, {
    run: 'other-set',
    host: 'two',
    findInstructionSet: async () => 'avx512',
  });
  try {
    await planned.script({ dieAt: 15, stepMs: 10 });
    const first = await planned.open();
    await expect(planned.watch(first, await planned.prepare(first))).rejects.toThrow('died');
    const generation = await host.open();
    expect(generation.stage).toBe(first.stage);
    const start = await host.prepare(generation);
    expect(start.note).toMatch(
      /; from step 10 on the code that it began with trains on host two with the instruction set avx512, so that it is not exact$/,
    );
    const model = await host.watch(generation, start);
    expect(model.codes).toMatchObject([{ step: 10, instructionSet: 'avx512' }]);
    const kept = await findStage(store, 'pretrain', model.stage, modelManifestSchema);
    expect(kept).toMatchObject({ exact: false });
  } finally {
    await planned.close();
  }
});
