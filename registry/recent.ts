/**
 * A store that remembers for a moment what this process wrote to it. Steps of one run mostly read what the step before
 * wrote, and a request costs both sides more than the bytes do. Only what never changes is remembered: blobs, and the
 * records of finished stages.
 */
import type { Store } from './store.ts';

interface Remembered {
  bytes: Uint8Array;
  until: number;
}

const immutable = /^(?:blobs|stages)\//;

export interface RecentOptions {
  /** Of all that is remembered. */
  maxBytes?: number;
  /** What others delete is not read for longer than that. */
  maxAgeMs?: number;
  clock?: () => number;
}

export function withRecent(
  store: Store,
  { maxBytes = 48_000_000, maxAgeMs = 60_000, clock = () => performance.now() }: RecentOptions = {},
): Store {
  const recent = new Map<string, Remembered>();
  let total = 0;

  function forget(key: string): void {
    total -= recent.get(key)?.bytes.byteLength ?? 0;
    recent.delete(key);
  }

  function remember(key: string, bytes: Uint8Array): void {
    if (!immutable.test(key) || bytes.byteLength > maxBytes / 8) return;
    forget(key);
    recent.set(key, { bytes, until: clock() + maxAgeMs });
    total += bytes.byteLength;
    for (const [oldest, { until }] of recent) {
      if (total <= maxBytes && until > clock()) break;
      forget(oldest);
    }
  }

  return {
    ...store,
    async get(key) {
      const known = recent.get(key);
      if (known === undefined || known.until <= clock()) return store.get(key);
      const { buffer, byteOffset, byteLength } = known.bytes;
      return { bytes: Buffer.from(buffer, byteOffset, byteLength), etag: '' };
    },
    async putIfAbsent(key, bytes) {
      const isNew = await store.putIfAbsent(key, bytes);
      // A record that was there already may be another one.
      if (isNew) remember(key, bytes);
      return isNew;
    },
    async remove(key) {
      forget(key);
      await store.remove(key);
    },
  };
}
