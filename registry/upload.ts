/** Files into the store: streamed, with a digest that the store verifies, in parts when they are large. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  UploadPartCommand,
  type CompletedPart,
} from '@aws-sdk/client-s3';
import { ArtifactMismatch } from './errors.ts';
import { isConditionFailed, statusOf, timeoutFor, type Connection } from './requests.ts';

const largestPut = 64 * 2 ** 20;
const smallestPart = 16 * 2 ** 20;
const mostParts = 10_000;

/**
 * False when the key existed. The file must have the digest that is given, and the key be named by it: whoever
 * wrote the key wrote the same.
 */
export async function uploadFile(
  connection: Connection,
  key: string,
  file: string,
  sha256: string,
): Promise<boolean> {
  const { size } = await stat(file);
  return size > largestPut
    ? await uploadParts(connection, key, file, sha256, size)
    : await uploadWhole(connection, key, file, sha256, size);
}

function changed(file: string, sha256: string, cause?: unknown): ArtifactMismatch {
  return new ArtifactMismatch(
    `${file} changed while it was uploaded: expected SHA-256 ${sha256}. Do not write to it, and try again.`,
    { cause },
  );
}

async function uploadWhole(
  { client, requests, bucket }: Connection,
  key: string,
  file: string,
  sha256: string,
  size: number,
): Promise<boolean> {
  return requests.send(`an upload of ${key}`, async ({ uncertain }) => {
    const body = createReadStream(file, size === 0 ? {} : { end: size - 1 });
    try {
      const put = new PutObjectCommand({
        Bucket: bucket,
        Key: key,
        Body: body,
        ContentLength: size,
        ChecksumSHA256: Buffer.from(sha256, 'hex').toString('base64'),
        IfNoneMatch: '*',
      });
      await client.send(put, timeoutFor(size));
      return true;
    } catch (error) {
      if (isConditionFailed(error)) return uncertain;
      if (statusOf(error) === 400) throw changed(file, sha256, error);
      throw error;
    } finally {
      body.destroy();
    }
  });
}

async function uploadParts(
  { client, requests, bucket }: Connection,
  key: string,
  file: string,
  sha256: string,
  size: number,
): Promise<boolean> {
  const what = `an upload of ${key}`;
  const target = { Bucket: bucket, Key: key };
  const { UploadId } = await requests.send(what, () =>
    client.send(new CreateMultipartUploadCommand({ ...target, ChecksumAlgorithm: 'SHA256' })),
  );
  const upload = { ...target, UploadId };
  // Best effort: parts that stay behind take room until `abandonUploads`, but nothing ever reads them.
  const abandon = async (): Promise<void> => {
    await client.send(new AbortMultipartUploadCommand(upload)).catch(() => {});
  };
  const handle = await open(file);
  try {
    const whole = createHash('sha256');
    const Parts: CompletedPart[] = [];
    const buffer = Buffer.alloc(Math.max(smallestPart, Math.ceil(size / mostParts)));
    for (let offset = 0; offset < size;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, offset);
      if (bytesRead === 0) throw changed(file, sha256);
      const Body = buffer.subarray(0, bytesRead);
      whole.update(Body);
      const PartNumber = Parts.length + 1;
      const ChecksumSHA256 = createHash('sha256').update(Body).digest('base64');
      const part = { ...upload, PartNumber, Body, ContentLength: bytesRead, ChecksumSHA256 };
      const { ETag } = await requests.send(what, () =>
        client.send(new UploadPartCommand(part), timeoutFor(bytesRead)),
      );
      Parts.push({ ETag, PartNumber, ChecksumSHA256 });
      offset += bytesRead;
    }
    if (whole.digest('hex') !== sha256) throw changed(file, sha256);
    const written = await requests.send(what, async ({ uncertain }) => {
      try {
        const complete = { ...upload, MultipartUpload: { Parts }, IfNoneMatch: '*' };
        await client.send(new CompleteMultipartUploadCommand(complete), timeoutFor(size));
        return true;
      } catch (error) {
        // After a lost reply the upload is gone, because it is complete.
        const gone = uncertain && statusOf(error) === 404;
        if (!gone && !isConditionFailed(error)) throw error;
      }
      const { ContentLength } = await client.send(new HeadObjectCommand(target));
      return uncertain && ContentLength === size;
    });
    if (!written) await abandon();
    return written;
  } catch (error) {
    await abandon();
    throw error;
  } finally {
    await handle.close();
  }
}

/** Removes the parts of uploads that began before then, and that nobody can end any more; returns how many there were. */
export async function abandonUploads(
  { client, requests, bucket }: Connection,
  before: Date,
): Promise<number> {
  const bucketOf = { Bucket: bucket };
  const started: { Key: string; UploadId: string }[] = [];
  let at: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } = {};
  for (let more = true; more;) {
    const page = await requests.send('a list of unfinished uploads', () =>
      client.send(new ListMultipartUploadsCommand({ ...bucketOf, ...at })),
    );
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      if (Key === undefined || UploadId === undefined || Initiated === undefined) continue;
      if (Initiated < before) started.push({ Key, UploadId });
    }
    at = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
    more = page.IsTruncated === true && page.NextKeyMarker !== undefined;
  }
  for (const upload of started) {
    await requests.send(`the end of an upload of ${upload.Key}`, async () => {
      try {
        await client.send(new AbortMultipartUploadCommand({ ...bucketOf, ...upload }));
      } catch (error) {
        // Somebody else ended it.
        if (statusOf(error) !== 404) throw error;
      }
    });
  }
  return started.length;
}
