/** A store in memory, for tests of what is decided rather than of how it travels. */
import { createHash } from 'node:crypto';
import { DataKeys } from '../../registry/data-keys.ts';
import type { Store } from '../../registry/store.ts';

export interface MemoryStore extends Store {
  objects: Map<string, Buffer>;
}

const unused = (): never => {
  throw new Error('not in memory');
};

/** `onWrite` is called before anything changes, and may throw, as a process that is killed there. */
export function memoryStore(onWrite: (what: string, key: string) => void = () => {}): MemoryStore {
  const objects = new Map<string, Buffer>();
  const etagOf = (bytes: Uint8Array) => createHash('md5').update(bytes).digest('hex');
  return {
    objects,
    place: 'memory',
    bucket: 'memory',
    dataKeys: new DataKeys([
      ['new', Buffer.alloc(32, 7)],
      ['old', Buffer.alloc(32, 3)],
    ]),
    get: async (key) => {
      const bytes = objects.get(key);
      return bytes === undefined ? null : { bytes: Buffer.from(bytes), etag: etagOf(bytes) };
    },
    size: async (key) => objects.get(key)?.length ?? null,
    putIfAbsent: async (key, bytes) => {
      if (objects.has(key)) return false;
      onWrite('put', key);
      objects.set(key, Buffer.from(bytes));
      return true;
    },
    replace: async (key, bytes, etag) => {
      const found = objects.get(key);
      if ((found === undefined ? null : etagOf(found)) !== etag) return null;
      onWrite('replace', key);
      objects.set(key, Buffer.from(bytes));
      return etagOf(bytes);
    },
    async *list(prefix) {
      for (const key of [...objects.keys()].toSorted()) {
        if (!key.startsWith(prefix)) continue;
        yield { key, bytes: objects.get(key)!.length, lastModified: new Date(0) };
      }
    },
    remove: async (key) => {
      onWrite('remove', key);
      objects.delete(key);
    },
    putFileIfAbsent: unused,
    download: unused,
    abandonUploads: async () => 0,
    ensureBucket: async () => {},
    probe: async () => {},
    close: () => {},
  };
}
