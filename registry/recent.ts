/**
 * A store that remembers for a moment what this process wrote to it. Steps of one run mostly read what the step before
 * wrote, and a request costs both sides more than the bytes do. Only what never changes is remembered: blobs, and the
 * records of finished stages.
 */
import { heldBytes } from '../config/data-memory.ts';
import type { Store } from './store.ts';

interface Remembered {
  bytes: Uint8Array;
  until: number;
  /** Who put it. */
  scope: string | undefined;
}

const immutable = /^(?:blobs|stages)\//;
/** What says of other objects that they are there. */
const speaksOfOthers = /^stages\//;

export interface RecentOptions {
  /** Of all that is remembered. */
  maxBytes?: number;
  /** What others delete is not read for longer than that. */
  maxAgeMs?: number;
  clock?: () => number;
  /**
   * Who asks or puts. The record of a stage names blobs, and a sweep between two executions may have deleted both: it is
   * remembered for the one that put it. Nothing is swept that an execution at work goes by.
   */
  scope?: () => string | undefined;
}

export function withRecent(
  store: Store,
  {
    maxBytes = heldBytes.recent,
    maxAgeMs = 60_000,
    clock = () => performance.now(),
    scope = () => '',
  }: RecentOptions = {},
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
    recent.set(key, { bytes, until: clock() + maxAgeMs, scope: scope() });
    total += bytes.byteLength;
    for (const [oldest, { until }] of recent) {
      if (total <= maxBytes && until > clock()) break;
      forget(oldest);
    }
  }

  function mayAnswer(key: string, { until, scope: of }: Remembered): boolean {
    if (until <= clock()) return false;
    return !speaksOfOthers.test(key) || (of !== undefined && of === scope());
  }

  return {
    ...store,
    async get(key) {
      const known = recent.get(key);
      if (known === undefined || !mayAnswer(key, known)) return store.get(key);
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
