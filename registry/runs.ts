/** What a run was asked, planned, decided and spent: readable from S3 alone, with Temporal's database gone. */
import { z } from 'zod';
import { runInputsSchema, type RunInputs } from '../config/run-records.ts';
import { readRecord, updateRecord } from './json.ts';
import { keyPart } from './keys.ts';
import type { Store } from './store.ts';

export type RunRecord = 'spec' | 'inputs' | 'plan' | 'decisions' | 'cost';

function runKey(run: string, kind: RunRecord): string {
  return `runs/${keyPart('run', run)}/${kind}.json`;
}

/** Writes one of a run's records, in place of an earlier one. */
export async function putRunRecord(
  store: Store,
  run: string,
  kind: RunRecord,
  value: unknown,
): Promise<void> {
  await updateRecord(store, runKey(run, kind), z.unknown(), () => value);
}

/** One of a run's records; null when it was not written. */
export async function getRunRecord<T>(
  store: Store,
  run: string,
  kind: RunRecord,
  schema: z.ZodType<T>,
): Promise<T | null> {
  return (await readRecord(store, runKey(run, kind), schema))?.value ?? null;
}

/** Adds to what a run found when it looked. */
export async function addRunInputs(
  store: Store,
  run: string,
  found: Omit<RunInputs, 'schemaVersion'>,
): Promise<void> {
  await updateRecord(store, runKey(run, 'inputs'), runInputsSchema, (known) => ({
    ...known,
    ...found,
    schemaVersion: 1 as const,
  }));
}
