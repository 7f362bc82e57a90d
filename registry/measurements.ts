/** What was measured of machines: one record for a machine and what it trained, found again by later plans. */
import { measurementSchema, type Load, type Measurement } from '../config/measurements.ts';
import type { Machine } from '../config/recipe.ts';
import { readRecord, updateRecord } from './json.ts';
import { stageDigest } from './stages.ts';
import type { Store } from './store.ts';

function measurementKey(machine: Machine, load: Load): string {
  return `machines/${stageDigest(machine)}/${stageDigest(load)}.json`;
}

/** What is known of this machine under this load; null when nothing is. */
export async function findMeasurement(
  store: Store,
  machine: Machine,
  load: Load,
): Promise<Measurement | null> {
  const key = measurementKey(machine, load);
  return (await readRecord(store, key, measurementSchema))?.value ?? null;
}

/** Records that so many sequences at once are what the machine has room for; a smaller number stays. */
export async function recordMicroBatch(
  store: Store,
  machine: Machine,
  load: Load,
  microBatchSize: number,
): Promise<void> {
  await updateRecord(store, measurementKey(machine, load), measurementSchema, (known) => ({
    ...(known ?? { schemaVersion: 1 as const, machine, load }),
    microBatchSize: Math.min(microBatchSize, known?.microBatchSize ?? microBatchSize),
  }));
}

/** Records a calibration; the first one stays, so that a repeated run plans the same. */
export async function recordCalibration(
  store: Store,
  machine: Machine,
  load: Load,
  calibration: NonNullable<Measurement['calibration']>,
): Promise<void> {
  await updateRecord(store, measurementKey(machine, load), measurementSchema, (known) => ({
    ...(known ?? { schemaVersion: 1 as const, machine, load }),
    calibration: known?.calibration ?? calibration,
  }));
}
