/** Sources in S3: the objects under a prefix, each brought to this machine while it is read. */
import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { CorpusError } from '../corpus/errors.ts';
import type { FoundFile } from '../corpus/files.ts';
import { byCodeUnits } from '../corpus/order.ts';
import type { Store } from '../registry/store.ts';
import { sweepStale } from './stale-files.ts';

/** Bucket and prefix of `bucket/prefix`. */
export function s3Place(place: string): { bucket: string; prefix: string } {
  const [, bucket, prefix = ''] =
    /^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(place) ?? [];
  if (bucket === undefined) {
    throw new CorpusError(
      `data.sources: found s3 "${place}", expected bucket/prefix. Correct the pipeline file.`,
    );
  }
  return { bucket, prefix };
}

/** The objects whose names behind the prefix match the glob. Names that start with a dot are left alone. */
export async function s3Files(
  store: Store,
  place: string,
  include: string,
  { cache, signal }: { cache: string; signal?: AbortSignal },
): Promise<FoundFile[]> {
  const { prefix } = s3Place(place);
  const folder = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`;
  const files: FoundFile[] = [];
  await sweepStale(cache);
  for await (const { key } of store.list(prefix)) {
    signal?.throwIfAborted();
    // A prefix may be the name of one object.
    const name = key === prefix ? path.posix.basename(key) : key.slice(folder.length);
    if (key !== prefix && !key.startsWith(folder)) continue;
    if (name === '' || key.endsWith('/') || name.split('/').some((part) => part.startsWith('.')))
      continue;
    if (!path.matchesGlob(name, include)) continue;
    files.push({
      path: name,
      refusal: null,
      fetch: async () => {
        await mkdir(cache, { recursive: true });
        // Of this reading alone: an attempt that was given up on may read the same object, and removes its own.
        const file = path.join(cache, randomUUID());
        if (!(await store.download(key, file))) {
          return { reason: 'unreadable', detail: 'the object is gone' };
        }
        return { file, release: () => rm(file, { force: true }) };
      },
    });
  }
  return files.toSorted((a, b) => byCodeUnits(a.path, b.path));
}
