/** The hosts that can train together: each says again and again that it lives, and at which address. */
import { hostReportSchema, type HostReport } from '../config/manifests.ts';
import { readRecord, updateRecord } from './json.ts';
import { keyPart } from './keys.ts';
import type { Store } from './store.ts';

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
