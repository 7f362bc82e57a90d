/** The hosts that can train: each says again and again that it lives, with what it computes, and at which address. */
import { z } from 'zod';
import { hostReportSchema, type HostReport } from '../config/manifests.ts';
import type { Gpu } from '../config/recipe.ts';
import { InvalidRecord } from './errors.ts';
import { readRecord, updateRecord } from './json.ts';
import { keyPart } from './keys.ts';
import type { Store } from './store.ts';

/** The pool that all runs lease their hosts from. */
export const hostPool = 'local';

/** A host says so again after this time, so that a dead one can be told by the age of its word. */
export const hostReportEveryMs = 15_000;

function reportKey(pool: string, host: string): string {
  return `hosts/${keyPart('pool', pool)}/${keyPart('host', host)}.json`;
}

/** Replaces what a host says of itself. */
export async function reportHost(store: Store, pool: string, report: HostReport): Promise<void> {
  const key = reportKey(pool, report.host);
  // Whatever another version left there is replaced unread.
  await updateRecord<unknown>(store, key, z.unknown(), () => hostReportSchema.parse(report));
}

/** The hosts that live and stay, by name: one that missed three of its reports is gone. */
export async function livingHosts(store: Store, pool: string, now: Date): Promise<HostReport[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(`hosts/${keyPart('pool', pool)}/`)) keys.push(key);
  const found = await Promise.all(keys.toSorted().map((key) => readReport(store, key)));
  return found
    .filter((report) => report !== null)
    .filter(({ at }) => now.getTime() - Date.parse(at) < 3 * hostReportEveryMs)
    .filter(({ leaving }) => leaving === undefined);
}

/** Null where there is none, or one that this version cannot read: one host must not hide the others. */
async function readReport(store: Store, key: string): Promise<HostReport | null> {
  try {
    return (await readRecord(store, key, hostReportSchema))?.value ?? null;
  } catch (error) {
    if (error instanceof InvalidRecord) return null;
    throw error;
  }
}

/** Whether a host has said that it takes nothing more; of one that says nothing it is not known. */
export async function isLeaving(store: Store, pool: string, host: string): Promise<boolean> {
  const report = await readReport(store, reportKey(pool, host));
  return report?.leaving !== undefined;
}

/** Whether a host has what a plan counts on; left out, it counts on no GPUs. The kind decides the bits. */
export function hasGpus(found: Gpu | null | undefined, wanted: Gpu | undefined): boolean {
  if (wanted === undefined) return true;
  if (found === null || found === undefined || found.name !== wanted.name) return false;
  return found.count >= wanted.count && found.memoryBytes >= wanted.memoryBytes;
}

/**
 * The GPUs to plan for: of one kind, the least that each of its hosts has, for any of them may be leased; of several
 * kinds with enough hosts, those of the least memory. Null: none has any.
 */
export async function livingGpus(
  store: Store,
  pool: string,
  now: Date,
  numHosts = 1,
): Promise<Gpu | null> {
  const kinds = new Map<string, Gpu[]>();
  for (const { gpu, address } of await livingHosts(store, pool, now)) {
    if (gpu === undefined || (numHosts > 1 && address === undefined)) continue;
    kinds.set(gpu.name, [...(kinds.get(gpu.name) ?? []), gpu]);
  }
  const least = (of: Gpu[]): Gpu => ({
    ...of[0]!,
    count: Math.min(...of.map(({ count }) => count)),
    memoryBytes: Math.min(...of.map(({ memoryBytes }) => memoryBytes)),
  });
  const bytesOf = ({ count, memoryBytes }: Gpu) => count * memoryBytes;
  // More may join while the run waits: too few of every kind are planned for all the same.
  const have = (of: Gpu[]) => Math.min(of.length, numHosts);
  const [best] = [...kinds.values()].toSorted(
    (a, b) => have(b) - have(a) || bytesOf(least(a)) - bytesOf(least(b)),
  );
  return best === undefined ? null : least(best);
}
