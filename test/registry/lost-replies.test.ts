import { randomBytes, createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { blobKey, putBlob, putBlobFile } from '../../registry/blobs.ts';
import { moveAlias, readAlias, registerModel } from '../../registry/models.ts';
import { openStore, type Store } from '../../registry/store.ts';
import { commitCheckpoint, openGeneration, readHead } from '../../registry/training.ts';
import { startLossyProxy, type LossyProxy } from '../support/lossy-proxy.ts';
import { checkpointOf, digestOf, versionOf } from '../support/records.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

let s3: TestS3;
let proxy: LossyProxy;
let store: Store;
let expected = 0;

beforeAll(async () => {
  s3 = await startS3();
  proxy = await startLossyProxy(s3.endpoint);
  const { accessKeyId, secretAccessKey, endpoint: _, ...rest } = { ...s3, ...proxy };
  store = openStore({
    endpoint: proxy.endpoint,
    region: 'us-east-1',
    bucket: rest.store.bucket,
    accessKeyId,
    secretAccessKey,
  });
}, 60_000);
afterEach(() => {
  // Else the test proved nothing.
  expect(proxy.lost()).toBe(expected);
});
afterAll(async () => {
  store.close();
  await proxy.close();
  await s3.stop();
});

function loseWrite(key: string, meanwhile?: () => Promise<unknown>): void {
  expected += 1;
  proxy.loseReply((method, url) => method === 'PUT' && url.includes(key), meanwhile);
}

const bytes = (text: string): Buffer => Buffer.from(text);
/** Digest of the job. */
const stage = digestOf('5');
const trial = (name: string) => ({ run: name, phase: 'pretrain', round: 0, trial: 0 });

test('a creation whose reply was lost counts as won', async () => {
  loseWrite('lost/create');
  expect(await store.putIfAbsent('lost/create', bytes('mine'))).toBe(true);
  expect((await store.get('lost/create'))?.bytes.toString()).toBe('mine');
});

test('a creation that was refused, and the refusal lost, counts as not won', async () => {
  await store.putIfAbsent('lost/taken', bytes('theirs'));
  loseWrite('lost/taken');
  expect(await store.putIfAbsent('lost/taken', bytes('mine'))).toBe(false);
  expect((await store.get('lost/taken'))?.bytes.toString()).toBe('theirs');
});

test('a replacement whose reply was lost gives the new ETag', async () => {
  const etag = await store.replace('lost/replace', bytes('before'), null);
  loseWrite('lost/replace');
  const next = await store.replace('lost/replace', bytes('mine'), etag);
  expect(next).toBe((await store.get('lost/replace'))?.etag);
  expect(await store.replace('lost/replace', bytes('after'), next)).not.toBeNull();
});

test('a replacement that was overwritten before it could be confirmed does not count', async () => {
  const etag = await store.replace('lost/over', bytes('before'), null);
  loseWrite('lost/over', async () => {
    const mine = await s3.store.get('lost/over');
    expect(mine?.bytes.toString()).toBe('mine');
    await s3.store.replace('lost/over', bytes('theirs'), mine?.etag ?? null);
  });
  expect(await store.replace('lost/over', bytes('mine'), etag)).toBeNull();
  expect((await store.get('lost/over'))?.bytes.toString()).toBe('theirs');
});

test(
  'a file, whole or in parts, counts as uploaded when the reply was lost',
  { timeout: 30_000 },
  async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'temper-lost-'));
    for (const size of [1000, 65 * 2 ** 20]) {
      const file = path.join(dir, 'file');
      const content = randomBytes(size);
      await writeFile(file, content);
      const sha256 = createHash('sha256').update(content).digest('hex');
      expected += 1;
      const last = size > 1000 ? 'POST' : 'PUT';
      proxy.loseReply((method, url) => method === last && !url.includes('uploads'));
      expect(await putBlobFile(store, file)).toEqual({ sha256, bytes: size });
      expect(await store.size(blobKey(sha256))).toBe(size);
    }
    await rm(dir, { recursive: true });
  },
);

test('a generation whose opening got no reply is opened once', async () => {
  loseWrite('head.json');
  expect(await openGeneration(store, trial('opened'), { stage, writer: 'a' })).toMatchObject({
    fence: 1,
    writer: 'a',
  });
  loseWrite('head.json');
  expect(await openGeneration(store, trial('opened'), { stage, writer: 'b' })).toMatchObject({
    fence: 2,
    writer: 'b',
  });
  expect(await openGeneration(store, trial('opened'), { stage, writer: 'b' })).toMatchObject({
    fence: 2,
    writer: 'b',
  });
});

test('a commit whose reply was lost is in the chain once', async () => {
  const file = await putBlob(store, bytes('weights'));
  await openGeneration(store, trial('committed'), { stage, writer: 'a' });
  loseWrite('head.json');
  const writer = { fence: 1, writer: 'a' };
  const head = await commitCheckpoint(store, trial('committed'), writer, checkpointOf(10, 1, file));
  expect(head.chain.map((entry) => entry.step)).toEqual([10]);
  expect((await readHead(store, trial('committed')))?.value).toEqual(head);
});

test('a commit without a reply, after which a newer generation opened, says that it is fenced', async () => {
  const file = await putBlob(store, bytes('weights'));
  const { fence } = await openGeneration(store, trial('fenced'), { stage, writer: 'a' });
  loseWrite('head.json', () => openGeneration(s3.store, trial('fenced'), { stage, writer: 'b' }));
  const commit = commitCheckpoint(
    store,
    trial('fenced'),
    { fence, writer: 'a' },
    checkpointOf(10, fence, file),
  );
  await expect(commit).rejects.toMatchObject({ name: 'Fenced' });
  // It was carried out before the fence moved, so the successor goes on from it.
  const head = (await readHead(store, trial('fenced')))?.value;
  expect(head).toMatchObject({ fence: 2, writer: 'b', chain: [{ step: 10, fence: 1 }] });
});

test('a model registered without a reply has one version', async () => {
  loseWrite('versions/000001.json');
  const registered = await registerModel(store, versionOf('lost', digestOf('1')), new Date(0));
  expect(registered).toMatchObject({ version: { version: 1 }, reused: false });
});

test('an alias move without a reply, overtaken by another, is not made twice', async () => {
  await registerModel(store, versionOf('moved', digestOf('1')), new Date(0));
  await registerModel(store, versionOf('moved', digestOf('2')), new Date(0));
  const move = (version: number, by: string) => ({ version, by, reason: 'test', now: new Date(0) });
  await moveAlias(store, 'moved', 'champion', move(2, 'first'));
  loseWrite('champion.json', () => moveAlias(s3.store, 'moved', 'champion', move(2, 'theirs')));
  await moveAlias(store, 'moved', 'champion', move(1, 'mine'));
  const alias = await readAlias(store, 'moved', 'champion');
  expect(alias?.version).toBe(2);
  expect(alias?.moves.map(({ by }) => by)).toEqual(['first', 'mine', 'theirs']);
});
