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

const first = Buffer.from('first');
const second = Buffer.from('second');
const third = Buffer.from('third');

/** Throws a sentence that says which promise was broken. */
export async function probeStore(connection: Connection, store: Conditional): Promise<void> {
  const { client, bucket } = connection;
  const prefix = `probes/${randomUUID()}`;
  const key = (name: string): string => `${prefix}/${name}`;
  const names = ['created', 'missing', 'create-race', 'replace-race', 'checksum'];
  try {
    const faults = await Promise.all([
      faultOfConditions(store, key('created'), key('missing')),
      faultOfCreateRace(store, key('create-race')),
      faultOfReplaceRace(store, key('replace-race')),
      faultOfChecksums(connection, key('checksum')),
    ]);
    const fault = faults.find((found) => found !== null);
    if (fault === undefined) return;
    throw new StoreRefused(
      `The store (${store.place}) ${fault}.\n` +
        '  Use a store with conditional writes (If-None-Match, If-Match) and SHA-256 checksums.',
    );
  } finally {
    await Promise.all(
      // What stays behind harms nobody; the answer of the probe matters more.
      names.map((name) =>
        client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key(name) })).catch(() => {}),
      ),
    );
  }
}

async function faultOfConditions(
  store: Conditional,
  key: string,
  missing: string,
): Promise<string | null> {
  const etag = await store.replace(key, first, null);
  if (etag === null) return 'says that a new key exists already';
  if (await store.putIfAbsent(key, second)) {
    return 'let two writers create one key (If-None-Match is ignored)';
  }
  if ((await store.replace(key, second, etag)) === null) {
    return 'refuses a write under the right ETag (If-Match)';
  }
  if ((await store.replace(key, third, etag)) !== null) {
    return 'let a writer replace what it had not read (If-Match is ignored)';
  }
  if ((await store.replace(missing, first, etag)) !== null) {
    return 'let a writer replace what does not exist (If-Match is ignored)';
  }
  const found = await store.get(key);
  return found?.bytes.equals(second) === true ? null : 'does not give back what was written';
}

async function faultOfCreateRace(store: Conditional, key: string): Promise<string | null> {
  const writers = Array.from({ length: 8 }, (_, index) => Buffer.from(`writer ${index}`));
  const etags = await Promise.all(writers.map((bytes) => store.replace(key, bytes, null)));
  const winners = etags.filter((etag) => etag !== null).length;
  return winners === 1
    ? null
    : `let ${winners} of 8 writers at once create one key (If-None-Match is not atomic)`;
}

async function faultOfReplaceRace(store: Conditional, key: string): Promise<string | null> {
  const etag = await store.replace(key, first, null);
  // Only two, because SeaweedFS makes each loser of this race wait a second.
  const etags = await Promise.all(
    [second, third].map((bytes) => store.replace(key, bytes, etag ?? '')),
  );
  const winners = etags.filter((found) => found !== null).length;
  return winners === 1
    ? null
    : `let ${winners} of 2 writers at once replace one version (If-Match is not atomic)`;
}

async function faultOfChecksums(
  { client, requests, bucket }: Connection,
  key: string,
): Promise<string | null> {
  const wrong = createHash('sha256').update(second).digest('base64');
  const accepted = await requests.send('a write with a wrong checksum', async () => {
    try {
      const input = { Bucket: bucket, Key: key, Body: first, ChecksumSHA256: wrong };
      await client.send(new PutObjectCommand(input));
      return true;
    } catch (error) {
      if (statusOf(error) === 400) return false;
      throw error;
    }
  });
  return accepted ? 'took bytes that do not fit their SHA-256 (checksums are ignored)' : null;
}
