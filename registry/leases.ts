/**
 * Who may use a host, until when. The entry of a host is never removed: its fence has to keep growing, so
 * that a holder from before is known as such.
 */
import { leasesSchema, type Leases } from '../config/manifests.ts';
import { readRecord, updateRecord } from './json.ts';
import { keyPart } from './keys.ts';
import type { Store } from './store.ts';

export interface LeaseRequest {
  /** Who asks, e.g. the id of a workflow execution. */
  holder: string;
  now: Date;
  /** How long it lasts without being renewed. */
  ttlMs: number;
}

/** The end of a lease that was given back. */
const ended = new Date(0).toISOString();

function leaseKey(pool: string): string {
  return `leases/${keyPart('pool', pool)}.json`;
}

type Lease = NonNullable<Leases['hosts'][string]>;
type Change = (current: Lease | null) => Lease | null;

async function changeHost(
  store: Store,
  pool: string,
  host: string,
  change: Change,
): Promise<Lease | null> {
  const next = await updateRecord(store, leaseKey(pool), leasesSchema, (current) => {
    const hosts = current?.hosts ?? {};
    return { schemaVersion: 1 as const, hosts: { ...hosts, [host]: change(hosts[host] ?? null) } };
  });
  return next.hosts[host] ?? null;
}

function isLive(lease: Lease | null, now: Date): boolean {
  return lease !== null && Date.parse(lease.expiresAt) > now.getTime();
}

/** The lease of a host as it is after somebody asked for it. */
export interface HostLease {
  /** Whether it is the asker's. */
  ours: boolean;
  holder: string;
  fence: number;
  expiresAt: string;
  /** When this holder took it; undefined where an older version did. */
  since?: string | undefined;
}

/**
 * Takes a host that is free or whose lease has run out. Its holder asks again to lengthen the lease; a lease
 * that ran out meanwhile is regained, unless somebody else was faster.
 */
export async function acquireHost(
  store: Store,
  pool: string,
  host: string,
  { holder, now, ttlMs }: LeaseRequest,
): Promise<HostLease> {
  const expiresAt = new Date(now.getTime() + ttlMs).toISOString();
  const lease = await changeHost(store, pool, host, (current) => {
    if (current === null || !isLive(current, now)) {
      return { holder, fence: (current?.fence ?? 0) + 1, expiresAt, since: now.toISOString() };
    }
    return current.holder === holder ? { ...current, expiresAt } : current;
  });
  if (lease === null)
    throw new Error(`leases/${pool}.json: host ${host} has no entry after it was asked for`);
  return { ours: lease.holder === holder, ...lease };
}

/**
 * Takes so many of these hosts at once, the first that are to be had, or none: two who each held one and waited for
 * another would wait for ever. `sizes` are the numbers that will do, the best first.
 */
export async function acquireHosts(
  store: Store,
  pool: string,
  candidates: readonly string[],
  sizes: readonly number[],
  { holder, now, ttlMs }: LeaseRequest,
): Promise<string[]> {
  const expiresAt = new Date(now.getTime() + ttlMs).toISOString();
  let taken: string[] = [];
  await updateRecord(store, leaseKey(pool), leasesSchema, (current) => {
    const hosts = { ...current?.hosts };
    const free = candidates.filter((host) => {
      const lease = hosts[host] ?? null;
      return !isLive(lease, now) || lease?.holder === holder;
    });
    taken = free.slice(0, sizes.find((size) => size <= free.length) ?? 0);
    for (const host of taken) {
      const lease = hosts[host] ?? null;
      const kept = lease !== null && lease.holder === holder && isLive(lease, now);
      hosts[host] = kept
        ? { ...lease, expiresAt }
        : { holder, fence: (lease?.fence ?? 0) + 1, expiresAt, since: now.toISOString() };
    }
    return { schemaVersion: 1 as const, hosts };
  });
  return taken;
}

/** Gives a host back. By another than the holder it does nothing, nor to a lease that was taken after `before`. */
export async function releaseHost(
  store: Store,
  pool: string,
  host: string,
  { holder, before = Infinity }: { holder: string; before?: number | undefined },
): Promise<void> {
  await changeHost(store, pool, host, (current) =>
    current?.holder === holder && Date.parse(current.since ?? ended) <= before
      ? { ...current, expiresAt: ended }
      : current,
  );
}

/** The leases of a pool, ended ones included. */
export async function readLeases(store: Store, pool: string): Promise<Leases> {
  const found = await readRecord(store, leaseKey(pool), leasesSchema);
  return found?.value ?? { schemaVersion: 1, hosts: {} };
}
