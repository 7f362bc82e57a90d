/** What is left of trainings in a host's home goes when nobody goes on with it there, and not before. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { sweepRunFolders } from '../../activities/stale-runs.ts';
import { putBlob } from '../../registry/blobs.ts';
import { acquireHost } from '../../registry/leases.ts';
import { commitFinished, openGeneration } from '../../registry/training.ts';
import { memoryStore, type MemoryStore } from '../support/memory-store.ts';
import { digestOf, modelOf } from '../support/records.ts';
import { scriptedDeps, scriptTrainer, until } from '../support/scripted-host.ts';
import { fileStore, scriptedHost } from '../support/scripted-training.ts';

const now = new Date('2026-06-01T00:00:00Z');
const minute = 60_000;
const day = 1440 * minute;
let home: string;
let store: MemoryStore;
beforeEach(async () => {
  home = await mkdtemp(path.join(os.tmpdir(), 'temper-stale-'));
  store = memoryStore();
});
afterEach(async () => {
  await rm(home, { recursive: true, force: true });
});

const warned: string[] = [];
const warn = (_details: object, message: string) => void warned.push(message);
const sweep = async () =>
  await sweepRunFolders(scriptedDeps({ store, home, host: 'here', now: () => now }), warn);

/** A folder that was watched last so long ago, of a training with a head. */
async function left(run: string, agoMs: number, finished = false): Promise<string> {
  const trial = { run, phase: 'pretrain', round: 0, trial: 0 };
  const stage = digestOf('5');
  const { fence } = await openGeneration(store, trial, { stage, writer: 'w' });
  if (finished) {
    const model = modelOf(await putBlob(store, Buffer.from('weights')));
    await commitFinished(store, trial, { fence, writer: 'w' }, model);
  }
  return await folder(run, 'pretrain-0-0', agoMs);
}

async function folder(run: string, name: string, agoMs: number): Promise<string> {
  const runDir = path.join(home, 'runs', run, name);
  await mkdir(path.join(runDir, 'checkpoints', '10'), { recursive: true });
  for (const file of ['control.json', 'trainer.log'])
    await writeFile(path.join(runDir, file), '{}');
  const at = new Date(now.getTime() - agoMs);
  await utimes(path.join(runDir, 'control.json'), at, at);
  return runDir;
}

const lease = async (host: string, run: string) =>
  await acquireHost(store, 'local', host, {
    holder: `training/${run}/pretrain/0`,
    now,
    ttlMs: minute,
  });

test('a training that finished, or that another host has leased, leaves nothing here', async () => {
  const finished = await left('finished', 12 * minute, true);
  const elsewhere = await left('elsewhere', 12 * minute);
  await lease('there', 'elsewhere');
  const calibration = await folder('any', 'calibration-12345678-3-1', 12 * minute);
  await sweep();
  expect([finished, elsewhere, calibration].map(existsSync)).toEqual([false, false, false]);
});

test('what may be gone on with here stays: watched within the lease, leased to this host, or nobody’s', async () => {
  const kept = [
    await left('watched', 10 * minute, true),
    await left('gang', 12 * minute),
    await left('waits', 12 * minute),
    await folder('unknown', 'pretrain-0-0', 12 * minute),
    await folder('foreign', 'notes', 30 * day),
  ];
  await lease('here', 'gang');
  await lease('there', 'gang');
  await lease('there', 'another');
  await sweep();
  expect(kept.map(existsSync)).toEqual(kept.map(() => true));
});

test('of a run that nobody has gone on with for a week, what explains it stays', async () => {
  const runDir = await left('terminated', 8 * day);
  await sweep();
  expect(await readdir(runDir)).toEqual(['trainer.log']);
});

test('a head that cannot be read is told, and keeps no other folder from being looked at', async () => {
  const broken = await left('broken', 12 * minute, true);
  store.objects.set('runs/broken/pretrain/0/0/head.json', Buffer.from('{}'));
  const finished = await left('finished', 12 * minute, true);
  warned.length = 0;
  await sweep();
  expect([broken, finished].map(existsSync)).toEqual([true, false]);
  expect(warned).toEqual([`${broken} is left as it is`]);
});

test('a trainer that lives keeps its folder', async () => {
  const files = fileStore();
  const host = await scriptedHost(files, { run: 'lives', host: 'here' });
  try {
    await scriptTrainer(host.deps.home, { stepMs: 60 });
    const generation = await host.open();
    await host.prepare(generation);
    await until(() => existsSync(path.join(host.runDir, 'events.jsonl')));
    const later = new Date(Date.now() + 8 * day);
    await sweepRunFolders({ ...host.deps, now: () => later }, warn);
    expect(existsSync(path.join(host.runDir, 'run.json'))).toBe(true);
  } finally {
    await host.close();
  }
});
