/** What the parts of a data worker may take, and that the sum of it fits into its gigabyte. */
import type { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { ThreadPool } from '../../activities/preprocess-threads.ts';
import { heldBytes, measuredBytes, mostBytes } from '../../config/data-memory.ts';
import { compressLines } from '../../registry/blobs.ts';
import { withRecent } from '../../registry/recent.ts';
import { memoryStore } from '../support/memory-store.ts';

test('what two threads and the largest step hold together fits into a gigabyte', () => {
  const { program, thread, largestTask } = measuredBytes;
  const { recent, waiting, lines, spilled, sorted } = heldBytes;
  const steps = { ingest: waiting, duplicates: largestTask + sorted, split: lines + spilled };
  const largest = Math.max(...Object.values(steps));
  expect(program + 2 * thread + recent + largest).toBeLessThanOrEqual(mostBytes);
});

test('a store remembers no more than the budget says', async () => {
  const store = memoryStore();
  const remembering = withRecent(store);
  const piece = 4_000_000;
  const keys = Array.from({ length: 20 }, (_, number) => `blobs/sha256/00/${number}`);
  for (const key of keys) await remembering.putIfAbsent(key, Buffer.alloc(piece));
  store.objects.clear();
  const found = await Promise.all(keys.map(async (key) => remembering.get(key)));
  const remembered = found.filter((one) => one !== null).length * piece;
  expect(remembered).toBeGreaterThan(heldBytes.recent / 2);
  expect(remembered).toBeLessThanOrEqual(heldBytes.recent);
});

test('the heap of a thread stays small while it reads one shard after the other', async () => {
  const started: Worker[] = [];
  const note = (thread: Worker): void => {
    started.push(thread);
  };
  process.on('worker', note);
  const threads = new ThreadPool(1);
  let most = 0;
  const look = async (): Promise<void> => {
    for (const thread of started) {
      // One that has not started, or has ended, cannot be asked.
      const heap = await thread.getHeapStatistics().catch(() => null);
      most = Math.max(most, heap?.total_physical_size ?? 0);
    }
  };
  const looking = setInterval(() => void look(), 10);
  try {
    const line = (number: number): string => {
      const id = number.toString(16).padStart(32, '0');
      return `${JSON.stringify({ bytes: 1, characters: 1, id, script: 'latin', source: `a/${id}` })}\n`;
    };
    const lines = Array.from({ length: 20_000 }, (_, number) => line(number));
    const printed = await compressLines(Buffer.from(lines.join('')));
    const kept = { printed, gone: new Uint32Array() };
    for (let shard = 0; shard < 20; shard += 1) await threads.run('sides', { kept, share: 0.01 });
    expect(most).toBeGreaterThan(10_000_000);
    expect(most).toBeLessThan(70_000_000);
  } finally {
    clearInterval(looking);
    process.off('worker', note);
    await threads.close();
  }
});
