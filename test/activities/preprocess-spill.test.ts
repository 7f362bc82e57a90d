/** What preprocessing puts aside where memory should not hold it: parts of buckets, and lists of lines. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { zstdCompress } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { inTurn } from '../../activities/preprocess-in-turn.ts';
import { SortedLines } from '../../activities/preprocess-sorted-lines.ts';
import { Spill } from '../../activities/preprocess-spill.ts';
import { byCodeUnits } from '../../corpus/order.ts';
import { ThreadPool } from '../../activities/preprocess-threads.ts';
import { compression, compressLines } from '../../registry/blobs.ts';
import { seeded } from '../corpus/random.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'temper-spill-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

test('parts of buckets come back as they came, through one file or none', async () => {
  const random = seeded(41);
  for (const limit of [50, 400, 1e6]) {
    const numBuckets = 7;
    const file = path.join(folder, `spill-${limit}`);
    const spill = new Spill(file, numBuckets, limit);
    const expected = Array.from({ length: numBuckets }, (): Buffer[] => []);
    for (let shard = 0; shard < 60; shard += 1) {
      // The last bucket never gets anything.
      const buckets = [...Array(numBuckets - 1).keys()].filter(() => random() < 0.4);
      const parts = buckets.map((bucket) => {
        const part = Buffer.alloc(Math.floor(random() * 30), shard);
        expected[bucket]!.push(part);
        return part;
      });
      const lengths = Uint32Array.from(parts, ({ length }) => length);
      await spill.add(Uint32Array.from(buckets), lengths, Buffer.concat(parts));
    }
    for (const bucket of [3, 0, 6, 5, 1, 2, 4]) {
      const read = await spill.read(bucket);
      expect(read).toEqual(Buffer.concat(expected[bucket]!));
      // It is given to a thread as it is: a view of more would take that along.
      expect(read.buffer.byteLength).toBe(read.length);
      expect(spill.has(bucket)).toBe(bucket < 6);
    }
    await spill.close();
    const files = await readdir(folder);
    expect(files.includes(path.basename(file))).toBe(limit < 1e6);
  }
});

test('a run longer than what is written at a time comes back whole', async () => {
  const spill = new Spill(path.join(folder, 'spill-long'), 3, 9_000_000);
  const expected = [0, 1, 2].map((): Buffer[] => []);
  for (let shard = 0; shard < 8; shard += 1) {
    const parts = [1_300_003, 7, 2_100_001].map((length, bucket) =>
      Buffer.alloc(length, `of shard ${shard} for bucket ${bucket}`),
    );
    for (const [bucket, part] of parts.entries()) expected[bucket]!.push(part);
    const lengths = Uint32Array.from(parts, ({ length }) => length);
    await spill.add(Uint32Array.of(0, 1, 2), lengths, Buffer.concat(parts));
  }
  for (const bucket of [2, 0, 1])
    expect((await spill.read(bucket)).equals(Buffer.concat(expected[bucket]!))).toBe(true);
  await spill.close();
});

test('lines that are sorted in parts are packed to the bytes of all of them at once', async () => {
  const random = seeded(42);
  const keyOf = (line: Buffer): string => line.toString('utf8').split(' ')[0]!;
  const sorted = (lines: readonly string[]): string[] =>
    lines.toSorted((a, b) => byCodeUnits(a.split(' ')[0]!, b.split(' ')[0]!));
  const sort = async (parts: Uint8Array[]): Promise<Uint8Array> => {
    const all = Buffer.concat(parts)
      .toString('utf8')
      .split(/(?<=\n)/);
    return Buffer.from(sorted(all.filter(Boolean)).join(''));
  };
  for (const [number, limit] of [
    [0, 100],
    [1, 100],
    [3000, 5000],
    [3000, 1e9],
    [8192, 60_000],
  ] as const) {
    const own = await mkdtemp(path.join(folder, 'lines-'));
    const lines = new SortedLines(own, { sort, keyOf, compare: byCodeUnits, limit });
    // Two blocks of zstd to the byte, where there are 8,192; many have the same key.
    const all = Array.from({ length: number }, (_, at) =>
      `${String(Math.floor(random() * 500)).padStart(4, 'é')} ${at}`.slice(0, 29),
    ).map((line) => `${line}${'.'.repeat(31 - Buffer.byteLength(line))}\n`);
    for (let at = 0; at < number; at += 7)
      await lines.add(Buffer.from(all.slice(at, at + 7).join('')));
    let chunks = 0;
    await lines.write(path.join(own, 'all'), async () => void (chunks += 1));
    const whole = Buffer.from(sorted(all).join(''));
    expect(await readFile(path.join(own, 'all'))).toEqual(await compressLines(whole));
    expect(chunks).toBe(Math.ceil(whole.length / 256_000));
  }
});

test('results are used in the order of the items, and after a fault nothing goes on', async () => {
  const random = seeded(43);
  const wait = async (): Promise<void> =>
    new Promise((resolve) => {
      setTimeout(resolve, random() * 3);
    });
  let running = 0;
  let most = 0;
  const work = async (item: number): Promise<number> => {
    most = Math.max(most, (running += 1));
    await wait();
    running -= 1;
    if (item === 23) throw new Error('of 23');
    return item * 2;
  };
  const used: number[] = [];
  const use = async (result: number, index: number): Promise<void> => {
    expect(result).toBe(index * 2);
    await wait();
    used.push(index);
  };
  await inTurn([...Array(20).keys()], work, use);
  expect(used).toEqual([...Array(20).keys()]);
  expect(most).toBeGreaterThan(1);
  await expect(inTurn([...Array(40).keys()], work, use)).rejects.toThrow('of 23');
  expect(running).toBe(0);
  expect(used.length).toBe(20 + 23);
});

test('lines are packed to the same bytes however many are handed on at a time', async () => {
  const random = seeded(43);
  const words = Array.from({ length: 4000 }, () => Math.floor(random() * 1e9).toString(36));
  // Blocks of zstd are 131,072 bytes; its window, from which it can fall out of step, 2,097,152.
  for (const length of [0, 1, 40_000, 131_072, 262_144, 700_001, 2_097_152, 5_000_000]) {
    let text = '';
    while (text.length < length) text += `${words[Math.floor(random() ** 2 * 4000)]!} `;
    const lines = Buffer.from(text.slice(0, length));
    const usual = await promisify(zstdCompress)(lines, compression);
    expect((await compressLines(lines)).equals(usual)).toBe(true);
  }
});

test('a thread takes what it is given, and gives what it made, without a copy', async () => {
  const threads = new ThreadPool(1);
  const record = Buffer.alloc(36 + 100_000, 'a');
  record.writeUInt32LE(100_000, 32);
  const part = Buffer.from(new ArrayBuffer(record.length));
  part.set(record);
  const parts = [part];
  const given = parts.map(({ buffer }) => buffer);
  const { lines } = await threads.run('order', { parts, compress: false }, () => {}, given);
  expect(part.length).toBe(0);
  expect(record.subarray(36).equals(lines)).toBe(true);
  // What is small lies among other things, and is copied.
  const names = await threads.run('order', { parts: [record.subarray(0, 0)], compress: false });
  expect(names.lines).toHaveLength(0);
  await threads.close();
});
