/** Tries out what the registry relies on, so that a store which only pretends is refused before anything is at stake. */
import { createHash, randomUUID } from 'node:crypto';
import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { StoreRefused } from './errors.ts';
import { statusOf, type Connection } from './requests.ts';

/** What is put to the test. */
interface Conditional {
  place: string;
  get(key: string): Promise<{ bytes: Buffer; etag: string } | null>;
  putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean>;
  replace(key: string, bytes: Uint8Array, etag: string | null): Promise<string | null>;
}

const advice = 'Use a store with conditional writes; npx temper doctor says more.';
const writers = ['0', '1', '2', '3', '4', '5', '6', '7'].map((name) => Buffer.from(name));

/** Throws a sentence that says which promise was broken. */
export async function probeStore(connection: Connection, store: Conditional): Promise<void> {
  const { client, requests, bucket } = connection;
  const refuse = (fault: string): never => {
    throw new StoreRefused(`The store (${store.place}) ${fault}.\n  ${advice}`);
  };
  const prefix = `probes/${randomUUID()}`;
  const keys = ['create', 'race', 'missing', 'checksum'].map((name) => `${prefix}/${name}`);
  const [create, race, missing, checksum] = keys as [string, string, string, string];
  const [first, second, third] = ['first', 'second', 'third'].map((word) => Buffer.from(word)) as [
    Buffer,
    Buffer,
    Buffer,
  ];
  try {
    const etag = await store.replace(create, first, null);
    if (etag === null) return refuse('says that a new key exists already');
    if (await store.putIfAbsent(create, second)) {
      refuse('let two writers create one key (If-None-Match is ignored)');
    }
    const moved = await store.replace(create, second, etag);
    if (moved === null) refuse('refuses a write under the right ETag (If-Match)');
    if ((await store.replace(create, third, etag)) !== null) {
      refuse('let a writer replace what it had not read (If-Match is ignored)');
    }
    if ((await store.replace(missing, first, etag)) !== null) {
      refuse('let a writer replace what does not exist (If-Match is ignored)');
    }
    const found = await store.get(create);
    if (found === null || !found.bytes.equals(second))
      refuse('does not give back what was written');

    const created = await Promise.all(writers.map((bytes) => store.replace(race, bytes, null)));
    if (created.filter((tag) => tag !== null).length !== 1) {
      refuse('let several of 8 writers at once create one key (If-None-Match is not atomic)');
    }
    const read = await store.get(race);
    if (read === null) return refuse('does not give back what was written');
    const replaced = await Promise.all(
      writers.map((bytes) => store.replace(race, Buffer.concat([bytes, first]), read.etag)),
    );
    if (replaced.filter((tag) => tag !== null).length !== 1) {
      refuse('let several of 8 writers at once replace one version (If-Match is not atomic)');
    }

    const wrong = createHash('sha256').update(second).digest('base64');
    const accepted = await requests.send('a write with a wrong checksum', async () => {
      try {
        const input = { Bucket: bucket, Key: checksum, Body: first, ChecksumSHA256: wrong };
        await client.send(new PutObjectCommand(input));
        return true;
      } catch (error) {
        if (statusOf(error) === 400) return false;
        throw error;
      }
    });
    if (accepted) refuse('took bytes that do not fit their SHA-256 (checksums are ignored)');
  } finally {
    await Promise.all(
      // What stays behind harms nobody; the answer of the probe matters more.
      keys.map((Key) =>
        client.send(new DeleteObjectCommand({ Bucket: bucket, Key })).catch(() => {}),
      ),
    );
  }
}
