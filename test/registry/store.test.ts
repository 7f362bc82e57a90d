import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BlobRef } from '../../config/digest.ts';
import {
  blobKey,
  downloadBlob,
  putBlob,
  putBlobFile,
  putBlobFolder,
  putJsonLines,
  readBlob,
  readJsonLines,
} from '../../registry/blobs.ts';
import { StoreUnreachable } from '../../registry/errors.ts';
import { openStore, type Store } from '../../registry/store.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

let s3: TestS3;
let store: Store;
let dir: string;

beforeAll(async () => {
  s3 = await startS3();
  ({ store } = s3);
  dir = await mkdtemp(path.join(tmpdir(), 'temper-registry-'));
}, 60_000);
afterAll(async () => {
  await s3.stop();
  await rm(dir, { recursive: true, force: true });
});

/** What a process that was killed in the middle of an upload leaves. */
async function beginUpload(client: S3Client, Key: string): Promise<void> {
  const target = { Bucket: store.bucket, Key };
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(target));
  const part = { ...target, UploadId, PartNumber: 1, Body: Buffer.alloc(1000) };
  await client.send(new UploadPartCommand(part));
}

test('uploads that nobody ends are removed when they are old, and not before', async () => {
  const client = new S3Client({
    endpoint: s3.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey },
  });
  try {
    await beginUpload(client, 'blobs/killed-1');
    await beginUpload(client, 'blobs/killed-2');
    expect(await store.abandonUploads(new Date(Date.now() - 3_600_000))).toBe(0);
    expect(await store.abandonUploads(new Date(Date.now() + 3_600_000))).toBe(2);
    const { Uploads = [] } = await client.send(
      new ListMultipartUploadsCommand({ Bucket: store.bucket }),
    );
    expect(Uploads).toEqual([]);
  } finally {
    client.destroy();
  }
});

const bytes = (text: string): Buffer => Buffer.from(text);

function storeAt(endpoint: string, patienceMs: number, secret = s3.secretAccessKey): Store {
  return openStore({
    endpoint,
    region: 'us-east-1',
    bucket: store.bucket,
    accessKeyId: s3.accessKeyId,
    secretAccessKey: secret,
    patienceMs,
  });
}

test('SeaweedFS passes the probe, which leaves nothing behind', { timeout: 30_000 }, async () => {
  await store.probe();
  for await (const { key } of store.list('probes/')) expect.unreachable(`${key} was left`);
});

test(
  'of 20 writers that create one key, one wins and its bytes stay',
  { timeout: 60_000 },
  async () => {
    const writers = Array.from({ length: 20 }, (_, index) => index);
    const won = await Promise.all(
      writers.map((index) => store.putIfAbsent('race/create', bytes(`writer ${index}`))),
    );
    expect(won.filter(Boolean)).toHaveLength(1);
    expect((await store.get('race/create'))?.bytes.toString()).toBe(`writer ${won.indexOf(true)}`);
  },
);

test('of 4 writers that replace one version, one wins', { timeout: 60_000 }, async () => {
  const etag = await store.replace('race/replace', bytes('before'), null);
  const tags = await Promise.all(
    [0, 1, 2, 3].map((index) => store.replace('race/replace', bytes(`writer ${index}`), etag)),
  );
  const winner = tags.findIndex((tag) => tag !== null);
  expect(tags.filter((tag) => tag !== null)).toHaveLength(1);
  const found = await store.get('race/replace');
  expect(found).toEqual({ bytes: bytes(`writer ${winner}`), etag: tags[winner] });
});

test('a stale ETag, a missing key and an existing key each refuse the write', async () => {
  const etag = await store.replace('cas', bytes('one'), null);
  expect(await store.replace('cas', bytes('two'), null)).toBeNull();
  expect(await store.replace('cas', bytes('two'), etag)).not.toBeNull();
  expect(await store.replace('cas', bytes('three'), etag)).toBeNull();
  expect(await store.replace('cas-missing', bytes('three'), etag)).toBeNull();
  expect(await store.get('cas-missing')).toBeNull();
  expect((await store.get('cas'))?.bytes.toString()).toBe('two');
});

test('a listing goes past one page and keeps to its prefix', { timeout: 30_000 }, async () => {
  await store.putIfAbsent('listed-not/0', bytes(''));
  for (let batch = 0; batch < 21; batch += 1) {
    await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        store.putIfAbsent(`listed/${batch * 50 + index}`, bytes('')),
      ),
    );
  }
  const keys: string[] = [];
  for await (const { key } of store.list('listed/')) keys.push(key);
  expect(new Set(keys).size).toBe(1050);
  expect(keys).toHaveLength(1050);
});

test(
  'a file comes back whole, small, empty, or uploaded in parts',
  { timeout: 60_000 },
  async () => {
    for (const size of [0, 100_000, 65 * 2 ** 20]) {
      const source = path.join(dir, `source-${size}`);
      const target = path.join(dir, 'made', `target-${size}`);
      await writeFile(source, randomBytes(size));
      const ref = await putBlobFile(store, source);
      expect(ref.bytes).toBe(size);
      await downloadBlob(store, ref, target);
      expect((await readFile(target)).equals(await readFile(source))).toBe(true);
      // Of the same content there is one object, and nothing is sent again.
      expect(await store.putFileIfAbsent(blobKey(ref.sha256), source, ref.sha256)).toBe(false);
    }
    expect(
      (await readdir(path.join(dir, 'made'))).filter((name) => name.endsWith('.part')),
    ).toEqual([]);
  },
);

