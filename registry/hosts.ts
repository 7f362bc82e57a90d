/** The hosts that can train together or have GPUs: each says again and again that it lives, and at which address. */
import { hostReportSchema, type HostReport } from '../config/manifests.ts';
import type { Gpu } from '../config/recipe.ts';
import { readRecord, updateRecord } from './json.ts';
import { keyPart } from './keys.ts';
import type { Store } from './store.ts';

/** The pool that all runs lease their hosts from. */
export const hostPool = 'local';

/** A host says so again after this time, so that a dead one can be told by the age of its word. */
export const hostReportEveryMs = 15_000;

/** Replaces what a host says of itself. */
export async function reportHost(store: Store, pool: string, report: HostReport): Promise<void> {
  const key = `hosts/${keyPart('pool', pool)}/${keyPart('host', report.host)}.json`;
  await updateRecord(store, key, hostReportSchema, () => report);
}

/** The hosts that live, by name: one that missed three of its reports is gone. */
export async function livingHosts(store: Store, pool: string, now: Date): Promise<HostReport[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(`hosts/${keyPart('pool', pool)}/`)) keys.push(key);
  const found = await Promise.all(
    keys.toSorted().map((key) => readRecord(store, key, hostReportSchema)),
  );
  return found
    .flatMap((record) => (record === null ? [] : [record.value]))
    .filter(({ at }) => now.getTime() - Date.parse(at) < 3 * hostReportEveryMs);
}

/** The GPUs to plan for: of the hosts that live, those of the least memory, for any of them may train; null: none has any. */
export async function livingGpus(store: Store, pool: string, now: Date): Promise<Gpu | null> {
  const found = (await livingHosts(store, pool, now)).flatMap(({ gpu }) => gpu ?? []);
  const bytesOf = ({ count, memoryBytes }: Gpu) => count * memoryBytes;
  return found.toSorted((a, b) => bytesOf(a) - bytesOf(b))[0] ?? null;
}
