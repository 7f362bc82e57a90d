/** Records: small JSON objects with a schema, changed only by compare-and-swap. */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { canonicalJson } from '../config/digest.ts';
import { InvalidRecord } from './errors.ts';
import type { Store } from './store.ts';

export interface ReadRecord<T> {
  value: T;
  etag: string;
}

const mostAttempts = 200;

/** The bytes of a record: canonical, so that equal values are equal bytes. */
export function encodeRecord(value: unknown): Buffer {
  return Buffer.from(`${canonicalJson(value)}\n`);
}

/** Parses the bytes of a record; `key` is for the message. */
export function decodeRecord<T>(key: string, bytes: Uint8Array, schema: z.ZodType<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw new InvalidRecord(`${key} is not JSON. Restore an older version of it.`, {
      cause: error,
    });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const unknownVersion = parsed.error.issues.find(
    (issue) => issue.path.join('.') === 'schemaVersion',
  );
  if (unknownVersion !== undefined) {
    const { schemaVersion } = (value ?? {}) as { schemaVersion?: unknown };
    throw new InvalidRecord(
      `${key} has schemaVersion ${JSON.stringify(schemaVersion) ?? 'none'}, which this Temper cannot read ` +
        `(${unknownVersion.message}). Use the version of Temper that wrote it, or a newer one.`,
      { cause: parsed.error },
    );
  }
  throw new InvalidRecord(`${key} is not what its schema says:\n${z.prettifyError(parsed.error)}`, {
    cause: parsed.error,
  });
}

/** A record and the ETag to replace it by; null when there is none. */
export async function readRecord<T>(
  store: Store,
  key: string,
  schema: z.ZodType<T>,
): Promise<ReadRecord<T> | null> {
  const found = await store.get(key);
  if (found === null) return null;
  return { value: decodeRecord(key, found.bytes, schema), etag: found.etag };
}

/**
 * Reads, changes and writes back until nobody came between. `change` may run several times; a change that
 * leaves the record as it is writes nothing.
 */
export async function updateRecord<T>(
  store: Store,
  key: string,
  schema: z.ZodType<T>,
  change: (current: T | null) => T | Promise<T>,
): Promise<T> {
  for (let attempt = 1; attempt <= mostAttempts; attempt += 1) {
    const found = await store.get(key);
    const current = found === null ? null : decodeRecord(key, found.bytes, schema);
    const next = schema.parse(await change(current));
    const bytes = encodeRecord(next);
    if (found?.bytes.equals(bytes) === true) return next;
    if ((await store.replace(key, bytes, found?.etag ?? null)) !== null) return next;
    await sleep(Math.random() * Math.min(200, 5 * attempt));
  }
  throw new Error(
    `${key} changed ${mostAttempts} times while we tried to change it. ` +
      'Too many writers want it at once; try again.',
  );
}