test('a file that changed after it was hashed is refused', { timeout: 30_000 }, async () => {
  for (const size of [1000, 65 * 2 ** 20]) {
    const file = path.join(dir, 'changed');
    await writeFile(file, randomBytes(size));
    const upload = store.putFileIfAbsent(`changed/${size}`, file, 'ab'.repeat(32));
    await expect(upload).rejects.toMatchObject({ name: 'ArtifactMismatch' });
    expect(await store.size(`changed/${size}`)).toBeNull();
  }
});

test('a blob with one flipped bit is refused and never becomes a file', async () => {
  const ref = await putBlob(store, randomBytes(5000));
  const key = blobKey(ref.sha256);
  const found = await store.get(key);
  if (found === null) return expect.unreachable('the blob was not written');
  found.bytes[1234]! ^= 4;
  expect(await store.replace(key, found.bytes, found.etag)).not.toBeNull();

  const refusal = { name: 'ArtifactMismatch', message: expect.stringContaining(ref.sha256) };
  await expect(readBlob(store, ref)).rejects.toMatchObject(refusal);
  const folder = path.join(dir, 'flipped');
  await expect(downloadBlob(store, ref, path.join(folder, 'file'))).rejects.toMatchObject(refusal);
  expect(await readdir(folder)).toEqual([]);
});

test('a blob of another length is refused before it is taken for uploaded', async () => {
  const file = path.join(dir, 'short');
  await writeFile(file, 'the whole text');
  const ref = await putBlobFile(store, file);
  const found = await store.get(blobKey(ref.sha256));
  await store.replace(blobKey(ref.sha256), bytes('the whole'), found?.etag ?? null);
  await expect(putBlobFile(store, file)).rejects.toMatchObject({ name: 'ArtifactMismatch' });
});

test('JSON lines come back as they went in, and equal records are one blob', async () => {
  const records = [{ b: 'ä\n', a: [1, null] }, 'text', 3];
  const ref = await putJsonLines(store, records);
  expect(await readJsonLines(store, ref)).toEqual(records);
  expect(await putJsonLines(store, [{ a: [1, null], b: 'ä\n' }, 'text', 3])).toEqual(ref);
  expect(await readJsonLines(store, await putJsonLines(store, []))).toEqual([]);
});

test('wrong keys give one sentence, without the keys', async () => {
  const wrong = storeAt(s3.endpoint, 1000, 'not-the-secret');
  const refused = await wrong.get('cas').catch((error: Error) => error);
  expect(refused).toMatchObject({ name: 'StoreRefused' });
  expect(String(refused)).toContain('Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY');
  expect(String(refused)).not.toContain('not-the-secret');
  wrong.close();
});

test('a store that is not there gives one sentence after the patience ends', async () => {
  const absent = storeAt('http://127.0.0.1:9', 300);
  await expect(absent.putIfAbsent('key', bytes(''))).rejects.toThrow(
    /^S3 at http:\/\/127\.0\.0\.1:9 did not answer .* is the stack up\? npx temper up$/,
  );
  absent.close();
});

test('the probe refuses a store that says yes to everything', async () => {
  const server = createServer((incoming, answer) => {
    incoming.resume().on('end', () => answer.writeHead(200, { etag: '"same"' }).end());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const agreeable = storeAt(`http://127.0.0.1:${port}`, 1000);
  await expect(agreeable.probe()).rejects.toThrow(
    `The store (S3 at http://127.0.0.1:${port}) let two writers create one key (If-None-Match is ignored).`,
  );
  agreeable.close();
  server.closeAllConnections();
  server.close();
});

function ifAway(error: unknown): null {
  if (error instanceof StoreUnreachable) return null;
  throw error;
}

test(
  'what was acknowledged outlives kills in the middle of writes',
  { timeout: 60_000 },
  async () => {
    const refs: BlobRef[] = [];
    let writing = true;
    const writers = [0, 1, 2, 3].map(async (writer) => {
      for (let count = 0; writing; count += 1) {
        const size = 100 + ((count * 7919) % 60_000);
        // A store that stays away for longer than a write waits has acknowledged nothing.
        const ref = await putBlob(store, Buffer.alloc(size, `${writer}-${count}-`)).catch(ifAway);
        if (ref !== null) refs.push(ref);
      }
    });
    for (const enough of [12, 24, 36]) {
      while (refs.length < enough) await sleep(5);
      await s3.kill();
      await s3.restart();
    }
    writing = false;
    await Promise.all(writers);
    for (let start = 0; start < refs.length; start += 32) {
      await Promise.all(refs.slice(start, start + 32).map((ref) => readBlob(store, ref)));
    }
  },
);

test('a folder becomes one blob a file, by name and in the order of the names', async () => {
  const folder = path.join(dir, 'whole');
  await mkdir(folder);
  for (const name of ['b', 'a', 'B']) await writeFile(path.join(folder, name), `file ${name}`);
  const files = await putBlobFolder(store, folder);
  expect(Object.keys(files)).toEqual(['B', 'a', 'b']);
  for (const [name, ref] of Object.entries(files)) {
    expect(String(await readBlob(store, ref))).toBe(`file ${name}`);
  }
  await mkdir(path.join(folder, 'inner'));
  await expect(putBlobFolder(store, folder)).rejects.toMatchObject({ code: 'EISDIR' });
});
