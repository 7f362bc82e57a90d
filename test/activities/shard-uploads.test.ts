import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CheckpointUploads } from '../../activities/checkpoint-uploads.ts';
import type { Deps } from '../../activities/deps.ts';
import { ShardUploads } from '../../activities/shard-uploads.ts';
import type { Generation } from '../../activities/training-job.ts';
import type { Store } from '../../registry/store.ts';
import { openGeneration, readHead } from '../../registry/training.ts';

/** The loops of the hosts of one gang over a store in memory, where a host takes so long for one file of its own. */
const trial = { run: 'shards', phase: 'pretrain' as const, round: 0, trial: 0 };
const objects = new Map<string, Buffer>();
const etagOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

function memoryStore(uploadMs = 0): Store {
  const putIfAbsent: Store['putIfAbsent'] = async (key, bytes) => {
    if (objects.has(key)) return false;
    objects.set(key, Buffer.from(bytes));
    return true;
  };
  return {
    place: 'memory',
    bucket: 'none',
    get: async (key) => {
      const bytes = objects.get(key);
      return bytes === undefined ? null : { bytes, etag: etagOf(bytes) };
    },
    size: async (key) => objects.get(key)?.length ?? null,
    putIfAbsent,
    replace: async (key, bytes, etag) => {
      const found = objects.get(key);
      if ((found === undefined ? null : etagOf(found)) !== etag) return null;
      objects.set(key, Buffer.from(bytes));
      return etagOf(Buffer.from(bytes));
    },
    putFileIfAbsent: async (key, file) => {
      const bytes = await readFile(file);
      if (file.endsWith('.safetensors')) await sleep(uploadMs);
      return await putIfAbsent(key, bytes);
    },
    download: async () => expect.unreachable('nothing is downloaded'),
    remove: async () => {},
    list: () => expect.unreachable('nothing is listed'),
    abandonUploads: async () => 0,
    ensureBucket: async () => {},
    probe: async () => {},
    close: () => {},
  };
}

let home: string;
beforeEach(async () => {
  objects.clear();
  home = await mkdtemp(path.join(os.tmpdir(), 'temper-shards-'));
});
afterEach(async () => {
  await rm(home, { recursive: true, force: true });
});

/** What each host holds of a checkpoint, the first one also the list of all. */
async function save(step: number, numHosts: number): Promise<string[]> {
  const files: Record<string, { sha256: string; bytes: number }> = {};
  const folders = [];
  for (let host = 0; host < numHosts; host += 1) {
    const folder = path.join(home, String(host), String(step));
    const bytes = Buffer.from(`shard of host ${host} at step ${step}`);
    const name = `shard-0000${host + 1}-of-0000${numHosts}.safetensors`;
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, name), bytes);
    files[name] = { sha256: etagOf(bytes), bytes: bytes.length };
    folders.push(folder);
  }
  const state = JSON.stringify({ step, numShards: numHosts, files });
  await writeFile(path.join(folders[0]!, 'state.json'), state);
  await writeFile(path.join(folders[0]!, 'state.sha256'), etagOf(Buffer.from(state)));
  return folders;
}

async function lead(numHosts: number, uploadMs: number): Promise<CheckpointUploads> {
  const store = memoryStore(uploadMs);
  const head = await openGeneration(store, trial, { stage: 'a'.repeat(64), writer: 'w' });
  const hosts = Array.from({ length: numHosts }, (_, host) => `h${host}`);
  const job = { trial } as Generation['job'];
  const generation = { job, stage: head.stage, fence: head.fence, writer: 'w' };
  const gang = { hosts, adopt: false };
  return new CheckpointUploads({ store } as Deps, { ...generation, gang }, head, async () => {});
}

const chain = async () =>
  (await readHead(memoryStore(), trial))!.value.chain.map(({ step }) => step);

/** Trains so many steps, saving each; says which ones counted while it went on, and the last in the end. */
async function train(numSteps: number, saveMs: number, uploadMs: number[]) {
  return (await new MockActivityEnvironment().run(async () => {
    const uploads = await lead(uploadMs.length, uploadMs[0]!);
    const followers = uploadMs.slice(1).map((ms) => new ShardUploads(memoryStore(ms)));
    for (let step = 1; step <= numSteps; step += 1) {
      const [leading, ...following] = await save(step, uploadMs.length);
      uploads.offer(step, leading!);
      for (const [index, shards] of followers.entries()) shards.offer(step, following[index]!);
      await sleep(saveMs);
    }
    const meanwhile = await chain();
    await uploads.settle();
    uploads.close();
    return { meanwhile, all: await chain() };
  })) as { meanwhile: number[]; all: number[] };
}

test.each([
  { name: 'where the follower is slower than the trainer saves', uploadMs: [100, 900] },
  { name: 'where the leading host is the slower one', uploadMs: [700, 500] },
  { name: 'where three hosts take turns at being late', uploadMs: [380, 790, 610, 950] },
])(
  'a gang goes on committing, and commits the last step, $name',
  async ({ uploadMs }) => {
    const { meanwhile, all } = await train(16, 400, uploadMs);
    expect(meanwhile.length).toBeGreaterThan(1);
    expect(all.at(-1)).toBe(16);
  },
  60_000,
);

test('what waits for other hosts may not be deleted, nor is it uploaded again', async () => {
  await new MockActivityEnvironment().run(async () => {
    const uploads = await lead(2, 0);
    const [leading, following] = await save(1, 2);
    uploads.offer(1, leading!);
    await sleep(1500);
    // Its files are in the store: nothing on this disk is needed any more.
    await rm(leading!, { recursive: true });
    const [second] = await save(2, 2);
    uploads.offer(2, second!);
    expect(uploads.acknowledged).toEqual([]);
    const shards = new ShardUploads(memoryStore());
    shards.offer(1, following!);
    await expect.poll(chain, { timeout: 10_000 }).toEqual([1]);
    expect(uploads.acknowledged).toEqual([1]);
    await uploads.settle(100);
  });
});
