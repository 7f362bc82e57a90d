import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { s3Files } from '../../activities/s3-source.ts';
import type { Store } from '../../registry/store.ts';

let cache: string;
beforeAll(async () => {
  cache = await mkdtemp(path.join(tmpdir(), 'temper-s3-'));
});
afterAll(() => rm(cache, { recursive: true, force: true }));

const store = {
  async *list() {
    yield { key: 'folder/a.txt', bytes: 4, lastModified: new Date(0) };
  },
  async download(_key: string, file: string) {
    await writeFile(file, 'text');
    return true;
  },
} as unknown as Store;

test('two attempts that read one object do not remove it from under each other', async () => {
  const fetched = async () => {
    const [file] = await s3Files(store, 'bucket/folder', '**/*', { cache });
    const local = await file!.fetch!();
    if ('reason' in local) throw new Error(local.detail);
    return local;
  };
  const [zombie, next] = [await fetched(), await fetched()];
  await zombie.release!();
  expect(await readFile(next.file, 'utf8')).toBe('text');
  await next.release!();
  expect(await readdir(cache)).toEqual([]);
});

test('what a killed attempt left is removed a day later', async () => {
  await writeFile(path.join(cache, 'old'), '');
  await writeFile(path.join(cache, 'new'), '');
  const before = Date.now() / 1000 - 2 * 24 * 60 * 60;
  await utimes(path.join(cache, 'old'), before, before);
  await s3Files(store, 'bucket/folder', '**/*', { cache });
  expect(await readdir(cache)).toEqual(['new']);
});
