/**
 * The object store: S3, with writes that hold only under a condition. Every write here answers the question
 * "did mine count?", also when the reply got lost, by reading back what is there.
 */
import { createHash } from 'node:crypto';
import {
  CreateBucketCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import type { DataKeys } from './data-keys.ts';
import { downloadFile } from './download.ts';
import { probeStore } from './probe.ts';
import {
  createRequests,
  isConditionFailed,
  isMissing,
  nameOf,
  requestTimeoutMs,
  statusOf,
  timeoutFor,
} from './requests.ts';
import { removeObject } from './remove.ts';
import { abandonUploads, uploadFile } from './upload.ts';

export interface StoreOptions {
  /** Left out for AWS. */
  endpoint?: string | undefined;
  region: string;
  bucket: string;
  /** Left out, the SDK finds the keys of the host. */
  accessKeyId?: string | undefined;
  secretAccessKey?: string | undefined;
  /** How long an outage one call rides out. */
  patienceMs?: number;
  /** Asked when a connection is refused: whether nobody will open that port again soon, so that patience is in vain. */
  isDown?: (() => Promise<boolean>) | undefined;
  /** Left out, nothing can be sealed and nothing sealed be read. */
  dataKeys?: DataKeys | undefined;
}

export interface StoredBytes {
  bytes: Buffer;
  etag: string;
}

export interface StoredKey {
  key: string;
  bytes: number;
  lastModified: Date;
}

export interface Store {
  /** Where it is, in words, for messages. */
  place: string;
  bucket: string;
  /** They open what is sealed; left out, there are none. */
  dataKeys?: DataKeys | undefined;
  get(key: string): Promise<StoredBytes | null>;
  /** Length of an object, or null when there is none. */
  size(key: string): Promise<number | null>;
  /** True when these bytes were written now; false when the key existed. */
  putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean>;
  /** Replaces the object that has this ETag (null: there must be none). Null when somebody else was first. */
  replace(key: string, bytes: Uint8Array, etag: string | null): Promise<string | null>;
  /** As `putIfAbsent`, streamed; the store verifies the digest. */
  putFileIfAbsent(key: string, file: string, sha256: string): Promise<boolean>;
  /** Streams into a file that appears whole; false when the key does not exist. With a digest, verifies it first. */
  download(key: string, file: string, sha256?: string): Promise<boolean>;
  list(prefix: string): AsyncIterable<StoredKey>;
  /** Removes an object for good, each version of it where the bucket keeps versions; one that is gone is no fault. */
  remove(key: string): Promise<void>;
  /** Removes what uploads left behind that began before then and were killed; returns how many there were. */
  abandonUploads(before: Date): Promise<number>;
  ensureBucket(): Promise<void>;
  /** Throws one sentence when the store does not honour conditional writes or checksums. */
  probe(): Promise<void>;
  close(): void;
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** The registry's door to S3. */
export function openStore(options: StoreOptions): Store {
  const { endpoint, region, bucket, accessKeyId, secretAccessKey, patienceMs = 20_000 } = options;
  const place = endpoint === undefined ? `S3 in ${region}` : `S3 at ${endpoint}`;
  const agent = { keepAlive: true, maxSockets: 64 };
  const client = new S3Client({
    region,
    maxAttempts: 1,
    // Every failure is reported by us, in our words.
    logger: silent,
    // Ours is SHA-256; the SDK's default checksums break some stores.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: 2000,
      requestTimeout: requestTimeoutMs,
      throwOnRequestTimeout: true,
      socketTimeout: requestTimeoutMs,
      socketAcquisitionWarningTimeout: 10 * requestTimeoutMs,
      httpAgent: agent,
      httpsAgent: agent,
    },
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    ...(accessKeyId === undefined || secretAccessKey === undefined
      ? {}
      : { credentials: { accessKeyId, secretAccessKey } }),
  });
  const requests = createRequests({ place, bucket, patienceMs, isDown: options.isDown });

  /** Null: the condition did not hold. */
  async function write(key: string, body: Uint8Array, condition: object): Promise<string | null> {
    const ChecksumSHA256 = createHash('sha256').update(body).digest('base64');
    return requests.send(`a write of ${key}`, async ({ uncertain }) => {
      try {
        const put = new PutObjectCommand({
          Bucket: bucket,
          Key: key,
          Body: body,
          ContentLength: body.byteLength,
          ChecksumSHA256,
          ...condition,
        });
        const { ETag } = await client.send(put, timeoutFor(body.byteLength));
        return ETag ?? '';
      } catch (error) {
        // A missing object answers If-Match with 404.
        if (!isConditionFailed(error) && !isMissing(error)) throw error;
        if (!uncertain) return null;
      }
      // The refusal may come from our own write, whose reply was lost.
      const found = await read(key);
      return found !== null && found.bytes.equals(body) ? found.etag : null;
    });
  }

  async function read(key: string): Promise<StoredBytes | null> {
    try {
      const command = new GetObjectCommand({ Bucket: bucket, Key: key });
      const { Body, ETag, ContentLength } = await client.send(command);
      const found = (await Body?.transformToByteArray()) ?? new Uint8Array();
      const bytes = Buffer.from(found.buffer, found.byteOffset, found.byteLength);
      if (ContentLength !== undefined && bytes.length !== ContentLength) {
        const cut = `${key}: read ${bytes.length} of ${ContentLength} bytes`;
        throw Object.assign(new Error(cut), { code: 'ECONNRESET' });
      }
      return { bytes, etag: ETag ?? '' };
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  const store: Store = {
    place,
    bucket,
    dataKeys: options.dataKeys,
    get: (key) => requests.send(`a read of ${key}`, () => read(key)),
    size: (key) =>
      requests.send(`a look at ${key}`, async () => {
        try {
          const head = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }));
          return head.ContentLength ?? 0;
        } catch (error) {
          if (isMissing(error)) return null;
          throw error;
        }
      }),
    putIfAbsent: async (key, bytes) => (await write(key, bytes, { IfNoneMatch: '*' })) !== null,
    replace: (key, bytes, etag) =>
      write(key, bytes, etag === null ? { IfNoneMatch: '*' } : { IfMatch: etag }),
    putFileIfAbsent: (key, file, sha256) =>
      uploadFile({ client, requests, bucket }, key, file, sha256),
    download: (key, file, sha256) =>
      downloadFile({ client, requests, bucket }, key, file, sha256 ?? null),
    async *list(prefix) {
      let token: string | undefined;
      do {
        const input = { Bucket: bucket, Prefix: prefix, ContinuationToken: token };
        const page = await requests.send(`a list of ${prefix}`, () =>
          client.send(new ListObjectsV2Command(input)),
        );
        for (const { Key, Size, LastModified } of page.Contents ?? []) {
          if (Key === undefined) continue;
          yield { key: Key, bytes: Size ?? 0, lastModified: LastModified ?? new Date(0) };
        }
        token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      } while (token !== undefined);
    },
    remove: (key) => removeObject({ client, requests, bucket }, key),
    abandonUploads: (before) => abandonUploads({ client, requests, bucket }, before),
    ensureBucket: () =>
      requests.send(`for bucket ${bucket}`, async () => {
        try {
          await client.send(new HeadBucketCommand({ Bucket: bucket }));
          return;
        } catch (error) {
          if (statusOf(error) !== 404) throw error;
        }
        try {
          await client.send(new CreateBucketCommand({ Bucket: bucket }));
        } catch (error) {
          if (nameOf(error) !== 'BucketAlreadyOwnedByYou') throw error;
        }
      }),
    probe: () => probeStore({ client, requests, bucket }, store),
    close: () => client.destroy(),
  };
  return store;
}
