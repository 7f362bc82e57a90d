import { expect, test } from 'vitest';
import { ThreadPool } from '../../activities/preprocess-threads.ts';

test('whoever waits for a thread hears that it goes on, before its task is done', async () => {
  const threads = new ThreadPool(1);
  try {
    const texts = Array.from({ length: 5000 }, (_, record) => ({ set: 'a', record, text: 'b' }));
    let isDone = false;
    const first = threads.run('grams', { texts }).then(() => (isDone = true));
    let numHeard = 0;
    const second = threads.run('duplicates', { fingerprints: [], since: [] }, () => {
      if (!isDone) numHeard += 1;
    });
    await Promise.all([first, second]);
    expect(numHeard).toBeGreaterThanOrEqual(3);
  } finally {
    await threads.close();
  }
});

test('what a thread with other code than its process made is not taken, and the process hears of it', async () => {
  let numOutdated = 0;
  const threads = new ThreadPool(1, () => {
    numOutdated += 1;
  });
  const nothing = { fingerprints: [], since: [] };
  try {
    let asked = 0;
    threads.checkCode(() => (asked += 1) > 1);
    await expect(threads.run('duplicates', nothing)).rejects.toThrow(
      'the code on the disk is newer than this worker',
    );
    expect(numOutdated).toBe(1);
    expect((await threads.run('duplicates', nothing)).numbers).toHaveLength(0);
    await threads.run('duplicates', nothing);
    // Once of each thread: what it has loaded it has.
    expect(asked).toBe(2);
  } finally {
    await threads.close();
  }
});

test('what cannot be copied to a thread fails, and the thread does what comes after', async () => {
  const threads = new ThreadPool(1);
  try {
    const nothing = { fingerprints: [], since: [] };
    const uncopied = { fingerprints: [() => {}], since: [] } as unknown as typeof nothing;
    const [first, second, third] = await Promise.allSettled([
      threads.run('duplicates', nothing),
      threads.run('duplicates', uncopied),
      threads.run('duplicates', nothing),
    ]);
    expect(second).toMatchObject({ status: 'rejected', reason: { name: 'DataCloneError' } });
    expect([first.status, third.status]).toEqual(['fulfilled', 'fulfilled']);
    await expect(threads.run('duplicates', uncopied)).rejects.toThrow('could not be cloned');
    expect((await threads.run('duplicates', nothing)).numbers).toHaveLength(0);
  } finally {
    await threads.close();
  }
});
