/** Deletion for good, on a real store: with versions and without. */
import {
  PutBucketVersioningCommand,
  ListObjectVersionsCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startS3, type TestS3 } from '../support/s3.ts';

let s3: TestS3;
let client: S3Client;
beforeAll(async () => {
  s3 = await startS3();
  const { endpoint, accessKeyId, secretAccessKey } = s3;
  const credentials = { accessKeyId, secretAccessKey };
  client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
}, 60_000);
afterAll(async () => {
  client.destroy();
  await s3.stop();
});

test('an object is gone once it is removed, its neighbour stays, and removing it again is no fault', async () => {
  const { store } = s3;
  await store.putIfAbsent('a/one', Buffer.from('1'));
  await store.putIfAbsent('a/one.more', Buffer.from('2'));
  await store.remove('a/one');
  expect(await store.get('a/one')).toBeNull();
  expect((await store.get('a/one.more'))?.bytes.toString()).toBe('2');
  await store.remove('a/one');
  expect(await store.putIfAbsent('a/one', Buffer.from('3'))).toBe(true);
});

test('where the bucket keeps versions, none of them is left', async () => {
  const { store } = s3;
  await client.send(
    new PutBucketVersioningCommand({
      Bucket: store.bucket,
      VersioningConfiguration: { Status: 'Enabled' },
    }),
  );
  let etag = await store.replace('v/one', Buffer.from('0'), null);
  for (const text of ['1', '2', '3']) etag = await store.replace('v/one', Buffer.from(text), etag);
  const versions = async () => {
    const found = await client.send(
      new ListObjectVersionsCommand({ Bucket: store.bucket, Prefix: 'v/' }),
    );
    return [...(found.Versions ?? []), ...(found.DeleteMarkers ?? [])].length;
  };
  expect(await versions()).toBe(4);
  await store.remove('v/one');
  expect(await versions()).toBe(0);
});
