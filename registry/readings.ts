/**
 * Documents that were read, until a version names them: each blob is noted before it is written, so that the sweep of
 * what has expired also finds those of a reading that became no version. The notes of all others go with it.
 */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { blobRefSchema, type BlobRef } from '../config/digest.ts';
import { encodeJsonLines, putBlob } from './blobs.ts';
import { encodeRecord, readRecord, updateRecord } from './json.ts';
import type { Store } from './store.ts';

const folder = 'readings/';
const sweepKey = 'sweeps/readings.json';

/** Which sweep may delete what became no version; who registers documents meanwhile waits for its end. */
const sweepSchema = z.strictObject({
  schemaVersion: z.literal(1),
  sweep: z.string().describe('random; the one that stands here may delete'),
  finishedAt: z.iso.datetime().nullable(),
});

/** JSON lines of documents for a version that is being made. */
export async function putReadLines(
  store: Store,
  records: Iterable<unknown>,
  sealed?: string,
): Promise<BlobRef> {
  return putRead(store, await encodeJsonLines(records), sealed);
}

/** As `putReadLines`, of lines that are packed. */
export async function putRead(store: Store, lines: Uint8Array, sealed?: string): Promise<BlobRef> {
  return putBlob(store, lines, sealed, async (ref) => {
    // One of its own: a sweep that deletes the note of an earlier reading leaves that of what is written again.
    await store.putIfAbsent(`${folder}${ref.sha256}/${randomUUID()}.json`, encodeRecord(ref));
  });
}

/** The digest of the blob that a note is of. */
export function notedIn(key: string): string {
  return key.split('/')[1] ?? '';
}

/** Keys of the notes of all blobs that were written for a version. */
export async function listNotes(store: Store): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(folder)) keys.push(key);
  return keys;
}

/** What a note names; null once it is gone. */
export async function readNote(store: Store, key: string): Promise<BlobRef | null> {
  return (await readRecord(store, key, blobRefSchema))?.value ?? null;
}

/** underway: a sweep was begun and has not finished; over: one has; null: there was never one. */
export async function sweepState(store: Store): Promise<'underway' | 'over' | null> {
  const found = await readRecord(store, sweepKey, sweepSchema);
  if (found === null) return null;
  return found.value.finishedAt === null ? 'underway' : 'over';
}

/** Takes the sweep over from whoever has it. */
export async function beginSweep(store: Store, sweep: string): Promise<void> {
  const begun = { schemaVersion: 1 as const, sweep, finishedAt: null };
  await updateRecord(store, sweepKey, sweepSchema, () => begun);
}

/** Whether nobody took it over, and it is not over. */
export async function holdsSweep(store: Store, sweep: string): Promise<boolean> {
  const found = await readRecord(store, sweepKey, sweepSchema);
  return found?.value.sweep === sweep && found.value.finishedAt === null;
}

export async function finishSweep(store: Store, sweep: string, at: string): Promise<void> {
  await updateRecord(store, sweepKey, sweepSchema, (known) =>
    known?.sweep === sweep && known.finishedAt === null
      ? { ...known, finishedAt: at }
      : (known ?? { schemaVersion: 1 as const, sweep, finishedAt: at }),
  );
}
