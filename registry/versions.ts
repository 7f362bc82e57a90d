/** Numbered records, 000001.json onwards: a number belongs to whoever creates it first. */
import type { z } from 'zod';
import { encodeRecord, readRecord } from './json.ts';
import { padded, versionOfKey } from './keys.ts';
import type { Store } from './store.ts';

const mostAttempts = 100;

/** Key of one version under `<folder>/versions/`. */
export function versionKey(folder: string, version: number): string {
  return `${folder}/versions/${padded(version, 6)}.json`;
}

/** Every version, oldest first. */
export async function readVersions<T>(
  store: Store,
  folder: string,
  schema: z.ZodType<T>,
): Promise<T[]> {
  const numbers = await numbersOf(store, folder);
  const records = await Promise.all(
    numbers.map((number) => readRecord(store, versionKey(folder, number), schema)),
  );
  return records.flatMap((record) => (record === null ? [] : [record.value]));
}

/** Every version, oldest first, read one after the other: none is held. */
export async function* eachVersion<T>(
  store: Store,
  folder: string,
  schema: z.ZodType<T>,
): AsyncGenerator<T> {
  for (const number of await numbersOf(store, folder)) {
    const record = await readRecord(store, versionKey(folder, number), schema);
    if (record !== null) yield record.value;
  }
}

/** The version with the highest number, or null; no other one is read. */
export async function readNewest<T>(
  store: Store,
  folder: string,
  schema: z.ZodType<T>,
): Promise<T | null> {
  const number = (await numbersOf(store, folder)).at(-1);
  if (number === undefined) return null;
  return (await readRecord(store, versionKey(folder, number), schema))?.value ?? null;
}

/** The oldest version that serves, or null; they are read one after the other, and none is held. */
export async function findVersion<T>(
  store: Store,
  folder: string,
  schema: z.ZodType<T>,
  serves: (version: T) => boolean,
): Promise<T | null> {
  for (const number of await numbersOf(store, folder)) {
    const found = await readRecord(store, versionKey(folder, number), schema);
    if (found !== null && serves(found.value)) return found.value;
  }
  return null;
}

async function numbersOf(store: Store, folder: string): Promise<number[]> {
  const numbers: number[] = [];
  for await (const { key } of store.list(`${folder}/versions/`)) {
    const number = versionOfKey(key);
    if (number !== null) numbers.push(number);
  }
  return numbers.toSorted((a, b) => a - b);
}

/**
 * Takes the next free number, unless a version that is there already serves. Looks again after every lost
 * race, for the winner may have registered the same thing.
 */
export async function registerVersion<T extends { version: number }>(
  store: Store,
  folder: string,
  schema: z.ZodType<T>,
  serves: (version: T) => boolean,
  make: (number: number) => T,
): Promise<{ version: T; reused: boolean }> {
  for (let attempt = 1; attempt <= mostAttempts; attempt += 1) {
    const versions = await readVersions(store, folder, schema);
    const same = versions.find(serves);
    if (same !== undefined) return { version: same, reused: true };
    const number = (versions.at(-1)?.version ?? 0) + 1;
    const version = schema.parse(make(number));
    if (await store.putIfAbsent(versionKey(folder, number), encodeRecord(version))) {
      return { version, reused: false };
    }
  }
  throw new Error(
    `${folder}: ${mostAttempts} numbers in turn were taken by others. Too many writers at once; try again.`,
  );
}
